"""What was measured, as a page of the docs: the goals, the groups, every model, and a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from onnxwalk.interpreter.cli import _plot
from onnxwalk.interpreter.cli._engines import OURS
from onnxwalk.interpreter.cli._show import duration

ORT = "onnxruntime"
#: the other engines
_TITLES = {"reference": "ReferenceEvaluator", "keras": "Keras predict", "tract": "tract"}
_LEAST = 1e6  # bytes: below that, what a process happens to hold decides, not the engine

Row = Mapping[str, Any]


def write(folder: Path, about: Mapping[str, Any], name: str) -> None:
    """NAME.md in capitals and NAME.svg in the folder."""
    rows = about["results"]
    growth = name == "growth"
    text = _growth(about, name) if growth else _suite(about, name)
    (folder / f"{name.upper()}.md").write_text(text)
    labels, groups = [], []
    shown = _by_model(rows)
    for (group, model, size), _ in shown:
        labels.append(_label(group, model, size))
        groups.append(group)
    threads = _threads(rows)
    series = {
        f"ONNX Runtime, {threads_text(n)}": [_ratio(found.get(n)) for _, found in shown]
        for n in threads
    }
    for other, title in _TITLES.items():
        values = [_ratio(found.get(threads[0]), other) for _, found in shown] if threads else []
        if any(value is not None for value in values):
            series[f"{title}, {threads_text(threads[0])}"] = values
    rules = [i for i in range(1, len(groups)) if groups[i] != groups[i - 1]]
    _plot.draw(folder / f"{name}.svg", _machine(about), labels, series, rules)


def _suite(about: Mapping[str, Any], name: str) -> str:
    rows = about["results"]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            *_head(about, "python -m tests.programs.benchmarks"),
            "",
            "## Goals",
            "",
            *_table(["", "goal", "measured", ""], _goals(rows)),
            "",
            "## Groups",
            "",
            "Geometric means of onnxwalk's time over ONNX Runtime's.",
            "",
            *_groups(rows),
            "",
            "## Models",
            "",
            *_models(rows),
            "",
            f"![Ratios of all models]({name}.svg)",
            "",
            *_hooks(rows),
            *_failures(rows),
        ]
    )


def _head(about: Mapping[str, Any], command: str) -> list[str]:
    runs = about.get("runs", 1)
    several = (
        f" --from …`, out of {runs} runs on one machine, one after the other" if runs > 1 else "`"
    )
    return [
        f"Written by `{command}{several}. {_machine(about)}.",
        "",
        "Times are the best of many runs, the engines in turn in one process (one thread) or in",
        "phases with pauses (several), float32. Ratios are onnxwalk's time over the other's: below",
        "1, onnxwalk is faster. *load*, *load + run*: of a file in the page cache, until the",
        "first output, with the operators that are imported for it, from bytecode files, as an",
        "installed package has them; *process*: from a new process to its first output. *memory*:",
        "the peak of a process during the runs, the first included, beyond what it held before it",
        "loaded the model and beyond the weights in the file; less than 1 MB counts as that.",
    ]


def _machine(about: Mapping[str, Any]) -> str:
    host = about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    blas = f"{kernels}; " if (kernels := host.get("blas")) else ""
    return f"{host['processor']}, {host['cores']} cores, {host['system']}; {blas}{versions}"


class _Goal(NamedTuple):
    """The geometric mean of some models' ratios, or the worst of them, is to be at most ``one``
    with one thread and ``several`` with more (``None``: no goal)."""

    what: str
    one: float
    several: float | None
    chosen: Callable[[Row], bool]
    is_worst: bool = False
    engine: str = ORT


def _of(group: str, *sizes: int, named: str = "") -> Callable[[Row], bool]:
    """Whether a row is of a group (that begins so), one of these sizes, and so named."""

    def chosen(row: Row) -> bool:
        fits = row["group"].startswith(group) and (not sizes or row["size"] in sizes)
        return fits and named in row["name"]

    return chosen


def _recurrent_loops(row: Row) -> bool:
    return _of("loops", 32, 256)(row) and "nodes" not in row["name"]


def _any_model(row: Row) -> bool:
    return row["group"] != "operators"


_GOALS = (
    _Goal("assignment's families", 0.6, 1.3, _of("assignment")),
    _Goal("the same, batch 1", 1.5, None, _of("assignment", 1)),
    _Goal("16 bits", 1.1, None, _of("16 bits")),
    _Goal("16 bits, the worst", 1.8, None, _of("16 bits"), True),
    _Goal("8 bits, QDQ", 2.8, None, _of("8 bits", named="QDQ")),
    _Goal("8 bits, QOperator", 0.7, None, _of("8 bits", named="QOperator")),
    _Goal("8 bits, dynamic", 3.0, None, _of("8 bits", named="dynamic")),
    _Goal("8 bits", 1.6, None, _of("8 bits")),
    _Goal("8 bits, the worst", 4.5, None, _of("8 bits"), True),
    _Goal("int4, one token", 1.8, None, _of("int4", named=" 1 tokens")),
    _Goal("int4, 128 tokens", 1.1, None, _of("int4", named="128")),
    _Goal("fused, the worst", 1.2, None, _of("fused"), True),
    _Goal(
        "Loops of recurrent layers, batch 32 and 256, the worst", 0.4, None, _recurrent_loops, True
    ),
    _Goal("other Loops and Scans, the worst", 1.3, None, _of("loops", named="nodes"), True),
    _Goal("trees, batch 1", 1.1, None, _of("trees", 1)),
    _Goal("trees, batch 8", 1.2, None, _of("trees", 8)),
    _Goal("trees, batch 256", 0.45, None, _of("trees", 256)),
    _Goal("trees, batch 10,000", 0.45, None, _of("trees", 10_000)),
    _Goal("chain of 10,000 nodes", 1.0, None, _of("chain")),
    _Goal("keras.applications", 1.3, 1.6, _of("keras.applications")),
    _Goal("keras.applications, the worst", 1.8, None, _of("keras.applications"), True),
    _Goal("all of the suite", 1.15, 1.6, lambda row: True),
    _Goal("any single model", 3.0, 4.0, _any_model, True),
    _Goal("Keras predict, the worst", 1.0, None, lambda row: True, True, "keras"),
    _Goal("tract", 0.45, None, lambda row: True, False, "tract"),
    _Goal("tract, the worst", 1.0, None, lambda row: True, True, "tract"),
)


def _goals(rows: Sequence[Row]) -> list[list[str]]:
    """Each goal, what was measured, and whether that meets it."""
    goals: list[list[str]] = []

    def add(what: str, goal: float, value: float | None, more: str = "") -> None:
        if value is not None:
            met = "met" if value <= goal else "**missed**"
            goals.append([what, f"≤ {goal:g}", f"{value:.2f}{more}", met])

    for threads in _threads(rows):
        for what, one, several, chosen, is_worst, engine in _GOALS:
            goal = several if threads > 1 else one
            found = [r for r in rows if r["threads"] == threads and chosen(r)]
            found = [r for r in found if _ratio(r, engine) is not None]
            if goal is None or not found:
                continue
            more, value = "", _mean(_ratio(r, engine) for r in found)
            if is_worst:
                worst = max(found, key=lambda row: _ratio(row, engine) or 0)
                more = f" ({_label(worst['group'], worst['name'], worst['size'])})"
                value = _ratio(worst, engine)
            add(f"{what}, {threads_text(threads)}", goal, value, more)
    one = [row for row in rows if row["threads"] == min(_threads(rows))]
    models = [row for row in one if row["group"] != "operators"]
    smallest: dict[tuple[str, str], Row] = {}
    for row in sorted(models, key=lambda row: row["size"]):
        smallest.setdefault((row["group"], row["name"]), row)
    first = smallest.values()
    add("load", 0.6, _mean(_start(row, "load") for row in first))
    add("load + first run", 1.0, _mean(_start(row, "load", "first") for row in first))
    process = [_start(r, "process") for r in one if r["group"] == "assignment"]
    add("new process to first output, assignment's models", 1.0, _mean(process))
    add("memory beyond the weights", 1.1, _mean(map(_memory, models)))
    return goals


def _groups(rows: Sequence[Row]) -> list[str]:
    threads = _threads(rows)
    lines = []
    for group in dict.fromkeys(row["group"] for row in rows):
        cells = [group]
        for n in threads:
            of = [r for r in rows if (r["group"], r["threads"]) == (group, n)]
            cells.append(_text(_mean(map(_ratio, of))))
        lines.append(cells)
    everything = [_mean(_ratio(r) for r in rows if r["threads"] == n) for n in threads]
    lines.append(["all", *map(_text, everything)])
    return _table(["", *map(threads_text, threads)], lines)


def _models(rows: Sequence[Row]) -> list[str]:
    threads = _threads(rows)
    others = [n for n in _TITLES if any(n in row["engines"] for row in rows)]
    heads = ["", "onnxwalk", "ONNX Runtime"]
    heads += [f"ratio, {threads_text(n)}" for n in threads]
    heads += [_TITLES[name] for name in others]
    heads += ["load", "load + run", "process", "memory", "difference"]
    lines = []
    for (group, name, size), found in _by_model(rows):
        row = found[min(found)]
        engines = row["engines"]
        cells = [_label(group, name, size)]
        cells += [duration(engines.get(engine, {}).get("best")) for engine in (OURS, ORT)]
        cells += [_text(_ratio(found.get(n))) for n in threads]
        cells += [_text(_ratio(row, other)) for other in others]
        starts = (_start(row, "load"), _start(row, "load", "first"), _start(row, "process"))
        cells += [_text(value) for value in (*starts, _memory(row))]
        apart = engines.get(ORT, {}).get("difference")
        cells.append("–" if apart is None else f"{apart:.0e}")
        lines.append(cells)
    return _table(heads, lines)


def _growth(about: Mapping[str, Any], name: str) -> str:
    """One table for each way to grow: the ratio at each size."""
    rows = about["results"]
    parts = [
        "# Cost as work grows",
        "",
        *_head(about, "python -m tests.programs.benchmarks --growth"),
        "",
    ]
    for group in dict.fromkeys(row["group"] for row in rows):
        of = [row for row in rows if row["group"] == group]
        nodes = "nodes" in group
        lines = []
        for row in of:
            engines = row["engines"]
            lines.append(
                [
                    row["name"] if nodes else f"{row['name']}, {row['size']}",
                    str(row["threads"]),
                    *(duration(engines.get(engine, {}).get("best")) for engine in (OURS, ORT)),
                    _text(_ratio(row)),
                    _text(_start(row, "load")),
                    _text(_memory(row)),
                ]
            )
        heads = ["", "threads", "onnxwalk", "ONNX Runtime", "ratio", "load", "memory"]
        parts += [
            f"## {group.removeprefix('growth: ').capitalize()}",
            "",
            *_table(heads, lines),
            "",
        ]
    return "\n".join([*parts, f"![Ratios]({name}.svg)", "", *_failures(rows)])


def _hooks(rows: Sequence[Row]) -> list[str]:
    """What tracing, profiling and limits cost those who don't use them."""
    lines = [
        [
            _label(row["group"], row["name"], row["size"]),
            duration(found["floor"]),
            duration(found["run"]),
            f"{found['beyond_floor']:.3f}",
            *(f"{found[key]:.3f}" for key in ("after_hooks", "limited", "timed")),
        ]
        for row in rows
        if (found := row.get("hooks"))
    ]
    if not lines:
        return []
    return [
        "## Hooks that nobody uses, and limits",
        "",
        "*calls*: the bare list of NumPy calls that a run consists of, at batch 1, one thread.",
        "*run / calls*: what a run of the session takes beside them. *after / before*: runs of a",
        "session after it was traced and profiled beside those before. *limits*: runs with those",
        "that are there by default, and with `max_seconds` too, beside runs without any. All are",
        "medians of the ratios of runs that follow each other. With thousands of tiny nodes, where",
        "a session's calls lie in memory moves a ratio by a quarter, either way.",
        "",
        *_table(
            ["", "calls", "run", "run / calls", "after / before", "limits", "with time"], lines
        ),
        "",
    ]


def _failures(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        label = f"{_label(row['group'], row['name'], row['size'])}, {threads_text(row['threads'])}"
        for engine, found in row["engines"].items():
            if "error" in found:
                lines.append(f"- {label}: {engine} failed: {found['error']}")
            elif not found.get("agrees", True):
                lines.append(f"- {label}: {engine} differs by {found['difference']:.1e}")
    return ["## What failed or differs", "", *lines, ""] if lines else []


def _by_model(rows: Sequence[Row]) -> list[tuple[tuple[str, str, int], dict[int, Row]]]:
    """The rows of each model and size, by the number of threads."""
    found: dict[tuple[str, str, int], dict[int, Row]] = {}
    for row in rows:
        key = (row["group"], row["name"], row["size"])
        found.setdefault(key, {})[row["threads"]] = row
    return list(found.items())


def _threads(rows: Sequence[Row]) -> list[int]:
    return sorted({row["threads"] for row in rows}) or [1]


def threads_text(threads: int) -> str:
    """ "1 thread", "2 threads"."""
    return f"{threads} thread{'s'[: threads != 1]}"


def _label(group: str, name: str, size: int) -> str:
    many = group.startswith(("assignment", "growth: batch", "loops", "trees"))
    of = f", {size}" if many or group.startswith(("growth: image", "growth: seq")) else ""
    return f"{name}{of}"


def _ratio(row: Row | None, engine: str = ORT) -> float | None:
    return None if row is None else row["engines"].get(engine, {}).get("ratio")


def _start(row: Row, *parts: str) -> float | None:
    """Our seconds of these parts over ONNX Runtime's."""
    pair = [row["engines"].get(engine, {}) for engine in (OURS, ORT)]
    if not all(part in found for found in pair for part in parts):
        return None
    ours, theirs = (sum(found[part] for part in parts) for found in pair)
    return ours / theirs


def _memory(row: Row) -> float | None:
    pair = [row["engines"].get(engine, {}).get("memory") for engine in (OURS, ORT)]
    if None in pair:
        return None
    ours, theirs = (max(value, _LEAST) for value in pair)
    return ours / theirs


def _mean(values: Iterable[float | None]) -> float | None:
    """The geometric mean of what there is."""
    logs = [math.log(value) for value in values if value]
    return math.exp(sum(logs) / len(logs)) if logs else None


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; all but the first column hold numbers."""
    rule = "|---|" + "---:|" * (len(heads) - 1)
    body = [f"| {' | '.join(cells)} |" for cells in lines]
    return [f"| {' | '.join(heads)} |", rule, *body]
