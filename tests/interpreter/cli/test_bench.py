"""``bench`` measures, compares and draws. How fast anything is is not tested."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

from onnxwalk.interpreter.cli import main
from onnxwalk.interpreter.cli._measure import Job, difference, measure

QUICK = ("--times-only", "--seconds", "0.01")


def bench(cli, *argv) -> dict:
    result = cli("bench", *argv, "--json")
    assert (result.status, result.err) == (0, ""), result.err
    return json.loads(result.out)


def test_everything_that_is_measured(cli, classifier):
    found = bench(cli, classifier, "--seconds", "0.01", "--batch", "3")
    assert found["machine"]["cores"] and found["versions"].keys() >= {"numpy", "onnxruntime"}
    (result,) = found["results"]
    assert (result["model"], result["batch"], result["threads"]) == (classifier, 3, 1)
    assert result["inputs"] == [{"name": "x", "dtype": "float32", "shape": [3, 4]}]
    ours, theirs = result["engines"]["onnxwalk"], result["engines"]["onnxruntime"]
    for engine in (ours, theirs):
        assert 0 < engine["best"] <= engine["median"] and engine["runs"] >= 1
        assert engine["load"] > 0 and engine["first"] > 0
        assert engine["process"] > engine["best"]
        if "memory" in engine:  # Linux alone tells
            assert engine["memory_total"] - engine["memory"] == 4 * 12
    assert theirs["ratio"] == pytest.approx(ours["best"] / theirs["best"])
    assert theirs["ratio_median"] == pytest.approx(ours["median"] / theirs["median"])
    assert theirs["agrees"] and theirs["difference"] < 1e-6
    assert "ratio" not in ours and "agrees" not in ours


def test_several_batches_threads_and_engines_as_a_table_and_a_plot(cli, classifier, tmp_path):
    options = ("--batch", "1,2", "--threads", "1,2", "--against", "onnxruntime,reference")
    result = cli("bench", classifier, *options, *QUICK, "--plot", "out.svg")
    assert (result.status, result.err) == (0, "")
    for part in ("1 thread: x float32 1×4", "2 threads: x float32 2×4", "ratio", "equal"):
        assert part in result.out
    assert result.out.count("\nreference") == 4
    picture = (tmp_path / "out.svg").read_text()
    assert picture.startswith("<?xml") and "</svg>" in picture


def test_limits_and_the_way_of_a_run(cli, classifier):
    """For the load, for each run and for new processes; other engines have none of it."""
    result = cli("bench", classifier, *QUICK, "--max-tensor-bytes", "10")
    assert "max_tensor_bytes" in result.error
    result = cli("bench", classifier, *QUICK, "--max-nodes", "1")
    assert "max_nodes" in result.error
    options = ("--executor", "walk", "--threads", "2", "--against", "none")
    (result,) = bench(cli, classifier, *options, "--seconds", "0.01")["results"]
    assert result["engines"]["onnxwalk"]["process"] > 0
    (result,) = bench(cli, classifier, "--no-optimize", *QUICK)["results"]
    assert result["engines"]["onnxruntime"]["agrees"]
    assert "is short for" in cli("bench", classifier, "--no-optimize", "--executor", "walk").error


def test_without_another_engine(cli, classifier):
    (result,) = bench(cli, classifier, "--against", "none", *QUICK)["results"]
    assert list(result["engines"]) == ["onnxwalk"]


def test_the_sizes_of_dimensions(cli, make):
    """--batch is for the dimension of that name wherever it is, --dim for the others."""
    node = helper.make_node("Add", ["a", "b"], ["y"])
    inputs = [("a", T.FLOAT, ["time", "N", 3]), ("b", T.FLOAT, ["time", "N", 3])]
    model = make("m.onnx", [node], inputs, [("y", T.FLOAT, None)])
    found = bench(cli, model, "--batch", "4", "--dim", "time=5", "--against", "none", *QUICK)
    assert [i["shape"] for i in found["results"][0]["inputs"]] == [[5, 4, 3]] * 2

    unnamed = make(
        "u.onnx", [node], [(n, T.FLOAT, [None, 2]) for n in "ab"], [("y", T.FLOAT, None)]
    )
    found = bench(cli, unnamed, "--batch", "4", "--against", "none", *QUICK)
    assert [i["shape"] for i in found["results"][0]["inputs"]] == [[4, 2]] * 2

    fixed = make("f.onnx", [node], [(n, T.FLOAT, [2, 2]) for n in "ab"], [("y", T.FLOAT, None)])
    assert "the inputs have fixed sizes" in cli("bench", fixed, "--batch", "4").error


def test_inputs_from_files(cli, classifier, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 4), np.float32))
    found = bench(cli, classifier, "--input", "x=x.npy", "--against", "none", *QUICK)
    assert found["results"][0]["inputs"][0]["shape"] == [5, 4]
    error = cli("bench", classifier, "--input", "x=x.npy", "--batch", "2").error
    assert error.startswith("--batch sets the size of random inputs")


def test_outputs_that_differ_are_an_error_after_the_report(cli, make):
    node = helper.make_node("RandomNormal", [], ["y"], shape=[3])
    model = make("random.onnx", [node], [], [("y", T.FLOAT, [3])])
    result = cli("bench", model, *QUICK)
    assert result.status == 1 and "DIFFERENT" in result.out
    assert result.err.startswith(f"onnxwalk: {model}: the outputs differ from those of onnxruntime")
    assert result.err.count("\n") == 1


def test_an_engine_that_fails_stops_no_other(cli, make):
    node = helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft")
    model = make("gelu.onnx", [node], [("x", T.FLOAT, [3])], [("y", T.FLOAT, [3])])
    result = cli("bench", model, "--against", "reference,onnxruntime", *QUICK, "--json")
    engines = json.loads(result.out)["results"][0]["engines"]
    assert engines["onnxruntime"]["agrees"] and list(engines["reference"]) == ["error"]
    assert result.status == 1
    assert result.err.startswith(f"onnxwalk: {model}: reference can't run the model: ")
    assert result.err.count("\n") == 1


def test_an_engine_that_is_not_installed(cli, classifier, tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error = cli("bench", classifier, *QUICK).error
    assert error == "onnxruntime is required but isn't installed: pip install onnxruntime"


def test_other_errors(cli, classifier, make):
    assert cli("bench", "no.onnx").error.startswith("no.onnx")
    for option, message in {
        "--dim=time=3": "--dim time=3: no such dimension; the inputs have: batch",
        "--dim=batch": "--dim batch: expected NAME=N, as in sequence=100",
        "--plot=out.txt": "out.txt: expected a .svg, .png or .pdf file",
        "--plot=no/out.svg": f"no/out.svg: folder {os.path.realpath('no')} not found",
    }.items():
        assert cli("bench", classifier, option).error == message.replace("dim time=3", "dim time")
    assert "--keras can be used with one MODEL only" in cli("bench", "a", "b", "--keras", "c").error
    error = cli("bench", classifier, "--against", "keras").error
    assert error == f"no .keras file next to {classifier}; pass --keras FILE"
    refused = make(
        "r.onnx",
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [("x", T.FLOAT, [3]), ("s", T.INT64, [2])],
        [("y", T.FLOAT, None)],
    )
    assert "Reshape" in cli("bench", refused, *QUICK).error


@pytest.mark.parametrize(
    "option", ["--against=tensorrt", "--threads=0", "--batch=1,x", "--seconds=-1", "--seconds=nan"]
)
def test_a_wrong_command_line_is_status_2(option, classifier):
    with pytest.raises(SystemExit) as ended:
        main(["bench", classifier, option])
    assert ended.value.code == 2


def test_the_measuring_process_takes_what_a_command_line_cannot_say(make):
    """Sequences and texts as feeds."""
    node = helper.make_node("Identity", ["x"], ["y"])
    model = make("s.onnx", [node], [("x", T.STRING, [2])], [("y", T.STRING, [2])])
    feeds = {"x": np.array(["a", "b"], object)}
    found = measure(Job(model, feeds, seconds=0.01, startup=False, processes=1))
    assert found["onnxruntime"]["agrees"] and found["onnxwalk"]["process"] > 0


def test_difference():
    a = np.array([1.0, -4.0], np.float32)
    assert difference([a], [a]) == 0
    assert difference([a], [a + np.float32(0.5)]) == pytest.approx(0.5 / 3.5)
    assert difference([np.float32(0)], [np.float32(0)]) == 0
    assert difference([a, a], [a]) == difference([a], [a[:1]]) == math.inf
    odd = np.array([math.nan, math.inf, 1])
    assert difference([odd], [odd]) == 0 and difference([odd], [-odd]) == math.inf
    assert difference([odd], [np.array([0, math.inf, 1])]) == math.inf
    assert difference([["b"]], [np.array(["b"], object)]) == 0
    assert difference([np.array(["a"])], [np.array(["b"])]) == math.inf
    assert difference([[{1: 2.0}]], [[{1: 2.0}]]) == 0
    assert difference([{1: 2.0}], [{2: 2.0}]) == difference([None], [a]) == math.inf
    assert difference([np.array([True])], [np.array([False])]) == math.inf
    assert difference([np.array([1 + 1j])], [np.array([1 + 2j])]) == pytest.approx(5**-0.5)
