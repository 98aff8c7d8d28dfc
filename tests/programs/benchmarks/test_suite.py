"""The suite's models can be made and its report adds up; nothing is measured here."""

from __future__ import annotations

import json

import numpy as np
import pytest

import onnxwalk
from tests.programs.benchmarks import decoding, hooks, paired, report, web
from tests.programs.benchmarks.__main__ import main
from tests.programs.benchmarks.operators import CASES
from tests.programs.benchmarks.suite import entries, growing


def test_names_are_of_one_model_each():
    for found in (entries(), growing()):
        names = [(entry.group, entry.name) for entry in found]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operators_load_and_take_their_feeds(case, tmp_path):
    case.build(tmp_path / "m.onnx", tmp_path)
    session = onnxwalk.load(tmp_path / "m.onnx")
    assert {i.name: i.shape for i in session.inputs} == {
        name: value.shape for name, value in case.feeds(session, 1).items()
    }


def test_models_of_the_web_are_of_the_suite():
    assert set(web.MODELS) <= {f"{entry.group}/{entry.name}" for entry in entries()}


def test_the_web_needs_node(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        web.main([])
    assert "needs Node 20" in capsys.readouterr().err


def test_a_chain_from_the_command_line(tmp_path, capsys):
    arguments = ["--growth", "--only", "chain of 10", "--times-only", "--seconds", "0.01"]
    arguments += ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path)]
    assert main(arguments) == 0, capsys.readouterr().err
    assert "chain of 10" in (tmp_path / "GROWTH.md").read_text()
    assert (tmp_path / "growth.svg").exists()


def test_two_runs_make_one_report(tmp_path, capsys):
    files = []
    for name in ("chain of 10", "chain of 100"):
        arguments = ["--growth", "--only", name, "--times-only", "--seconds", "0.01", "--json"]
        assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(capsys.readouterr().out)
    assert main(["--growth", "--from", *map(str, files), "--output", str(tmp_path)]) == 0
    text = (tmp_path / "GROWTH.md").read_text()
    assert "| chain of 10 |" in text and "| chain of 100 |" in text


def test_what_hooks_cost_those_who_do_not_use_them(tmp_path, capsys, monkeypatch):
    """It is measured and told; how much it is, only a quiet machine can say."""
    (chain,) = [entry for entry in growing() if entry.name == "chain of 100"]
    monkeypatch.setattr(hooks, "MODELS", ((chain.group, chain.name),))
    arguments = ["--growth", "--only", chain.name, "--times-only", "--seconds", "0.03"]
    arguments += ["--cache", str(tmp_path), "--json"]
    assert main(arguments) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert found["hooks"]["floor"] > 0 and found["hooks"]["run"] > 0


def test_models_of_hooks_are_in_the_suite():
    assert set(hooks.MODELS) <= {(e.group, e.name) for e in entries() if e.sizes[0] == 1}


def test_an_unknown_name_is_one_line(capsys):
    assert main(["--only", "nonsense"]) == 1
    assert capsys.readouterr().err.startswith("benchmarks: --only nonsense: no such model")


def row(group, name, ratio, size=1, threads=1, **ours):
    base = {"best": 2e-3, "median": 2e-3, "runs": 5}
    theirs = {**base, "load": 1.0, "first": 1.0, "process": 1.0, "memory": 4e6}
    theirs |= {"ratio": ratio, "difference": 1e-7, "agrees": True}
    engines = {"onnxwalk": {**base, **ours}, "onnxruntime": theirs}
    return {"group": group, "name": name, "size": size, "threads": threads, "engines": engines}


def test_the_report(tmp_path):
    rows = [
        row("assignment", "cnn", 0.5, load=0.25, first=1.0, process=2.0, memory=-5.0),
        row("assignment", "cnn", 2.0, size=32),
        row("operators", "Erf", 9.0),
        row("light networks", "vgg19", 4.0),
        row("light networks", "broken", 1.0),
    ]
    rows[0]["engines"]["reference"] = {"ratio": 0.01, "agrees": False, "difference": 0.5}
    rows[0]["engines"]["tract"] = {"ratio": 0.75, "agrees": True, "difference": 0.0}
    rows[-1]["engines"] = {"onnxwalk": {"error": "no such operator"}}
    rows[0]["hooks"] = {"floor": 1e-3, "run": 2e-3, "beyond_floor": 2.0, "after_hooks": 1.0}
    rows[0]["hooks"] |= {"limited": 1.25, "timed": 1.5}
    machine = {"processor": "some", "cores": 2, "system": "any"}
    about = {"machine": machine, "versions": {"numpy": "2"}, "results": rows}
    report.write(tmp_path, about, "benchmarks")
    text = (tmp_path / "BENCHMARKS.md").read_text()
    for line in (
        "| assignment's families, 1 thread | ≤ 0.6 | 1.00 | **missed** |",
        "| the same, batch 1, 1 thread | ≤ 1.5 | 0.50 | met |",
        "| all of the suite, 1 thread | ≤ 1.15 | 2.45 | **missed** |",
        "| any single model, 1 thread | ≤ 3 | 4.00 (vgg19) | **missed** |",
        "| tract, the worst, 1 thread | ≤ 1 | 0.75 (cnn, 1) | met |",
        "| load | ≤ 0.6 | 0.25 | met |",
        "| load + first run | ≤ 1 | 0.62 | met |",
        "| new process to first output, assignment's models | ≤ 1 | 2.00 | **missed** |",
        "| memory beyond the weights | ≤ 1.1 | 0.25 | met |",
        "| operators | 9.00 |",
        "| cnn, 1 | 1 ms | 2 ms | 2.000 | 1.000 | 1.250 | 1.500 |",
        "- broken, 1 thread: onnxwalk failed: no such operator",
        "- cnn, 1, 1 thread: reference differs by 5.0e-01",
    ):
        assert line in text.splitlines(), line
    assert (tmp_path / "benchmarks.svg").exists()


def test_several_runs_make_one_report(tmp_path):
    about = {"machine": {"processor": "p", "cores": 2, "system": "s"}, "versions": {"numpy": "2"}}
    one = {"group": "light networks", "name": "vgg19", "size": 1, "threads": 1}
    first = {
        **one,
        "engines": {"onnxwalk": {"best": 1.0}, "onnxruntime": {"best": 2, "ratio": 0.5}},
    }
    again = {**one, "engines": {"onnxwalk": {"best": 9.0}, "reference": {"ratio": 0.01}}}
    two = {**one, "threads": 2, "engines": {"onnxruntime": {"ratio": 0.75}}}
    files = []
    for number, rows in enumerate(([first], [again, two])):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps({**about, "results": rows}))
    assert main(["--from", *map(str, files), "--output", str(tmp_path)]) == 0
    text = (tmp_path / "BENCHMARKS.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| vgg19")]
    cells = [cell.strip() for cell in line.split("|")[2:7]]
    assert cells == ["1 s", "2 s", "0.50", "0.75", "0.010"]


def test_two_checkouts_in_turn():
    """Both builds load the model and answer; the times themselves are no matter of a test."""
    model = paired.ROOT / "interpreter" / "cli" / "_demo" / "digits.onnx"
    feeds = {"image": np.zeros((4, 8, 8, 1), np.float32)}
    best, medians = paired.ratios(model, feeds, paired.ROOT, 0.2)
    assert best > 0 and medians > 0
    assert paired.mean([2, 8]) == pytest.approx(4)


def test_a_model_that_writes(capsys):
    pytest.importorskip("onnxruntime")
    assert decoding.main(["--tokens", "3", "--conversations", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["float32", "int4"]
