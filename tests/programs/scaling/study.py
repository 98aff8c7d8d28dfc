"""The rule's part size against all others, for jobs and clusters of many kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.programs.scaling.simulation import WEATHERS, Costs, Weather, simulate

#: sizes that are tried, as multiples of the rule's
FACTORS = (0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
#: (workers, seconds of work for each of them)
JOBS = ((2, 10.0), (2, 1e3), (30, 10.0), (30, 1e3), (30, 1e4), (1000, 10.0), (1000, 1e3))
#: more parts than these are left out: an event takes three microseconds
_MOST_PARTS = 200_000
_SEEDS = 4


@dataclass(frozen=True)
class Compared:
    """A job: the rule's size, and seconds over those of work alone, by weather."""

    workers: int
    rows: int
    work: float
    size: int
    #: (of the rule, of the best size, this size over the rule's)
    found: dict[str, tuple[float, float, float]]

    @property
    def parts_each(self) -> float:
        return self.rows / self.workers / self.size

    @property
    def excess(self) -> dict[str, float]:
        """How much longer the rule takes than the best size, as a share."""
        return {name: rule / best - 1 for name, (rule, best, _) in self.found.items()}


def compare(workers: int, work: float, costs: Costs, weathers: Sequence[Weather]) -> Compared:
    """A job of so many seconds of work for each worker."""
    rows = round(work * workers / costs.row)
    size = costs.rows_per_part(rows, workers)
    sizes = sorted({min(rows, max(1, round(size * factor))) for factor in FACTORS})
    sizes = [s for s in sizes if rows / s <= _MOST_PARTS or s == size]
    found = {}
    for weather in weathers:
        times = {s: mean_ratio(rows, workers, s, costs, weather) for s in sizes}
        best = min(times, key=times.__getitem__)
        found[weather.name] = times[size], times[best], best / size
    return Compared(workers, rows, work, size, found)


def mean_ratio(rows: int, workers: int, size: int, costs: Costs, weather: Weather) -> float:
    """Seconds until all is done, over those of the rows' work on equal machines; the mean of
    several runs, always with the same seeds."""
    ideal = rows * costs.row / workers
    seeds = range(_SEEDS if rows / size < _MOST_PARTS / 4 else 1)
    return float(
        np.mean([simulate(rows, workers, size, costs, weather, s).seconds for s in seeds]) / ideal
    )


def compare_all(costs: Costs) -> list[Compared]:
    """All jobs in all weathers; one machine has no scheduler in a network."""
    return [
        compare(
            workers,
            work,
            Costs(costs.row, costs.part, costs.start, costs.dispatch if workers > 2 else 0.0),
            WEATHERS,
        )
        for workers, work in JOBS
    ]


def curve(rows: int, workers: int, costs: Costs, sizes: Sequence[int]) -> dict[str, list[float]]:
    """Seconds over those of work alone, for each size, by weather."""
    return {
        weather.name: [mean_ratio(rows, workers, size, costs, weather) for size in sizes]
        for weather in WEATHERS
    }
