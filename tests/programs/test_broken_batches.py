"""``python -m tests.programs.broken_batches``, short: two faults, and what is found."""

import random

import numpy as np

from tests.programs import broken_batches
from tests.programs.broken_batches import FAULTS, Data, Tally, Trial


def test_killed_workers_and_programs(tmp_path):
    data = Data(tmp_path)
    for name in ("worker", "all"):
        tally = Tally(name)
        Trial(data, random.Random(3), tally, FAULTS[name]).run()
        assert not tally.problems
        assert tally.rows == sum(map(data.rows, data.expected))


def test_damage_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(broken_batches, "ROWS", 2)
    data, tally = Data(tmp_path), Tally("none")
    trial = Trial(data, random.Random(0), tally, lambda trial: None)
    trial.format = "npy"
    trial.out.mkdir()
    for name, expected in data.expected.items():
        np.save(trial.out / f"{name}.npy", expected)
    trial.check()
    assert not tally.problems
    np.save(trial.out / "0.npy", data.expected["0"][:-1])  # a row is lost
    np.save(trial.out / "1.npy", data.expected["1"][[0, 0, 2]])  # one is repeated, another lost
    (trial.out / "2.npy").write_bytes(b"cut off")
    (trial.out / "stray").touch()
    (trial.out / ".onnxwalk" / "work" / "left").mkdir(parents=True)
    trial.check()
    text = "\n".join(tally.problems)
    for part in ("0.npy", "1.npy", "2.npy", "stray doesn't belong", "left was left"):
        assert part in text
