"""This checkout against another one, on the models of the suite, run by run in turn:

    python -m tests.programs.benchmarks.paired OTHER [--only NAME …] [--sizes N,…] [--seconds S]

OTHER is the folder of another checkout of onnxwalk, an earlier build say; it is run by the same
Python. Each model is loaded by a process of either build, and these run for a tenth of the seconds
in turn, so that what disturbs the machine disturbs both. Printed is the time of this checkout over
the other's, of the fastest runs, and the geometric mean over all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.interpreter.cli._engines import blas_environment
from onnxwalk.interpreter.cli.bench import parse_integers
from tests.programs.benchmarks.__main__ import choose, default_cache
from tests.programs.benchmarks.suite import entries

ROOT = Path(__file__).resolve().parents[3]

#: loads a model and answers each line, a number of seconds, with the nanoseconds of its runs
WORKER = """
import json, pickle, sys, time
try:
    from onnxwalk import load
except ImportError:
    from interpreter import load  # before version 0.2
session = load(sys.argv[1])
with open(sys.argv[2], "rb") as file:
    feeds = pickle.load(file)
for _ in range(3):
    session.run(None, feeds)
print("ready", flush=True)
for line in sys.stdin:
    times, end = [], time.perf_counter_ns() + float(line) * 1e9
    while not times or time.perf_counter_ns() < end:
        begun = time.perf_counter_ns()
        session.run(None, feeds)
        times.append(time.perf_counter_ns() - begun)
    print(json.dumps([min(times), sorted(times)[len(times) // 2]]), flush=True)
"""
TURNS = 10


class Build:
    """A process of one checkout that has loaded a model."""

    def __init__(self, checkout: Path, model: Path, feeds: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(model), str(feeds)],
            cwd=checkout,
            env={**os.environ, **blas_environment(1), "PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def run(self, seconds: float) -> list[int]:
        """The fastest run, and the median, in nanoseconds."""
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)
        found: list[int] = json.loads(self._read())
        return found

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with status {self._process.wait()}")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def ratios(model: Path, feeds: dict[str, Any], other: Path, seconds: float) -> tuple[float, float]:
    """The time of this checkout over the other's: of the fastest runs, and of the medians."""
    import pickle

    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        pickle.dump(feeds, file)
        file.flush()
        builds = [Build(checkout, model, Path(file.name)) for checkout in (ROOT, other)]
        try:
            turns = [[b.run(seconds / TURNS) for b in builds] for _ in range(TURNS)]
        finally:
            for build in builds:
                build.close()
    best = [min(turn[which][0] for turn in turns) for which in (0, 1)]
    medians = [float(np.median([turn[which][1] for turn in turns])) for which in (0, 1)]
    return best[0] / best[1], medians[0] / medians[1]


def mean(values: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.benchmarks.paired",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("other", type=Path, help="the folder of the other checkout")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--sizes", type=parse_integers, metavar="N,…")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each build's runs")
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR")
    args = parser.parse_args()
    found = []
    for entry in choose(entries(), args.only):
        model = entry.file(args.cache)
        session = onnxwalk.load(model)
        for size in entry.sizes:
            if args.sizes and len(entry.sizes) > 1 and size not in args.sizes:
                continue
            feeds = entry.feeds(session, size)
            found.append(ratios(model, feeds, args.other.resolve(), args.seconds))
            best, median = found[-1]
            print(f"{entry.group}/{entry.name} ×{size}: {best:.3f} (medians {median:.3f})")
            sys.stdout.flush()
    best, medians = zip(*found, strict=True)
    print(f"{len(found)} measurements: {mean(best):.3f} (medians {mean(medians):.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
