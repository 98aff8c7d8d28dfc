"""How large parts should be, and how many of them there should be for each worker:

    python -m tests.programs.scaling [--assume | --figures FILE] [--no-real] [-o docs/PARTS.md]

Measures what rows, parts, starts and Dask's scheduler cost here (half a minute), simulates up to
1,000 workers with stragglers and failures (a minute), compares the rule of ``rows_per_part`` with
every other size, and runs the same job on two real workers beside its prediction. --assume takes
the costs that the rule has instead of measuring; --figures takes those of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from onnxwalk.interpreter.batches.sizes import (
    SECONDS_PER_DISPATCH,
    SECONDS_PER_PART,
)
from tests.programs.scaling import page
from tests.programs.scaling.measure import DEMO, Figures, Measured, measure, parts_of
from tests.programs.scaling.simulation import CALM, Costs, simulate
from tests.programs.scaling.study import FACTORS, compare_all, curve

_ROWS, _WORKERS = 1_000_000_000, 1_000
#: of the chart: a network of 2 GFLOP, 1 ms
_SECONDS_PER_ROW = 1e-3
#: of the real job: rows, and parts
_REAL_ROWS, _REAL_PARTS = 100_000, (8, 64)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--assume", action="store_true", help="measure nothing")
    parser.add_argument("--figures", type=Path, help="a file of measurements: read, or written")
    parser.add_argument("--no-real", action="store_true", help="run nothing on real workers")
    parser.add_argument("-o", "--output", type=Path, help="the page to write")
    args = parser.parse_args(argv)
    figures = _figures(args)
    for name, found in figures.models.items():
        print(f"{name}: {found.row * 1e6:.1f} µs a row, {found.part * 1e3:.2f} ms a part, ", end="")
        print(f"{found.start:.2f} s to start")
    dispatch = figures.dispatch or SECONDS_PER_DISPATCH
    print(f"dispatch: {dispatch * 1e3:.2f} ms", flush=True)
    start = float(np.mean([m.start for m in figures.models.values()]))
    costs = Costs(_SECONDS_PER_ROW, SECONDS_PER_PART, start, SECONDS_PER_DISPATCH)
    drawn = _curve(costs)
    jobs = compare_all(replace(costs, row=1e-4))
    for job in jobs:
        print(
            f"{job.workers} workers, {job.work:g} s: parts of {job.work / job.parts_each:.2f} s, "
        )
        for name, (rule, best, factor) in job.found.items():
            print(f"  {name}: {rule:.3f}, the best {best:.3f} with {factor:g} times the size")
    real = "Not run." if args.assume or args.no_real else _real(figures)
    print(real)
    if args.output:
        page.write(args.output, figures, SECONDS_PER_DISPATCH, drawn, jobs, len(FACTORS), real)
    return int(max(max(job.excess.values()) for job in jobs) > 0.1)


def _figures(args: argparse.Namespace) -> Figures:
    if args.assume:
        assumed = Measured(_SECONDS_PER_ROW, SECONDS_PER_PART, 1.0)
        return Figures({"assumed": assumed}, SECONDS_PER_DISPATCH)
    if args.figures and args.figures.exists():
        return Figures.from_dict(json.loads(args.figures.read_text("utf-8")))
    figures = measure()
    if args.figures:
        args.figures.write_text(json.dumps(figures.as_dict(), indent=1), encoding="utf-8")
    return figures


def _curve(costs: Costs) -> tuple[dict[str, Any], list[float], dict[str, list[float]]]:
    size = costs.rows_per_part(_ROWS, _WORKERS)
    seconds = np.geomspace(0.4, 1000, 16)
    sizes = [min(_ROWS // _WORKERS, round(s / costs.row)) for s in seconds]
    sizes = sorted({round(_ROWS / _WORKERS / max(1, _ROWS // _WORKERS // s)) for s in sizes})
    facts = {
        "rows": _ROWS,
        "workers": _WORKERS,
        "milliseconds": costs.row * 1e3,
        "work": _ROWS * costs.row / _WORKERS,
        "rule": size * costs.row,
        "each": _ROWS / _WORKERS / size,
    }
    series = curve(_ROWS, _WORKERS, costs, sizes)
    return facts, [s * costs.row for s in sizes], series


def _real(figures: Figures) -> str:
    """Two workers of Dask on this machine, in few and in many parts, beside the simulation."""
    from onnxwalk.interpreter.batches.parts import Parts
    from onnxwalk.interpreter.dask.parts import DaskPool

    found = figures.models["digits"]
    costs = Costs(found.row, found.part, 0.0, figures.dispatch or SECONDS_PER_DISPATCH)
    lines = [
        f"{_REAL_ROWS:,} rows through the digits model, two workers of a local Dask cluster, which "
        "are there already:",
        "",
        "| parts | predicted | seen |",
        "|---:|---:|---:|",
    ]
    with TemporaryDirectory(prefix="onnxwalk-scaling-") as name:
        options = {"load": {"threads": 1}, "resume": False}
        warm = parts_of("digits", 8_192, 1_024, _folder(name, "warm"))
        for number in _REAL_PARTS:
            size = _REAL_ROWS // number
            files = parts_of("digits", _REAL_ROWS, size, _folder(name, f"parts{number}"))
            out = _folder(name, str(number))
            parts = Parts.of(DEMO / "digits.onnx", [*warm, *files], out, options)
            with DaskPool(parts, "local", 2) as pool:
                list(pool.run([*map(str, warm)]))
                begun = time.perf_counter()
                rows = sum(getattr(part, "rows", 0) for part in pool.run([*map(str, files)]))
                seen = time.perf_counter() - begun
            if rows != _REAL_ROWS:
                raise AssertionError(f"{rows} rows instead of {_REAL_ROWS}")
            expected = simulate(_REAL_ROWS, 2, size, costs, CALM, 0).seconds
            lines.append(f"| {number} | {expected:.2f} s | {seen:.2f} s |")
    return "\n".join(lines)


def _folder(parent: str, name: str) -> Path:
    folder = Path(parent) / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
