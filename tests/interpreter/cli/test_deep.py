"""``inspect --deep``: shapes with their symbols, layers, weights, duplicates, rewrites."""

import json

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper


def deep(cli, *argv):
    result = cli("inspect", *argv, "--deep", "--json")
    assert result.status == 0, result.err
    return json.loads(result.out)["deep"]


def shapes(found):
    return {v["name"]: v["shape"] for v in found["values"]}


@pytest.fixture
def shaped(make):
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["twice"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["longer"]),
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["x", "flat"], ["flattened"]),
        helper.make_node("Slice", ["x", "one", "all", "one", "two"], ["halved"]),
        helper.make_node("ReduceSum", ["x", "two"], ["y"], keepdims=0),
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=2),
    ]
    constants = {
        "pads": np.array([0, 1, 0, 0, 2, 0]),
        "flat": np.array([-1, 4]),
        "one": np.array([1]),
        "two": np.array([2]),
        "all": np.array([1 << 40]),
    }
    return make(
        "shaped.onnx", nodes, [("x", T.FLOAT, ["n", "t", 4])], [("y", T.FLOAT, None)], constants
    )


def test_shapes_say_what_they_are_of_the_symbols(cli, shaped):
    found = deep(cli, shaped)
    assert shapes(found) == {
        "x": ["n", "t", 4],
        "twice": ["2·n", "t", 4],
        "longer": ["n", "t + 3", 4],
        "turned": ["t", "n", 4],
        "flattened": ["n·t", 4],
        "halved": ["n", "f(t)", 4],
        "y": ["n", "t"],
        "parts": None,
    }
    assert [v["type"] for v in found["values"]][-1] == "sequence"


def test_sizes_can_be_given(cli, shaped):
    result = cli("inspect", shaped, "--deep", "--dim", "t=7", "--json")
    assert result.status == 0, result.err
    assert (
        "no such dimension; the inputs have: n, t"
        in cli("inspect", shaped, "--deep", "--dim", "z=1").error
    )
    for option in (("--dim", "t=7"), ("-i", "x.npy"), ("--seed", "1")):
        assert "requires --deep" in cli("inspect", shaped, *option).error


def test_inputs_can_be_given(cli, make, shaped, tmp_path):
    """Their sizes are numbers, those of other inputs are open. Random ids are too large here."""
    np.save(tmp_path / "x.npy", np.ones((2, 5, 4), np.float32))
    result = cli("inspect", shaped, "--deep", "-i", "x.npy", "--json")
    assert shapes(json.loads(result.out)["deep"])["twice"] == [4, 5, 4]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Add", ["rows", "more"], ["y"]),
    ]
    inputs = [("ids", T.INT64, ["n"]), ("more", T.FLOAT, ["k", 1, 3])]
    table = {"table": np.ones((2, 3), np.float32)}
    path = make("ids.onnx", nodes, inputs, [("y", T.FLOAT, None)], table)
    assert "or values with --input" in cli("inspect", path, "--deep").error
    result = cli("inspect", path, "--deep", "-i", "ids=[0, 1, 1, 0]", "--json")
    assert shapes(json.loads(result.out)["deep"])["y"] == ["k", 4, 3]


def test_a_model_that_takes_certain_sizes_only(cli, make):
    """A side of 32, 64, 96 …: two poolings, and a Concat of the results stretched again."""
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["r"]),
        helper.make_node("Identity", ["r"], ["y"]),
    ]
    model = make(
        "m.onnx", nodes, [("x", T.FLOAT, ["n", "side"])], [("y", T.FLOAT, None)],
        {"s": np.array([0, -1, 32])},
    )  # fmt: skip
    found = deep(cli, model)
    assert shapes(found)["x"] == ["n", "side"]
    assert shapes(found)["y"] == ["n", "side/32", 32]


def test_layers_weights_and_duplicates(cli, make):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(4, 8)).astype(np.float32)
    broken = w.copy()
    broken[0, 0] = np.nan
    constant = numpy_helper.from_array(np.zeros((8, 3), np.float32))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="net/one/MatMul"),
        helper.make_node("Add", ["a", "b"], ["s"], name="net/one/Add"),
        helper.make_node("Constant", [], ["k"], name="net/two/kernel", value=constant),
        helper.make_node("MatMul", ["s", "k"], ["c"], name="net/two/MatMul"),
        helper.make_node("MatMul", ["x", "w2"], ["d"], name="net/three/MatMul"),
        helper.make_node("MatMul", ["x", "w3"], ["e"], name="net/three/MatMul_1"),
    ]
    weights = {"w": w, "b": np.zeros(8, np.float32), "w2": w, "w3": broken}
    outputs = [(name, T.FLOAT, None) for name in "cde"]
    found = deep(cli, make("m.onnx", nodes, [("x", T.FLOAT, ["n", 4])], outputs, weights))
    assert [(r["layer"], r["parameters"], r["flop"]) for r in found["layers"]] == [
        ("net/one", 40, 2 * 2 * 4 * 8 + 16),  # of two samples
        ("net/two", 24, 2 * 2 * 8 * 3),
        ("net/three", 64, 2 * (2 * 2 * 4 * 8)),
    ]
    by_name = {row["name"]: row for row in found["weights"]}
    assert by_name["w"]["std"] == pytest.approx(float(w.std()), rel=1e-5)
    assert by_name["b"]["zeros"] == by_name["k"]["zeros"] == 1
    assert by_name["w3"]["not_finite"] == 1
    assert found["duplicates"] == [["w", "w2"]]


def test_what_the_rewrites_do(cli, make):
    nodes = [
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["x", "two"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["s"]),
        helper.make_node("Mul", ["a", "s"], ["y"]),
    ]
    one = {"one": np.ones(1, np.float32)}
    model = make("m.onnx", nodes, [("x", T.FLOAT, ["n"])], [("y", T.FLOAT, None)], one, opset=24)
    found = deep(cli, model)
    rows = {row["rewrite"]: row for row in found["rewrites"]}
    assert rows["fold_constants"]["removed"] == {"Add": 1}
    assert rows["recognize"]["added"] == {"Swish": 1}
    assert rows["recognize"]["removed"] == {"Sigmoid": 1, "Mul": 1}
    assert rows["drop_unused"]["nodes"] == 2
    became = {row["node"]: (row["became"], row["with"]) for row in found["fates"]}
    assert became == {
        "two": ("computed once, at load", []),
        "a": ("unchanged", []),
        "s": ("Swish 'y'", ["y"]),
        "y": ("Swish 'y'", ["s"]),
    }
    text = cli("inspect", model, "--deep").out
    assert "replaced nodes (1 are unchanged)" in text
    assert "Sigmoid 1, Mul 1" in text.partition("replaced nodes")[2]


def test_the_text(cli, classifier):
    result = cli("inspect", classifier, "--deep", "--top", 1)
    assert result.status == 0, result.err
    for part in ("layers", "values", "weights", "rewrites", "float32[batch, 4]", "and 2 more"):
        assert part in result.out


def test_a_model_that_rejects_random_inputs(cli, make):
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    shape = {"s": np.array([7, 11])}
    model = make("m.onnx", nodes, [("x", T.FLOAT, ["n"])], [("y", T.FLOAT, None)], shape)
    message = cli("inspect", model, "--deep").error
    assert "pass sizes with --dim" in message and "Reshape" in message
    found = deep(cli, model, "--dim", "n=77")
    assert shapes(found)["y"] == [7, 11]
