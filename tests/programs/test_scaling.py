"""The simulation of many workers: what must hold of any, closed forms, and the rule."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnxwalk.batches import rows_per_part
from onnxwalk.interpreter.errors import InvalidInputError
from tests.programs.scaling.simulation import CALM, ROUGH, USUAL, Costs, Weather, simulate
from tests.programs.scaling.study import compare

COSTS = Costs(row=1e-3, part=0.01, start=2.0, dispatch=0.001)


@pytest.mark.parametrize("weather", [CALM, USUAL, ROUGH, replace(ROUGH, failures=40.0)])
@pytest.mark.parametrize(
    ("rows", "workers", "size"), [(10_007, 7, 100), (5, 9, 3), (30_000, 1, 999)]
)
def test_rows_and_seconds_are_conserved(weather, rows, workers, size):
    found = simulate(rows, workers, size, COSTS, weather, seed=1)
    assert found.rows == rows and found.parts == -(-rows // size)
    assert found.accounted == pytest.approx(workers * found.seconds)


def test_the_same_seed_gives_the_same():
    first, same, other = (simulate(9_000, 5, 100, COSTS, ROUGH, seed) for seed in (3, 3, 4))
    assert first == same and first != other


def test_equal_machines_need_what_can_be_computed():
    """Rounds of parts, each with its cost, after a start."""
    found = simulate(80_000, 4, 1_000, replace(COSTS, dispatch=0.0), CALM, 0)
    assert found.seconds == pytest.approx(2 + 20 * (0.01 + 1))


def test_a_scheduler_hands_out_one_part_at_a_time():
    costs = Costs(row=1e-6, part=0.0, start=0.0, dispatch=0.01)
    found = simulate(5_000, 100, 1, costs, CALM, 0)
    assert found.seconds == pytest.approx(5_000 * 0.01, rel=0.01)


def test_failures_cost_what_renewal_theory_says():
    """A part of T seconds on a worker that dies at a rate takes (e^(rate·T) - 1)(1/rate + R), where
    R are the seconds until the worker is there again."""
    rate, seconds, parts = 1 / 20, 10.0, 4_000
    costs = Costs(row=1.0, part=0.0, start=3.0, dispatch=0.0)
    weather = Weather("", failures=rate * 3600, notice=2.0)
    found = simulate(int(parts * seconds), 1, int(seconds), costs, weather, 0)
    expected = parts * (math.exp(rate * seconds) - 1) * (1 / rate + 5.0)
    assert found.seconds == pytest.approx(expected, rel=0.03)


def test_no_schedule_beats_the_work():
    found = simulate(100_000, 10, 500, COSTS, USUAL, 0)
    assert found.seconds * 10 * math.exp(0.5) > 100_000 * COSTS.row
    assert found.computing < 10 * found.seconds


@pytest.mark.parametrize(("workers", "work"), [(2, 20.0), (20, 60.0), (100, 10.0)])
def test_the_rule_is_as_good_as_any_other_size(workers, work):
    costs = Costs(row=1e-3, part=0.005, start=1.0, dispatch=0.001 if workers > 2 else 0.0)
    excess = compare(workers, work, costs, (CALM, USUAL)).excess
    assert max(excess.values()) < 0.1


def test_rows_per_part():
    assert rows_per_part(1, 8, 1e-3) == 1
    assert rows_per_part(100, 1000, 10.0) == 1
    sizes = [rows_per_part(10**9, 1000, 1e-3, seconds_per_dispatch=d) for d in (0, 1e-3, 1e-2)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]
    for rows, workers, seconds in np.random.default_rng(0).uniform(1, 1e6, (50, 3)).astype(int):
        size = rows_per_part(int(rows), int(workers), float(seconds) * 1e-9)
        assert 1 <= size <= rows


@pytest.mark.parametrize("odd", [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, math.nan)])
def test_rows_per_part_refuses(odd):
    with pytest.raises(InvalidInputError, match="at least one row and one worker"):
        rows_per_part(*odd)


def test_what_the_page_says_of_the_rule(capsys):
    page = (Path(__file__).parents[2] / "docs" / "CLUSTERS.md").read_text("utf-8")
    (code,) = re.findall(r"```python rule\n(.*?)```", page, re.S)
    exec(code, {})
    seconds = int(capsys.readouterr().out) * 1e-3
    assert f"parts of {seconds:.1f} seconds" in code
