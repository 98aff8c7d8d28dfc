"""``python -m tests.programs.fuzz``, short and the same each time; and what its oracle sees."""

import json
import random
import warnings

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter.errors import OnnxWalkError, OperatorError
from tests.programs.fuzz import oracle
from tests.programs.fuzz.__main__ import main
from tests.programs.fuzz.case import LAYOUTS, Case
from tests.programs.fuzz.mutate import mutant
from tests.programs.fuzz.oracle import Finding, judge
from tests.programs.fuzz.seeds import seeds, structured
from tests.programs.fuzz.worker import smallest
from tests.support.supervised import open_files


@pytest.fixture(scope="module")
def cases():
    return list(seeds(backend=False))


def test_nothing_gets_out(tmp_path, capsys):
    """Some thousand mutants, the same in each run."""
    options = ["--executions", "3000", "--seconds", "20", "--small", "--output", str(tmp_path)]
    status = main(options)
    assert status == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["executions"] > 0 and results["ended"]["answer"] > 0


def test_seeds_and_mutants_are_the_same_each_time(cases):
    assert [case.text() for case in structured()] == [case.text() for case in structured()]
    for case in cases[::100]:
        one, other = (mutant(case, cases, random.Random(7)) for _ in range(2))
        assert one.text() == other.text() == Case.of_text(one.text()).text()


def test_seeds_are_answered(cases):
    for case in [*structured(), *cases[::20]]:
        assert not judge(case).findings


def test_layouts_keep_the_values():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    for layout, change in LAYOUTS.items():
        np.testing.assert_array_equal(change(x), x, err_msg=layout)


def raising(error):
    def run(self, names, feeds):
        raise error

    return run


class Foreign(Exception):
    pass


def warning(self, names, feeds):
    warnings.warn("beware", stacklevel=1)
    return [np.zeros(1)]


def changing(self, names, feeds):
    feeds["x"][:] = 7
    return [np.zeros(1)]


def at_random(self, names, feeds):
    return [np.random.default_rng().random(3)]


class Lines(OperatorError):
    """An error whose text isn't made by its class, which makes a line of any."""

    def __str__(self):
        return "two\nlines"


@pytest.mark.parametrize(
    ("kind", "run"),
    [
        ("escaped", raising(Foreign("out"))),
        ("escaped", raising(OnnxWalkError("load: KeyError: a bug in onnxwalk"))),
        ("memory", raising(MemoryError())),
        ("many lines", raising(Lines("two"))),
        ("warned", warning),
        ("not an array", lambda self, names, feeds: [np.float32(1)]),
        ("shared", lambda self, names, feeds: [feeds["x"]]),
        ("feeds changed", changing),
        ("other answer", at_random),
        ("disagrees", lambda self, names, feeds: [np.full(1, len(self._program._rewrites))]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_oracle_sees_it(monkeypatch, kind, run):
    case = next(iter(structured()))
    monkeypatch.setattr(onnxwalk.Session, "run", run)
    assert kind in {finding.kind for finding in judge(case).findings}
    assert kind in oracle.PROPERTIES


def test_what_takes_too_long_is_seen(monkeypatch):
    def forever(self, names, feeds):
        while True:
            pass

    monkeypatch.setattr(onnxwalk.Session, "run", forever)
    monkeypatch.setattr(oracle, "SLOW", 0.05)
    assert {finding.kind for finding in judge(next(iter(structured()))).findings} == {"slow"}


def test_a_finding_is_made_smaller_and_replayed(monkeypatch, tmp_path, capsys):
    case = next(case for case in structured() if case.origin == "chain")
    monkeypatch.setattr(onnxwalk.Session, "run", raising(Foreign("out")))
    found = smallest(case, Finding("escaped", "", judge(case).findings[0].where), seconds=30)
    assert len(found.model) < len(case.model) / 2 and not found.feeds
    (tmp_path / "found.json").write_text(found.text(kind="escaped"))
    monkeypatch.setattr("tests.programs.fuzz.__main__.limit_address_space", lambda gibibytes: None)
    assert main(["--replay", str(tmp_path / "found.json")]) == 1
    assert "Foreign: out" in capsys.readouterr().out


def test_no_file_stays_open():
    case = next(case for case in structured() if case.files)
    judge(case)
    before = open_files()
    for _ in range(5):
        judge(case)
    assert open_files() == before
