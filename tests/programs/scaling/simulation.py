"""Many workers and one list of parts, event by event.

A worker that is free asks the scheduler for a part, which answers one worker at a time. It computes
the part, or dies in it: then the part goes back to the list, and another worker takes the place of
the dead one. What the machines are like is a ``Weather``, what work costs are ``Costs``.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from onnxwalk.interpreter.batches.sizes import rows_per_part


@dataclass(frozen=True)
class Costs:
    """What work costs on a machine of usual speed, in seconds."""

    row: float
    #: beside its rows: to open, to write, to rename, to note
    part: float
    #: of a worker, until it can compute its first row
    start: float
    #: of the scheduler, to hand out one part
    dispatch: float

    def rows_per_part(self, rows: int, workers: int) -> int:
        """What the rule says for a job that costs so much."""
        return rows_per_part(
            rows,
            workers,
            self.row,
            seconds_per_part=self.part,
            seconds_per_dispatch=self.dispatch,
        )


@dataclass(frozen=True)
class Weather:
    """How unequal and how unreliable the machines are."""

    name: str
    #: of the logarithm of the machines' speeds
    spread: float = 0.0
    #: the same for the parts of one machine
    jitter: float = 0.0
    #: this share of the machines is slower by a factor
    slow: float = 0.0
    slowdown: float = 1.0
    #: of one worker, in an hour
    failures: float = 0.0
    #: seconds until a dead worker is noticed
    notice: float = 0.0


_FREE, _DONE, _LOST = range(3)  # kinds of events

#: without faults; what a cluster is like; machines that may be taken away at any time
CALM = Weather("equal machines, no failures")
USUAL = Weather("usual cluster", 0.1, 0.1, 0.01, 3.0, 1 / 168, 10.0)
ROUGH = Weather("machines that come and go", 0.2, 0.2, 0.05, 4.0, 1 / 4, 30.0)
WEATHERS = (CALM, USUAL, ROUGH)


@dataclass(frozen=True)
class Outcome:
    """What came of it. Seconds; those of workers are summed over all of them, until the end."""

    seconds: float
    rows: int
    parts: int
    #: attempts that ended with the worker
    failures: int
    #: of workers: computing what counted, computing what was lost, starting, waiting for the
    #: scheduler, and with nothing to do
    computing: float
    lost: float
    starting: float
    asking: float
    idle: float

    @property
    def accounted(self) -> float:
        """All of the workers' seconds."""
        return self.computing + self.lost + self.starting + self.asking + self.idle


def simulate(
    rows: int, workers: int, size: int, costs: Costs, weather: Weather, seed: int
) -> Outcome:
    """``rows`` in parts of ``size`` rows, the last one with what is left."""
    return _Run(rows, workers, size, costs, weather, seed).outcome()


class _Run:
    def __init__(
        self, rows: int, workers: int, size: int, costs: Costs, weather: Weather, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        speeds = rng.lognormal(0.0, weather.spread, workers)
        speeds[rng.random(workers) < weather.slow] /= weather.slowdown
        self._factors = (1 / speeds).tolist()
        self._rng, self._costs, self._weather = rng, costs, weather
        self._rate = weather.failures / 3600
        self._sizes = [size] * (rows // size) + [rows % size] * bool(rows % size)
        self._waiting = deque(range(len(self._sizes)))  # parts
        self._done = [0] * len(self._sizes)
        self._events: list[tuple[float, int, int, int]] = []  # time, what, worker, part
        self._resting: dict[int, float] = {}  # workers without a part, since when
        self._scheduler_free = 0.0
        self._spent = dict.fromkeys(("computing", "lost", "starting", "asking", "idle"), 0.0)
        self._failures, self._end = 0, 0.0
        self._draws: deque[tuple[float, float]] = deque()
        self._starting: dict[int, float] = {}
        self._workers = workers

    def outcome(self) -> Outcome:
        for worker in range(self._workers):
            self._begin(worker, 0.0)
        handle = (self._is_free, self._is_done, self._is_lost)
        left = len(self._sizes)
        while left:
            time, what, worker, part = heapq.heappop(self._events)
            left -= what == _DONE
            handle[what](time, worker, part)
            self._end = time
        for since in self._resting.values():
            self._spent["idle"] += self._end - since
        for since in self._starting.values():  # those that aren't there yet, at the end
            self._spent["starting"] += self._end - since
        rows = sum(n * size for n, size in zip(self._done, self._sizes, strict=True))
        return Outcome(self._end, rows, len(self._sizes), self._failures, **self._spent)

    def _begin(self, worker: int, time: float) -> None:
        self._starting[worker] = time
        heapq.heappush(
            self._events, (time + self._costs.start * self._factors[worker], _FREE, worker, -1)
        )

    def _is_free(self, time: float, worker: int, _: int) -> None:
        if (since := self._starting.pop(worker, None)) is not None:
            self._spent["starting"] += time - since
        if self._waiting:
            self._take(worker, time)
        else:
            self._resting[worker] = time

    def _is_done(self, time: float, worker: int, part: int) -> None:
        self._done[part] += 1
        self._is_free(time, worker, part)

    def _is_lost(self, time: float, worker: int, part: int) -> None:
        """A dead worker is noticed: its part waits for another one, and a new worker starts."""
        self._failures += 1
        self._waiting.append(part)
        self._begin(worker, time)
        if self._resting:
            other, since = self._resting.popitem()
            self._spent["idle"] += time - since
            self._take(other, time)

    def _take(self, worker: int, time: float) -> None:
        part = self._waiting.popleft()
        begin = max(time, self._scheduler_free) + self._costs.dispatch
        self._scheduler_free = begin
        self._spent["asking"] += begin - time
        until_failure, jitter = self._draw()
        seconds = self._factors[worker] * jitter
        seconds *= self._costs.part + self._sizes[part] * self._costs.row
        if seconds < until_failure:
            self._spent["computing"] += seconds
            heapq.heappush(self._events, (begin + seconds, _DONE, worker, part))
        else:
            seconds = until_failure + self._weather.notice
            self._spent["lost"] += seconds
            heapq.heappush(self._events, (begin + seconds, _LOST, worker, part))

    def _draw(self) -> tuple[float, float]:
        """When this worker dies, from now, and how long its part takes. (Drawn for many at once:
        a generator's call takes longer than an event.)"""
        if not self._draws:
            life = self._rng.exponential(1 / self._rate, 4096) if self._rate else [math.inf] * 4096
            pace = self._rng.lognormal(0.0, self._weather.jitter, 4096)
            self._draws.extend(zip(np.asarray(life).tolist(), pace.tolist(), strict=True))
        return self._draws.popleft()
