"""What ``run`` does with inputs: batches, made-up inputs, outputs, the summary, JSON."""

from __future__ import annotations

import json
import os
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.interpreter.cli import _session
from onnxwalk.interpreter.rows import outputs as writing

FLOAT = T.FLOAT


def samples(n=100, width=4, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


# --- batches


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x.json"])
@pytest.mark.parametrize("batch", [1, 7, 50, 100, 1000])
def test_batches_equal_one_run(feed, classifier, name, batch):
    x = samples()
    np.save("x.npy", x)
    np.savez_compressed("x.npz", x=x)
    np.savetxt("x.csv", x, delimiter=",", fmt="%.9g")
    Path("x.json").write_text(json.dumps(x.tolist()))
    expected = onnxwalk.load(classifier)(x)
    outputs, _ = feed(classifier, "-i", name, "--batch", batch)
    np.testing.assert_allclose(outputs["y"], expected, rtol=1e-6)
    assert outputs["y"].dtype == np.float32


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
def test_batches_are_written_to_every_format(cli, classifier, suffix):
    np.save("x.npy", samples())
    expected = onnxwalk.load(classifier)(samples())
    assert cli("run", classifier, "-i", "x.npy", "--batch", 30, "-o", f"y{suffix}").status == 0
    if suffix == ".json":
        written = np.array(json.loads(Path("y.json").read_text())["y"])
    else:
        loaded = np.load(f"y{suffix}", allow_pickle=False)
        written = loaded["y"] if suffix == ".npz" else loaded
    np.testing.assert_allclose(written, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_memory_is_bounded_by_the_batch(cli, make, name):
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    model = make("m.onnx", [node], [("x", FLOAT, ["n", 1000])], [("y", FLOAT, None)], opset=11)
    node.attribute.append(helper.make_attribute("axes", [1]))
    model = make("m.onnx", [node], [("x", FLOAT, ["n", 1000])], [("y", FLOAT, ["n"])], opset=11)
    x = np.ones((5000, 1000), np.float64)  # 40 MB
    np.save("x.npy", x)
    np.savez("x.npz", x=x)
    del x
    tracemalloc.start()
    try:
        result = cli("run", model, "-i", name, "--batch", 50, "-o", "y.npy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.status == 0 and (np.load("y.npy") == 1000).all()
    assert peak < 8e6, peak


def test_a_model_of_one_row_takes_many_one_by_one(feed, cli, make):
    node = helper.make_node("Neg", ["x"], ["y"])
    model = make("m.onnx", [node], [("x", FLOAT, [2, 4])], [("y", FLOAT, [2, 4])])
    np.save("x.npy", samples(10))
    outputs, text = feed(model, "-i", "x.npy", "--batch", 2)
    np.testing.assert_array_equal(outputs["y"], -samples(10))
    assert "5 runs" in text and "(10, 4)" in text
    np.save("odd.npy", samples(9))
    assert "9 is not a multiple of 2" in cli("run", model, "-i", "odd.npy", "--batch", 2).error
    error = cli("run", model, "-i", "x.npy", "--batch", 3).error
    assert "the model requires 2 rows: --batch 2" in error


def test_each_run_gets_all_rows_of_an_input_of_fixed_size(feed, make):
    node = helper.make_node("Add", ["x", "w"], ["y"])
    inputs = [("x", FLOAT, ["n", 4]), ("w", FLOAT, [1, 4])]
    model = make("m.onnx", [node], inputs, [("y", FLOAT, ["n", 4])])
    np.save("x.npy", samples(10))
    np.save("w.npy", np.arange(4.0)[None])
    for batch in (1, 3):
        outputs, _ = feed(model, "-i", "x=x.npy", "-i", "w=w.npy", "--batch", batch)
        np.testing.assert_array_equal(outputs["y"], samples(10) + np.arange(4, dtype=np.float32))


def test_values_that_cannot_be_split_or_joined_are_refused(cli, adder, make):
    np.save("a.npy", np.zeros((6, 2)))
    np.save("b.npy", np.zeros((4, 2)))
    error = cli("run", adder, "-i", "a=a.npy", "-i", "b=b.npy", "--batch", 2).error
    assert "'a' has 6, 'b' has 4" in error
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    model = make("sum.onnx", [node], [("x", FLOAT, ["n", 2])], [("y", FLOAT, [])])
    error = cli("run", model, "-i", "a.npy", "--batch", 2, "-o", "y.npy").error
    assert "output 'y'" in error and "run without --batch" in error
    assert os.listdir() and not Path("y.npy").exists()
    assert cli("run", model, "-i", "a.npy", "--batch", 6).status == 0
    node = helper.make_node("Transpose", ["x"], ["y"])
    model = make("t.onnx", [node], [("x", FLOAT, ["n", 2])], [("y", FLOAT, [2, "n"])])
    assert "run without --batch" in cli("run", model, "-i", "a.npy", "--batch", 2).error


def test_no_rows_at_all(feed, classifier):
    np.save("x.npy", np.zeros((0, 4)))
    outputs, text = feed(classifier, "-i", "x.npy", "--batch", 2)
    assert outputs["y"].shape == (0, 3) and "(0, 3)" in text


# --- --random


def test_random_inputs_fit_the_model(feed, cli, make):
    kinds = {"f": FLOAT, "h": T.FLOAT16, "i": T.INT32, "u": T.UINT8, "b": T.BOOL, "s": T.STRING}
    nodes = [helper.make_node("Identity", [k], [f"{k}_"]) for k in kinds]
    inputs = [(k, t, ["n", 50]) for k, t in kinds.items()]
    model = make("m.onnx", nodes, inputs, [(f"{k}_", t, None) for k, t in kinds.items()])
    outputs, text = feed(model, "--random", "--seed", 1, "--shape", "f=3,50")
    assert {y.shape for y in outputs.values()} == {(3, 50)}  # n is 3 for all
    assert outputs["i_"].dtype == np.int32
    assert set(outputs["i_"].ravel()) == set(range(10)) == set(outputs["u_"].ravel())
    assert set(outputs["b_"].ravel()) == {True, False}
    assert 0 <= outputs["f_"].min() < 0.1 and 0.9 < outputs["f_"].max() < 1
    assert set(outputs["s_"].ravel()) == set("0123456789")
    again, _ = feed(model, "--random", "--seed", 1, "--shape", "f=3,50")
    other, _ = feed(model, "--random", "--seed", 2, "--shape", "f=3,50")
    np.testing.assert_array_equal(outputs["f_"], again["f_"])
    assert (outputs["f_"] != other["f_"]).any()
    assert "random numbers" in text


def test_random_fills_the_missing_inputs(feed, adder):
    np.save("a.npy", np.full((4, 2), 100.0))
    outputs, _ = feed(adder, "-i", "a=a.npy", "--random")
    assert outputs["s"].shape == (4, 2) and (outputs["s"] >= 100).all()


def test_random_takes_one_for_symbols_and_a_shape_without_a_name(feed, cli, classifier, make):
    assert feed(classifier, "--random")[0]["y"].shape == (1, 3)
    assert feed(classifier, "--random", "--shape", "5,4")[0]["y"].shape == (5, 3)
    run = ("run", classifier, "--random")
    assert "no such random input" in cli(*run, "--shape", "z=1,2").error
    assert "expected sizes" in cli(*run, "--shape", "x=1,b").error
    message = "expected size 4 in dimension 1 of float32[batch, 4], got 5"
    assert message in cli(*run, "--shape", "1,5").error
    assert "--shape requires --random" in cli("run", classifier, "--shape", "1,5").error
    node = helper.make_node("Identity", ["x"], ["y"])
    model = make("m.onnx", [node], [("x", FLOAT, None)], [("y", FLOAT, None)])
    assert "pass it, as in --shape x=1,100" in cli("run", model, "--random").error


# --- outputs


def test_intermediate_values_are_returned_on_request(feed, cli, classifier):
    np.save("x.npy", samples(5))
    outputs, text = feed(classifier, "-i", "x.npy", "--tensor", "scores", "--tensor", "scores")
    assert list(outputs) == ["y", "scores"] and "scores" in text
    expected = onnxwalk.load(classifier).run(["scores"], {"x": samples(5)})[0]
    np.testing.assert_array_equal(outputs["scores"], expected)
    assert "did you mean 'scores'" in cli("run", classifier, "--random", "--tensor", "scroes").error


def test_no_optimize_runs_the_file_as_written(feed, classifier, monkeypatch):
    asked = []

    def load(model, *, optimize, **more):
        asked.append(optimize)
        return onnxwalk.load(model, optimize=optimize, **more)

    monkeypatch.setattr(_session, "load", load)
    np.save("x.npy", samples(5))
    optimized, _ = feed(classifier, "-i", "x.npy")
    as_written, _ = feed(classifier, "-i", "x.npy", "--no-optimize")
    np.testing.assert_allclose(as_written["y"], optimized["y"], rtol=1e-6)
    assert asked == [None, False]


def test_strings_are_written_without_pickle(feed, cli, identity):
    model = identity(["n"], T.STRING)
    Path("x.json").write_text('["a", "bc"]')
    assert feed(model, "-i", "x.json")[0]["y"].tolist() == ["a", "bc"]
    assert cli("run", model, "-i", "x.json", "-o", "y.npy").status == 0
    assert np.load("y.npy", allow_pickle=False).tolist() == ["a", "bc"]


def test_outputs_of_any_name_get_into_an_npz(feed, make):
    names = ["file", "a/b", "..", "arr.npy", "allow_pickle"]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    model = make("m.onnx", nodes, [("x", FLOAT, [1])], [(name, FLOAT, [1]) for name in names])
    np.save("x.npy", np.ones(1))
    outputs, _ = feed(model, "-i", "x.npy")
    assert set(outputs) == set(names)


def test_small_float_types_are_written_as_float32(feed, identity):
    pytest.importorskip("ml_dtypes")
    np.save("x.npy", np.array([1.5, 300, np.inf]))
    outputs, text = feed(identity(["n"], T.BFLOAT16), "-i", "x.npy")
    assert outputs["y"].dtype == np.float32 and outputs["y"].tolist() == [1.5, 300, np.inf]
    assert "bfloat16" in text


def test_invalid_output_files_are_refused_before_the_run(cli, adder, monkeypatch):
    monkeypatch.setattr(onnxwalk.Session, "run", lambda *_, **__: pytest.fail("it ran"))
    Path("d.npz").mkdir()
    run = ("run", adder, "--random", "-o")
    assert "2 outputs (s, d); use .npz or .json" in cli(*run, "y.npy").error
    assert ".npz, .npy, .json" in cli(*run, "y.txt").error
    assert "no not found" in cli(*run, "no/y.npz").error
    assert "not a regular file" in cli(*run, "d.npz").error


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
def test_an_interrupted_output_leaves_what_was_there(cli, classifier, monkeypatch, failure, suffix):
    np.save("x.npy", samples())
    output = Path(f"y{suffix}")
    output.write_text("old")
    before = set(os.listdir())

    def fail_midway(file, *args, **kwargs):
        assert set(os.listdir()) > before  # it is being written, under another name
        (file.write if hasattr(file, "write") else file)(b"half")
        raise failure

    def fail_json(value, file, **kwargs):
        file.write("half")
        raise failure

    monkeypatch.setattr(writing.np.lib.format, "write_array", fail_midway)
    monkeypatch.setattr(writing.json, "dump", fail_json)
    result = cli("run", classifier, "-i", "x.npy", "-o", output)
    if failure is KeyboardInterrupt:
        assert (result.status, result.out, result.err) == (130, "", "")
    else:
        assert result.error == f"{output}: can't be written: No space left on device"
    assert output.read_text() == "old"
    assert set(os.listdir()) == before


def test_an_interrupted_batch_leaves_what_was_there(cli, classifier, monkeypatch):
    np.save("x.npy", samples())
    Path("y.npy").write_text("old")
    before = set(os.listdir())
    run, calls = onnxwalk.Session.run, []

    def interrupted(*args, **kwargs):
        calls.append(None)
        if len(calls) == 3:
            assert len(os.listdir()) == len(before) + 1
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    monkeypatch.setattr(onnxwalk.Session, "run", interrupted)
    assert cli("run", classifier, "-i", "x.npy", "--batch", 10, "-o", "y.npy").status == 130
    assert Path("y.npy").read_text() == "old" and set(os.listdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="links and modes are POSIX's")
def test_the_file_has_ordinary_rights_and_links_stay(cli, classifier):
    Path("real").mkdir()
    Path("y.npy").symlink_to("real/y.npy")
    old = os.umask(0o022)
    try:
        assert cli("run", classifier, "--random", "-o", "y.npy").status == 0
    finally:
        os.umask(old)
    assert Path("y.npy").is_symlink() and np.load("real/y.npy").shape == (1, 3)
    assert stat.S_IMODE(os.stat("real/y.npy").st_mode) == 0o644


# --- summary and JSON


def test_the_summary_shows_name_type_shape_and_statistics(cli, identity):
    Path("x.json").write_text("[[1, 2, 3], [4, 5, 9]]")
    lines = cli("run", identity([2, 3]), "-i", "x.json").out.splitlines()
    assert "x  float32  (2, 3)  x.json" in lines[1]
    row = next(line for line in lines if line.startswith("y "))
    assert row.split("  ")[0] == "y"
    for part in ("float32", "(2, 3)", " 1 ", " 9 ", " 4 ", "1, 2, 3, 4, 5, 9"):
        assert part in row


def test_json_has_every_value_and_no_nan(cli, identity):
    Path("x.json").write_text('[1, "NaN", "-Infinity", 3]')
    result = cli("run", identity(["n"]), "-i", "x.json", "--json")

    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads(result.out, parse_constant=refuse)
    (output,) = report["outputs"]
    assert output["name"] == "y" and output["dtype"] == "float32" and output["shape"] == [4]
    assert output["values"] == [1, "NaN", "-Infinity", 3]
    assert (output["min"], output["max"], output["mean"]) == (1, 3, 2)
    assert (output["nan"], output["infinite"]) == (1, 1)
    assert report["seconds"] >= 0 and result.err == ""
    assert "1 NaN and 1 infinite" in cli("run", identity(["n"]), "-i", "x.json").out


def test_json_leaves_large_outputs_out(cli, identity):
    for size, there in ((10_000, True), (10_001, False)):
        np.save("x.npy", np.arange(size))
        report = json.loads(cli("run", identity(["n"]), "-i", "x.npy", "--json").out)
        (output,) = report["outputs"]
        assert (output["values"] is not None) == there == ("note" not in output)
        assert output["max"] == size - 1


def test_nothing_finite_has_no_statistics(cli, identity):
    Path("x.json").write_text('["NaN"]')
    (output,) = json.loads(cli("run", identity([1]), "-i", "x.json", "--json").out)["outputs"]
    assert output["min"] is output["max"] is output["mean"] is None
    assert cli("run", identity([1]), "-i", "x.json").status == 0


def test_top_shows_ten_samples_and_counts_the_rest(cli, identity):
    scores = np.tile(np.array([[0.1, 0.7, 0.2, 0.7]], np.float32), (100, 1))
    np.save("x.npy", scores)
    model = identity(["n", 4])
    out = cli("run", model, "-i", "x.npy", "--top", 3).out
    assert out.count("sample ") == 10 and "… and 90 more" in out
    assert "sample 9  1: 0.7  3: 0.7  2: 0.2" in out  # of equals the first comes first
    report = json.loads(cli("run", model, "-i", "x.npy", "--top", 2, "--json").out)
    best = report["outputs"][0]["top"]
    assert len(best) == 100
    assert [c["class"] for c in best[99]] == [1, 3]


def test_of_many_equals_the_first_come_first(cli, identity):
    np.save("x.npy", np.tile(np.arange(2.0), 500)[None])
    report = json.loads(cli("run", identity([1, 1000]), "-i", "x.npy", "--top", 4, "--json").out)
    assert [c["class"] for c in report["outputs"][0]["top"][0]] == [1, 3, 5, 7]


@pytest.mark.parametrize(
    ("name", "text"),
    [("l.txt", "cat\nblack dog\nbird\n\n"), ("l.json", '["cat", "black dog", "bird"]')],
)
def test_labels(cli, identity, name, text):
    Path(name).write_text(text)
    np.save("x.npy", np.array([[0.1, 0.7, np.nan]]))
    model = identity(["n", 3])
    out = cli("run", model, "-i", "x.npy", "--top", 5, "--labels", name).out
    assert "sample 0  black dog: 0.7  cat: 0.1  bird: nan" in out
    np.save("x.npy", np.zeros((1, 4)))
    error = cli("run", identity(["n", 4]), "-i", "x.npy", "--top", 1, "--labels", name).error
    assert error == "--labels: the file has 3 names, but 'y' has 4 classes"


def test_top_and_labels_that_make_no_sense(cli, identity):
    np.save("x.npy", np.zeros(3))
    run = ("run", identity([3]), "-i", "x.npy")
    assert (
        "requires an output of shape (samples, classes); 'y' is (3,)" in cli(*run, "--top", 1).error
    )
    assert cli(*run, "--top", 1, "--labels", "no.txt").error == "no.txt: no such file"
    assert "--labels requires --top" in cli(*run, "--labels", "no.txt").error
    Path("l.json").write_text('{"0": "cat"}')
    assert "JSON list" in cli(*run, "--top", 1, "--labels", "l.json").error
    Path("l.txt").write_bytes(b"\xff\xfe\xfd")
    assert "invalid labels" in cli(*run, "--top", 1, "--labels", "l.txt").error
