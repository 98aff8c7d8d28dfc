"""``compare``: the first value that differs is found and named, whatever the two sides are."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.analysis.compare.metrics import Tolerance, difference
from onnxwalk.interpreter.analysis.compare.sides import OnnxRuntime

F = T.FLOAT


def report(cli, *argv):
    """What ``compare ARGV… --json`` tells; its status agrees with it."""
    result = cli("compare", *argv, "--json")
    assert result.err == "" and result.status in (0, 1), result.err
    found = json.loads(result.out)
    assert found["equal"] is (result.status == 0)
    assert found["equal"] is all(row["equal"] for row in found["compared"])
    return found


def refusal(cli, *argv):
    """The one line of a comparison that couldn't be made."""
    result = cli("compare", *argv)
    assert (result.status, result.out) == (2, ""), (result.status, result.out)
    assert result.err.startswith("onnxwalk: ") and result.err.count("\n") == 1, result.err
    return result.err


def changed(path, name, change, to="changed.onnx"):
    """A copy of a model with other values of one initializer."""
    model = onnx.load(path)
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    onnx.save(model, to)
    return to


def planted(path, name, to="wrong.onnx"):
    """A copy of a model with one wrong weight, in the middle."""

    def plant(array):
        array[tuple(size // 2 for size in array.shape)] += 0.5
        return array

    return changed(path, name, plant, to)


@pytest.fixture
def network(make):
    """x (N, 3, 8, 8): Conv, BatchNormalization, Relu, Flatten, Gemm"""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        **{name: rng.uniform(0.5, 1, 4) for name in ("scale", "shift", "mean", "var")},
        "v": rng.normal(size=(256, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node(
            "BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], name="bn"
        ),
        helper.make_node("Relu", ["b"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="dense"),
    ]
    return make(
        "n.onnx",
        nodes,
        [("x", F, ["n", 3, 8, 8])],
        [("y", F, ["n", 5])],
        {name: array.astype(np.float32) for name, array in weights.items()},
    )


ENGINES = ["onnxwalk", "plain", "onnxruntime", "reference"]


def needed(engine):
    for package in {"onnxruntime": ["onnxruntime"], "reference": ["onnx"]}.get(engine, []):
        pytest.importorskip(package, reason=f"the side {engine} needs it")


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_on_every_value(cli, network, engine):
    needed(engine)
    found = report(cli, network, engine, "--batch", 2, "--samples", 2, "--edge")
    assert found["equal"] and found["first"] is None and found["differing"] == 0
    assert found["samples"] == [
        *("random 0", "random 1", "zeros", "ones", "negative", "tiny", "large")
    ]
    names = {row["value"] for row in found["compared"]}
    # Conv, BatchNormalization and Relu are one node when they are optimized.
    assert names == ({"r", "f", "y"} if engine in ENGINES[:2] else {"c", "b", "r", "f", "y"})
    assert all(row["relative"] < 1e-5 for row in found["compared"])
    (row,) = [row for row in found["compared"] if row["value"] == "r"]
    assert row["type_a"] == row["type_b"] == "float32 (2, 4, 8, 8)"
    errors = [row["relative"] for row in found["compared"]]
    assert errors == sorted(errors, reverse=True)


def test_a_wrong_weight_is_found_and_named(cli, network):
    wrong = planted(network, "v")
    found = report(cli, wrong, network)
    first = found["first"]
    assert (first["node"], first["operator"], first["value"]) == ("dense", "Gemm", "y")
    assert first["inputs"] == {"f": "float32 (1, 256)", "v": "float32 (256, 5)"}
    (spot,) = first["weights"]["v"]["differs_most"]
    assert spot["index"] == [128, 2] and abs(spot["a"] - spot["b"] - 0.5) < 1e-6
    assert first["differs_most"][0]["index"] == [0, 2]
    assert found["differing"] == 1 and found["compared"][0]["value"] == "y"

    text = cli("compare", planted(network, "w"), network)
    assert text.status == 1
    assert "first difference: node 'conv' (Conv)" in text.out
    assert "weight 'w' differs" in text.out and "5 of 5 values differ" in text.out


def test_a_changed_attribute_is_named(cli, make):
    files = []
    for axis in (0, 1):
        nodes = [
            helper.make_node("Neg", ["x"], ["a"], name="neg"),
            helper.make_node("Softmax", ["a"], ["y"], name="soft", axis=axis),
        ]
        io = [("x", F, [2, 3])], [("y", F, [2, 3])]
        files.append(make(f"{axis}.onnx", nodes, *io))
    first = report(cli, *files)["first"]
    assert first["node"] == "soft" and first["changes"] == ["attribute axis: 0 → 1"]


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxwalk"])
def test_what_is_wrong_in_an_engine_is_found(cli, network, engine, monkeypatch):
    """As if it computed Flatten wrongly."""
    needed(engine)
    from onnxwalk.interpreter.analysis.compare import sides

    kind = {"onnxruntime": sides.OnnxRuntime, "onnxwalk": sides.Optimized}[engine]
    right = kind.stream

    def wrong(self, feeds, names):
        for name, value in right(self, feeds, names):
            yield name, value + np.float32(name in "fy")

    monkeypatch.setattr(kind, "stream", wrong)
    found = report(cli, network, engine, "--extract", "small.onnx")
    assert found["first"]["node"] == "flat"
    assert found["extracted"] == ["f", "f/expected"]
    small = onnxwalk.load("small.onnx")
    assert [node.op_type for node in small.model.graph.nodes] == ["Flatten"]
    mine, expected = small.run(None, {})
    np.testing.assert_allclose(mine + 1, expected, rtol=1e-5, atol=1e-5)


def test_the_extracted_model_shows_the_difference_in_every_engine(cli, network):
    ort = pytest.importorskip("onnxruntime", reason="runs the model that was extracted")
    wrong = planted(network, "v")
    assert report(cli, wrong, network, "--extract", "small.onnx")["extracted"]
    onnx.checker.check_model(onnx.load("small.onnx"))
    session = onnxwalk.load("small.onnx")
    assert len(session.model.graph.nodes) == 1 and not session.inputs
    ours = session.run(None, {})
    theirs = ort.InferenceSession("small.onnx", providers=["CPUExecutionProvider"]).run(None, {})
    for mine, expected in (ours, theirs):
        assert np.abs(mine - expected).max() > 1e-2
        assert np.count_nonzero(np.abs(mine - expected) > 1e-4) == 1
    assert cli("compare", "small.onnx", "onnxruntime").status == 0


def test_a_sequence_is_extracted(cli, make):
    def model(name, axis):
        nodes = [
            helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
            helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=axis, name="join"),
        ]
        return make(name, nodes, [("x", F, [2, 3])], [("y", F, None)])

    files = model("0.onnx", 0), model("1.onnx", 1)
    found = report(cli, *files, "--extract", "small.onnx")
    assert found["first"]["node"] == "join" and found["first"]["reason"] == "different shapes"
    assert found["first"]["inputs"] == {"s": "sequence of 2"}
    mine, expected = onnxwalk.load("small.onnx").run(None, {})
    assert mine.shape == (4, 3) and expected.shape == (2, 6)


# --- values of all kinds


def test_nan_and_infinities_in_the_same_places_are_equal(cli, make):
    pytest.importorskip("onnxruntime", reason="is the other side")
    nodes = [
        helper.make_node("Log", ["x"], ["l"]),
        helper.make_node("Neg", ["l"], ["y"]),
    ]
    model = make("log.onnx", nodes, [("x", F, [4])], [("y", F, [4])])
    np.save("x.npy", np.array([-1, 0, 1, np.inf], np.float32))
    found = report(cli, model, "onnxruntime", "--input", "x.npy")
    assert found["equal"] and found["samples"] == ["x.npy"]

    clipped = [nodes[0], helper.make_node("Max", ["l", "least"], ["y"], name="clip")]
    least = {"least": np.array(-9, np.float32)}
    other = make("clip.onnx", clipped, [("x", F, [4])], [("y", F, [4])], least)
    first = report(cli, other, model, "--input", "x.npy")["first"]
    assert first["reason"] == "NaN or infinite at different positions: 2 of 4"
    assert first["relative"] == "Infinity" and first["operator"] == "Max"
    spot = next(spot for spot in first["differs_most"] if spot["index"] == [3])
    assert (spot["a"], spot["b"]) == ("Infinity", "-Infinity")


def test_strings_and_sequences(cli, make):
    def model(name, suffix):
        nodes = [
            helper.make_node("StringConcat", ["x", "more"], ["d"], name="more"),
            helper.make_node("SequenceConstruct", ["x", "d"], ["s"], name="both"),
            helper.make_node("SequenceLength", ["s"], ["y"], name="count"),
        ]
        io = [("x", T.STRING, [2])], [("y", T.INT64, [])]
        return make(name, nodes, *io, {"more": np.array([suffix], object)}, opset=20)

    a, b = model("a.onnx", "!"), model("b.onnx", "?")
    Path("x.json").write_text('["1", "2"]')
    assert report(cli, a, "plain", "-i", "x.json")["equal"]
    found = report(cli, a, b, "-i", "x.json", "--extract", "small.onnx")
    first = found["first"]
    assert first["node"] == "more" and first["reason"] == "different texts: 2 of 2"
    assert first["differs_most"][0] == {"index": [0], "a": "1!", "b": "1?"}
    by_name = {row["value"]: row for row in found["compared"]}
    assert by_name["s"]["reason"] == "item 1: different texts: 2 of 2" and by_name["y"]["equal"]
    mine, expected = onnxwalk.load("small.onnx").run(None, {})
    assert mine.tolist() == ["1!", "2!"] and expected.tolist() == ["1?", "2?"]
    assert "'1!'" in cli("compare", a, b, "-i", "x.json").out


@pytest.mark.parametrize(
    ("a", "b", "equal", "relative"),
    [
        ([1.0, 2.0], [1.0, 2.0], True, 0),
        ([1.0, 2.0], [1.0, 2.5], False, 0.2),
        (np.float32([100, 1]), np.float32([100, 1.05]), True, 5e-4),  # of the largest
        ([100.0, 1.0], [100.0, 1.05], False, 5e-4),  # float64 is more exact
        ([np.nan, 1.0], [np.nan, 1.0], True, 0),
        ([np.inf, 1.0], [-np.inf, 1.0], False, np.inf),
        ([np.nan, 1.0], [0.0, 1.0], False, np.inf),
        ([1e-8], [0.0], True, np.inf),  # within atol
        (np.array([2**60, 1]), np.array([2**60 + 1, 1]), False, 2.0**-60),
        (np.array([True, False]), np.array([True, True]), False, 1),
        (np.array([1 + 1j]), np.array([1 + 1j]), True, 0),
        (np.array([1 + 1j]), np.array([1 - 1j]), False, 2**0.5),
        (np.float16([1.0]), np.float16([1.01]), True, 0.00967),
        (np.zeros((0, 3)), np.zeros((0, 3)), True, 0),
        (np.zeros((0, 3)), np.zeros((3, 0)), False, np.inf),
        (np.array(["a"], object), np.array(["a"]), True, 0),
        (np.array(["a"], object), np.array([1.0]), False, np.inf),
        ([np.ones(2), np.zeros(1)], [np.ones(2), np.ones(1)], False, 1),
        ([np.ones(2)], [np.ones(2), np.ones(2)], False, np.inf),
        ({"k": np.ones(1)}, {"k": np.ones(1)}, True, 0),
        ({"k": np.ones(1)}, {"l": np.ones(1)}, False, np.inf),
        (None, None, True, 0),
        (None, np.ones(1), False, np.inf),
    ],
)
def test_differences(a, b, equal, relative):
    if isinstance(a, list) and not isinstance(a[0], np.ndarray):
        a, b = np.array(a), np.array(b)
    found = difference(a, b, Tolerance())
    assert found.equal is equal
    assert found.relative == pytest.approx(relative, rel=2e-2)


def test_large_tensors_are_compared_in_blocks():
    a = np.zeros(600_000, np.float32)
    b = a.copy()
    b[[1, 599_999]] = [1, 2]
    found = difference(a.reshape(600, 1000).T, b.reshape(600, 1000).T, Tolerance())
    assert [spot.index for spot in found.spots] == [(999, 599), (1, 0)]
    assert found.absolute == 2 and found.relative == 1


def test_the_shorter_float_says_what_is_allowed(cli, make):
    def model(name, kind):
        nodes = [
            helper.make_node("Cast", ["x"], ["h"], to=kind),
            helper.make_node("Exp", ["h"], ["e"]),
            helper.make_node("Cast", ["e"], ["y"], to=F),
        ]
        return make(name, nodes, [("x", F, [8])], [("y", F, [8])])

    full, half = model("full.onnx", F), model("half.onnx", T.FLOAT16)
    assert report(cli, half, full, "--rtol", 1e-2)["equal"]
    found = report(cli, half, full, "--atol", 1e-4)
    by_name = {row["value"]: row for row in found["compared"]}
    assert by_name["e"]["equal"] and by_name["e"]["type_a"].startswith("float16")
    assert by_name["y"]["type_a"] == by_name["y"]["type_b"] == "float32 (8,)"
    assert not report(cli, half, full, "--rtol", 1e-5)["equal"]


# --- lock-step


def test_engines_are_asked_in_chunks_of_bounded_size(cli, network, monkeypatch):
    pytest.importorskip("onnxruntime", reason="is the other side")
    asked = []
    opened = OnnxRuntime.open

    def watched(self, names):
        asked.append(list(names))
        return opened(self, names)

    monkeypatch.setattr(OnnxRuntime, "open", watched)
    run = ("--batch", 512, "--samples", 1, "--memory", 1)
    assert report(cli, network, "onnxruntime", *run)["equal"]
    # c, b, r and f take 512 kB each
    assert asked == [["c"], ["b"], ["r"], ["f"], ["y"]]
    asked.clear()
    assert report(cli, network, "onnxruntime", *run[:4], "--samples", 2)["equal"]
    assert asked == [["c", "b", "r", "f"], ["y"]]  # opened once for both samples


# --- matching and samples


def test_other_names_are_matched_by_order(cli, make, classifier):
    weights = numpy_helper.to_array(onnx.load(classifier).graph.initializer[0])
    nodes = [
        helper.make_node("MatMul", ["in", "w"], ["t"]),
        helper.make_node("Softmax", ["t"], ["out"], axis=-1),
    ]
    io = [("in", F, ["batch", 4])], [("out", F, ["batch", 3])]
    renamed = make("renamed.onnx", nodes, *io, {"w": weights})
    found = report(cli, classifier, renamed)
    assert found["equal"] and found["values"] == {"a": 2, "b": 2, "compared": 1}
    assert (found["compared"][0]["a"], found["compared"][0]["b"]) == ("y", "out")


def test_samples_from_files(cli, classifier, adder):
    np.save("x.npy", np.arange(20, dtype=np.float32).reshape(5, 4))
    found = report(cli, classifier, "plain", "-i", "x.npy", "--batch", 2)
    assert found["samples"] == [f"rows {rows} of x.npy" for rows in ("0 to 1", "2 to 3", "4 to 4")]
    np.save("a.npy", np.ones((3, 2), np.float32))
    found = report(cli, adder, "plain", "-i", "a=a.npy", "--samples", 2)
    assert found["samples"] == ["random 0 with a.npy", "random 1 with a.npy"]
    assert found["compared"][0]["type_a"] == "float32 (3, 2)"


def test_a_file_without_inputs(cli, make):
    node = helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0])
    model = make("c.onnx", [node, helper.make_node("Neg", ["c"], ["y"])], [], [("y", F, [2])])
    assert report(cli, model, "reference")["samples"] == ["no inputs"]


def test_engines_on_files_of_their_own(cli, network):
    pytest.importorskip("onnxruntime", reason="is a side")
    wrong = planted(network, "v")
    assert report(cli, f"onnxruntime:{network}", f"reference:{network}", "--samples", 1)["equal"]
    assert report(cli, f"onnxruntime:{wrong}", network)["first"]["node"] == "dense"
    assert report(cli, "onnxruntime", wrong)["equal"]


def test_errors_of_sides_that_cannot_be_compared(cli, network, make, monkeypatch):
    import sys

    assert "none.onnx" in refusal(cli, "none.onnx", network)
    assert "no file to run" in refusal(cli, "plain", "onnxruntime")
    assert "no not found" in refusal(cli, network, network, "--extract", "no/f.onnx")
    assert "no such file" in refusal(cli, network, network, "--input", "none.npy")
    assert "can't run" in refusal(cli, "model.keras", "onnxruntime")
    assert "a.keras: no such file" in refusal(cli, "a.keras", "b.keras")
    bad = changed(network, "v", lambda array: array[:5])
    assert "Gemm" in refusal(cli, bad, network)
    node = helper.make_node("Reshape", ["x", "s"], ["y"], name="fold")
    io = [("x", F, [3])], [("y", F, None)]
    broken = make("broken.onnx", [node], *io, {"s": np.array([2, 2])})
    assert "node 'fold' (Reshape)" in refusal(cli, f"onnxwalk:{broken}", "onnxwalk")
    assert "node 'fold' (Reshape)" in refusal(cli, broken, "plain")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install onnxruntime" in refusal(cli, network, "onnxruntime")
    monkeypatch.setitem(sys.modules, "keras", None)
    Path("m.keras").touch()
    assert "pip install keras" in refusal(cli, "m.keras", network)


def test_differing_inputs_are_reported(cli, classifier, adder):
    assert "different numbers of inputs can't be compared" in refusal(cli, classifier, adder)


# --- within Loop, Scan and If


@pytest.fixture
def looping(make):
    """h = tanh(h·w + x) ± 1, six times: + up to the third, then -"""

    def write(name, w):
        value = helper.make_tensor_value_info
        branches = {
            attribute: helper.make_graph(
                [helper.make_node(op, ["t", "fall"], [out], name=op.lower())],
                attribute,
                [],
                [value(out, F, None)],
            )
            for attribute, op, out in (("then_branch", "Sub", "down"), ("else_branch", "Add", "up"))
        }
        body = helper.make_graph(
            [
                helper.make_node("Mul", ["h", "w"], ["hw"], name="times"),
                helper.make_node("Add", ["hw", "x"], ["sum"], name="plus"),
                helper.make_node("Tanh", ["sum"], ["t"], name="tanh"),
                helper.make_node("Greater", ["i", "two"], ["late"]),
                helper.make_node("If", ["late"], ["next"], name="choose", **branches),
                helper.make_node("Identity", ["c"], ["d"]),
            ],
            "body",
            [value("i", T.INT64, []), value("c", T.BOOL, []), value("h", F, None)],
            [value("d", T.BOOL, []), value("next", F, None)],
        )
        nodes = [
            helper.make_node("Abs", ["x"], ["begin"], name="abs"),
            helper.make_node("Loop", ["m", "yes", "begin"], ["end"], name="loop", body=body),
            helper.make_node("Neg", ["end"], ["y"], name="neg"),
        ]
        constants = {
            "w": np.float32([w]),
            "fall": np.float32([1]),
            "two": np.array(2),
            "m": np.array(6),
            "yes": np.array(True),
        }
        return make(name, nodes, [("x", F, ["n", 3])], [("y", F, None)], constants)

    return write


def test_the_first_difference_within_a_loop(cli, looping):
    a, b = looping("a.onnx", 0.5), looping("b.onnx", 0.6)
    found = report(cli, a, b, "--samples", 1)
    assert found["first"]["node"] == "loop"
    inside = found["first"]["inside"]
    assert (inside["node"], inside["value"]) == ("loop/body[0]/times", "loop/body[0]/hw")
    assert inside["same"] == 0 and set(inside["inputs"]) == {"h", "w"}
    assert inside["weights"]["w"]["absolute"] == pytest.approx(0.1)
    text = cli("compare", a, b, "--samples", 1).out
    assert "first difference inside it: node 'loop/body[0]/times' (Mul)" in text
    assert "weight 'w' differs" in text


def test_iterations_are_compared_up_to_the_first_difference(cli, looping):
    a = looping("a.onnx", 0.5)
    b = changed(a, "two", lambda array: array + 1, "b.onnx")  # late one iteration later
    found = report(cli, a, b, "--samples", 1)
    inside = found["first"]["inside"]
    assert inside["node"] == "loop/body[3]/late" and inside["same"] == 3 * 7 + 3
    other = changed(a, "fall", lambda array: array + 1, "b.onnx")
    inside = report(cli, other, a, "--samples", 1)["first"]["inside"]
    assert inside["node"] == "loop/body[0]/choose/else_branch/add" and inside["same"] == 4


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_on_a_loop(cli, looping, engine):
    needed(engine)
    path, other = looping("a.onnx", 0.5), looping("b.onnx", 0.6)
    assert report(cli, path, engine, "--samples", 1)["equal"]
    inside = report(cli, f"{engine}:{other}", path, "--samples", 1)["first"]["inside"]
    if engine in ENGINES[:2]:
        assert inside["node"] == "loop/body[0]/times"
    else:  # others don't tell what is inside
        assert inside is None
