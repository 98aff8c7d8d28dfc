"""The command that compares exporters: its judgement, without installing anything."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper

from tests.exporters.__main__ import main, run, save_results
from tests.exporters.compare import KNOWN, REFUSED, RIGHT, WRONG, Result, compare, difference
from tests.exporters.exporter import Exporter, exporters
from tests.exporters.table import is_all_right, load_results, unneeded, write_page
from tests.exporters.writing import refuse, write


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ([1.0, 2.0], [1.0, 2.00001], True),
        ([1.0, 2.0], [1.0, 2.1], False),
        ([np.nan, np.inf], [np.nan, np.inf], True),
        ([np.nan], [1.0], False),
        ([np.inf], [-np.inf], False),
        ([1, 2], [1, 3], False),
        ([[1.0]], [1.0], False),
        (["a"], ["a"], True),
        (["a"], ["b"], False),
        ([{0: 0.25, 1: 0.75}], [[0.25, 0.75]], True),
    ],
)
def test_difference(ours, theirs, same):
    assert (difference(ours, np.array(theirs), 1e-4) == "") is same


@pytest.fixture
def doubling(tmp_path):
    """A file that doubles, and a function that writes what the framework is to have answered."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "twice.onnx")

    def answering(factor):
        x = np.arange(3, dtype=np.float32)
        np.savez(tmp_path / "twice.npz", **{"0/in/0": x, "0/out/0": x * np.float32(factor)})
        return tmp_path / "twice.onnx"

    return answering


def test_a_wrong_answer_shows_as_wrong(doubling):
    assert compare(doubling(2), 1e-4, {}).verdict == RIGHT
    wrong = compare(doubling(3), 1e-4, {"other": "why"})
    assert wrong.verdict == WRONG and "the framework" in wrong.detail
    assert compare(doubling(3), 1e-4, {"tw*": "why"}) == Result("twice", KNOWN, "why")
    # a reason that is about ONNX Runtime doesn't excuse the framework
    assert compare(doubling(3), 1e-4, {"onnxruntime:tw*": "why"}).verdict == WRONG


def test_a_file_that_does_not_load_is_wrong(doubling):
    path = doubling(2)
    path.write_bytes(b"no model")
    assert compare(path, 1e-4, {}).verdict == WRONG


@pytest.mark.parametrize(
    ("kind", "step"),
    [("FLOAT", 0.0), ("FLOAT16", 5e-3), ("BFLOAT16", 1e-2), ("8 bits", 0.25)],
)
def test_a_file_that_rounds_coarsely_may_be_further_apart(tmp_path, kind, step):
    """x to the type and back: half of what it may be apart is right, twice as much is wrong."""
    if kind == "8 bits":
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale"], ["y"]),
        ]
    else:
        nodes = [
            helper.make_node("Cast", ["x"], ["q"], to=getattr(TensorProto, kind)),
            helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
        ]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.25])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [scale])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "file.onnx")
    numbers = np.array([0.0, 0.5, 1.0], np.float32)
    for factor, verdict in ((0.5, RIGHT), (2.0, WRONG)):
        answers = numbers + np.float32(factor * (step or 1e-4))
        np.savez(tmp_path / "file.npz", **{"0/in/0": numbers, "0/out/0": answers})
        assert compare(tmp_path / "file.onnx", 1e-4, {}).verdict == verdict


def test_what_a_program_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def cannot(path):
        Path(path).write_text("half a file")
        raise ValueError("not this one\nmore words")

    write(
        "good", lambda path: Path(path).touch(), [[np.ones(2)], [np.zeros(2)]], lambda x: (x, None)
    )
    write("bad", cannot, [np.ones(2)], lambda x: x)
    refuse("gone", "the process ended")
    reasons = json.loads(Path("refused.json").read_text())
    assert reasons == {"bad": "ValueError: not this one", "gone": "the process ended"}
    assert sorted(path.name for path in tmp_path.glob("*.*n*")) == [
        "good.npz", "good.onnx", "refused.json",
    ]  # fmt: skip
    with np.load("good.npz") as arrays:
        assert sorted(arrays) == ["0/in/0", "0/out/0", "1/in/0", "1/out/0"]


def test_a_program_that_fails_is_wrong(tmp_path, monkeypatch):
    def fails(exporter, cache):
        raise subprocess.CalledProcessError(1, "pip", stderr="some words\nno such version\n")

    monkeypatch.setattr(Exporter, "write_files", fails)
    first = exporters()[0]
    assert run(first, tmp_path) == [Result("the program", WRONG, "no such version")]


def test_page_from_saved_results(tmp_path):
    first, *others = exporters()
    results = [
        Result("a", RIGHT),
        Result("b", KNOWN, "a | b"),
        Result("c", WRONG, "numbers differ by 1"),
        Result("d", REFUSED, "ValueError: no"),
    ]
    save_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results
    assert load_results(tmp_path / "none.json") is None
    page = tmp_path / "page.md"
    page.write_text("before <!-- exporters: begin -->old<!-- exporters: end --> after")
    write_page([first, *others], {first.name: results, **{e.name: None for e in others}}, page)
    text = page.read_text()
    assert "old" not in text and text.startswith("before") and text.endswith("after")
    assert "| 3 | 1 | 1 | 1 | 1 |" in text and text.count("not run") == len(others)
    assert "- wrong: `c`: numbers differ by 1" in text and "- explained: `b`" in text
    assert "a \\| b" in text


def test_reasons_that_explain_nothing():
    results = [Result("a-1", KNOWN, "why"), Result("b-1", RIGHT)]
    reasons = {"onnxruntime:a-*": "why", "b-*": "why", "c": "why"}
    assert unneeded(reasons, results) == ["b-*", "c"]


def test_what_counts_as_all_right():
    right, known, wrong, refused = (
        Result("a", verdict) for verdict in (RIGHT, KNOWN, WRONG, REFUSED)
    )
    assert is_all_right([right, known], 0) and is_all_right([right, refused], 1)
    assert not is_all_right([right, wrong], 0)
    # nothing that is right: no file at all, refusals alone, or files that all differ
    assert not is_all_right([], 0) and not is_all_right([refused], 1)
    assert not is_all_right([known], 0)
    # an exporter that refuses more than before has lost something; one that refuses less, gained
    assert not is_all_right([right, refused], 0) and not is_all_right([right], 1)


def test_every_program_states_pinned_packages():
    for exporter in exporters():
        tree = ast.parse(exporter.path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) and exporter.says
        assert all("==" in requirement for requirement in exporter.requirements), exporter.name
        assert "onnxwalk" not in exporter.path.read_text(encoding="utf-8")
        assert all(reason for reason in exporter.known.values())
        assert isinstance(exporter.refused, int) and exporter.refused >= 0


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["no-such-exporter"])
    assert "no exporter is named" in capsys.readouterr().err
