"""``run --dump``: values in between as files."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk


def index(folder):
    return json.loads((Path(folder) / "index.json").read_text())


def samples():
    return np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def test_every_value_is_there_with_its_maker(cli, classifier):
    np.save("x.npy", samples())
    result = cli("run", classifier, "-i", "x.npy", "--dump", "inside", "-o", "y.npy")
    assert result.status == 0, result.err
    assert "3 values written to inside" in result.out
    entries = index("inside")
    assert [(e["name"], e["node"], e["operator"]) for e in entries] == [
        ("x", None, None),
        ("scores", "dense", "MatMul"),
        ("y", "", "Softmax"),
    ]
    session = onnxwalk.load(classifier)
    for entry in entries:
        written = np.load(Path("inside") / entry["file"], allow_pickle=False)
        assert [str(written.dtype), list(written.shape)] == [entry["dtype"], entry["shape"]]
        expected = (
            samples() if entry["name"] == "x" else session.run([entry["name"]], {"x": samples()})[0]
        )
        np.testing.assert_allclose(written, expected, rtol=1e-6)
    np.testing.assert_array_equal(np.load("y.npy"), written)
    assert sorted(p.name for p in Path("inside").iterdir()) == sorted(
        ["index.json", *(e["file"] for e in entries)]
    )


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["sco*"], ["scores"]),
        (["dense"], ["scores"]),
        (["Softmax"], ["y"]),
        (["x", "Softmax"], ["x", "y"]),
    ],
)
def test_what_is_selected(cli, classifier, patterns, names):
    np.save("x.npy", samples())
    selected = [part for pattern in patterns for part in ("--select", pattern)]
    assert cli("run", classifier, "-i", "x.npy", "--dump", "d", *selected).status == 0
    assert [entry["name"] for entry in index("d")] == names


def test_names_that_are_no_file_names_and_values_that_are_no_tensors(cli, make):
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["../two\n"]),
        helper.make_node("ConcatFromSequence", ["../two\n"], ["y"], axis=0),
    ]
    model = make("m.onnx", nodes, [("x", T.STRING, [2])], [("y", T.STRING, [4])])
    Path("x.json").write_text('["a", "bé"]')
    assert cli("run", model, "-i", "x.json", "--dump", "d").status == 0
    entries = index("d")
    assert [e["name"] for e in entries] == ["x", "../two\n.0", "../two\n.1", "y"]
    assert np.load(Path("d") / entries[1]["file"]).tolist() == ["a", "bé"]
    assert all(Path("d", e["file"]).resolve().parent == Path("d").resolve() for e in entries)


def test_invalid_options_are_refused_and_leave_no_files(cli, classifier, make):
    Path("full").mkdir()
    Path("full/file").touch()
    Path("file").touch()
    run = ("run", classifier, "--random", "--dump")
    assert cli(*run, "full").error == "full: the folder isn't empty"
    assert cli(*run, "file").error == "file: not a folder"
    assert "no not found" in cli(*run, "no/where").error
    assert "can't be combined with --batch" in cli(*run, "d", "--batch", 2).error
    assert (
        "no value, node, operator or Keras layer matches"
        in cli(*run, "d", "--select", "nothing").error
    )
    assert "--select requires --dump" in cli("run", classifier, "--random", "--select", "x").error
    broken = make(
        "broken.onnx",
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [("x", T.FLOAT, [3])],
        [("y", T.FLOAT, None)],
        {"s": np.array([2, 2])},
    )
    assert "Reshape" in cli("run", broken, "--random", "--dump", "d").error
    assert sorted(p.name for p in Path().iterdir() if p.suffix != ".onnx") == ["file", "full"]


@pytest.fixture
def counter(make):
    """y = x + 1 + 1 …, m times, in a Loop"""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["h", "one"], ["more"], name="plus"),
            helper.make_node("Identity", ["c"], ["d"]),
        ],
        "body",
        [value("i", T.INT64, []), value("c", T.BOOL, []), value("h", T.FLOAT, [2])],
        [value("d", T.BOOL, []), value("more", T.FLOAT, [2])],
    )
    nodes = [helper.make_node("Loop", ["m", "", "x"], ["y"], name="loop", body=body)]
    inputs = [("x", T.FLOAT, [2]), ("m", T.INT64, [])]
    one = {"one": np.ones(2, np.float32)}
    return make("counter.onnx", nodes, inputs, [("y", T.FLOAT, [2])], one)


@pytest.mark.parametrize(
    ("asked", "there"), [([], 3), (["--iterations", 5], 5), (["--iterations", 0], 0)]
)
def test_iterations_of_a_loop(cli, counter, asked, there):
    Path("f.json").write_text('{"x": [1, 2], "m": 7}')
    selected = ["--select", "plus", "--select", "y"]
    result = cli("run", counter, "-i", "f.json", "--dump", "d", *selected, *asked)
    assert result.status == 0, result.err
    entries = index("d")
    assert [(e["name"], e["node"]) for e in entries] == [
        *((f"loop/body[{k}]/more", f"loop/body[{k}]/plus") for k in range(there)),
        ("y", "loop"),
    ]
    for k, entry in enumerate(entries[:-1]):
        np.testing.assert_array_equal(np.load(Path("d") / entry["file"]), [2 + k, 3 + k])
    assert ("loop/body ran 7 times" in result.out) is (there > 0)


def test_iterations_require_dump(cli, counter):
    error = cli("run", counter, "--random", "--iterations", 2).error
    assert "--iterations requires --dump" in error
