"""The page and the chart of what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _plot
from tests.programs.scaling.measure import Figures
from tests.programs.scaling.simulation import WEATHERS, Weather
from tests.programs.scaling.study import Compared

_PAGE = """\
# How many rows in a part

Written by `python -m tests.programs.scaling -o docs/PARTS.md`: a simulation of up to 1,000 workers,
event by event, with costs that were measured on the machine that wrote this page. Its rule is
`rows_per_part` in `interpreter/batches/sizes.py`.

Small parts cost time each. Of large ones, too few are left at the end: most workers wait for the
slowest. And a worker that dies loses half a part on average.

![Time over that of the work alone, by seconds of work in a part](parts.svg)

The chart is of {rows:,} rows of {milliseconds:g} ms on {workers:,} workers, {work:,.0f} seconds
of work for each. A scheduler that needs {dispatch:.1f} ms for a part keeps them busy only if a
part takes {floor:.1f} s or more: to the left of that, time grows with the number of parts. The rule
takes parts of {rule:.1f} s, {each:.0f} for each worker.

## What was measured

| model | a row | a part beside its rows | start of a worker |
|---|---:|---:|---:|
{costs}

Dask's scheduler, for each part: {measured_dispatch}.

## What was assumed

σ: the standard deviation of the logarithm of the machines' speeds, and of the times of equal parts
on one machine.

| weather | σ of speeds | of parts | slow machines | a worker fails | noticed after |
|---|---:|---:|---|---|---:|
{weathers}

## The rule against the best of {sizes} sizes

Time over that of the work alone (of equal machines without any cost): of the rule / of the best
size.

| workers | seconds of work each | seconds in a part | parts each | {names} |
|---:|---:|---:|---:|{dashes}
{jobs}

At most the rule takes {worst:.0%} longer than the best size.

## A prediction and the real thing

{real}
"""


def write(
    path: Path,
    figures: Figures,
    dispatch: float,
    curve: tuple[dict[str, Any], Sequence[float], Mapping[str, Sequence[float]]],
    jobs: Sequence[Compared],
    sizes: int,
    real: str,
) -> None:
    """The page, and ``parts.svg`` beside it."""
    facts, seconds, series = curve
    draw(path.with_name("parts.svg"), seconds, series, facts["rule"])
    text = _PAGE.format(
        **facts,
        dispatch=dispatch * 1e3,
        floor=dispatch * facts["workers"],
        costs="\n".join(
            f"| {name} | {m.row * 1e6:.0f} µs | {m.part * 1e3:.1f} ms | {m.start:.1f} s |"
            for name, m in figures.models.items()
        ),
        measured_dispatch="not measured; 1 ms is assumed"
        if figures.dispatch is None
        else f"{figures.dispatch * 1e3:.2f} ms",
        weathers="\n".join(map(_weather, WEATHERS)),
        sizes=sizes,
        names=" | ".join(weather.name for weather in WEATHERS),
        dashes="---:|" * len(WEATHERS),
        jobs="\n".join(map(_job, jobs)),
        worst=max(max(job.excess.values()) for job in jobs),
        real=real,
    )
    path.write_text(text, encoding="utf-8")


def _weather(weather: Weather) -> str:
    slow = f"{weather.slow:.0%}, {weather.slowdown:g} times" if weather.slow else "none"
    failures = f"every {1 / weather.failures:,.0f} hours" if weather.failures else "never"
    return (
        f"| {weather.name} | {weather.spread:g} | {weather.jitter:g} | {slow} | {failures} | "
        f"{weather.notice:g} s |"
    )


def _job(job: Compared) -> str:
    found = " | ".join(f"{rule:.2f} / {best:.2f}" for rule, best, _ in job.found.values())
    seconds = job.work / job.parts_each
    return f"| {job.workers:,} | {job.work:,.0f} | {seconds:.2f} | {job.parts_each:.0f} | {found} |"


def draw(
    path: Path, seconds: Sequence[float], series: Mapping[str, Sequence[float]], rule: float
) -> None:
    """Times over seconds of work in a part, both logarithmic."""

    def paint(figure: Any) -> None:
        axes = _plot.plain_axes(figure, "Time over that of the work alone")
        for i, (name, values) in enumerate(series.items()):
            axes.plot(seconds, values, **_plot.mark(i, size=5), linewidth=1.5, label=name)
        axes.axvline(rule, color=_plot.INK, linewidth=1, linestyle=":", label="the rule")
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = [t for t in (1, 1.2, 1.5, 2, 3, 5, 10, 20) if t <= np.max([*series.values()])]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
        axes.set_xlabel("seconds of work in a part", loc="right")
        _plot.legend(figure)

    _plot.save(path, paint, 560, 330)
