"""``python -m tests.programs.faults``, of a few files; and its figures."""

import json

import pytest

from tests.programs.faults import __main__ as command
from tests.programs.faults.corpus import faults


@pytest.fixture(scope="module")
def cases():
    return faults(mutants=0)


def test_names_are_unique_and_files_the_same_each_time(cases):
    assert len({case.origin for case in cases}) == len(cases)
    assert [case.text() for case in faults(mutants=0)] == [case.text() for case in cases]


@pytest.mark.parametrize("name", ["bombs/Expand", "endless/Loop", "structure/a cycle"])
def test_onnxwalk_contains_it(cases, name, tmp_path):
    (case,) = (case for case in cases if case.origin == name)
    row = command.tried("onnxwalk", case.text(), tmp_path)
    assert row["ended"] == "refused" and row["mebibytes"] < 1024, row
    assert not list(tmp_path.iterdir())


def test_what_was_tried_is_not_tried_again(monkeypatch, tmp_path, capsys):
    def tried(engine, text, folder):
        return {"engine": engine, "ended": "refused", "error": "", "seconds": 1, "mebibytes": 50}

    monkeypatch.setattr(command, "tried", tried)
    options = ["--mutants", "0", "--only", "tensors/", "--output", str(tmp_path)]
    assert command.main([*options, "--document", str(tmp_path / "FAULTS.md")]) == 0
    assert "| tried | 14 | 14 | 14 |" in (tmp_path / "FAULTS.md").read_text()
    monkeypatch.setattr(command, "tried", None)
    assert command.main(options) == 0
    assert "| over 5 s | 0 | 0 | 0 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "other", [{"ended": "crashed"}, {"ended": "foreign"}, {"seconds": 9.0}, {"mebibytes": 4000.0}]
)
def test_what_is_not_contained(other, monkeypatch, tmp_path, capsys):
    row = {"engine": "onnxwalk", "ended": "refused", "error": "", "seconds": 1.0, "mebibytes": 50.0}
    monkeypatch.setattr(command, "tried", lambda *args: {**row, **other})
    options = ["--mutants", "0", "--only", "tensors/no type", "--engines", "onnxwalk"]
    assert command.main([*options, "--output", str(tmp_path)]) == 1
    assert "not contained: tensors/no type" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.jsonl").read_text())["name"] == "tensors/no type"
