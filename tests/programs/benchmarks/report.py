"""What was measured, as a page of the docs: the goals, the groups, every model, and a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli import _plot
from onnxwalk.interpreter.cli._engines import OURS
from onnxwalk.interpreter.cli._show import duration

ORT = "onnxruntime"
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
    for other, title in (("reference", "ReferenceEvaluator"), ("keras", "Keras predict")):
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
        "first output; *process*: from a new process to its first output. *memory*: the peak of",
        "a process during the runs, the first included, beyond what it held before it loaded the",
        "model and beyond the weights in the file; less than 1 MB counts as that.",
    ]


def _machine(about: Mapping[str, Any]) -> str:
    host = about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{host['processor']}, {host['cores']} cores, {host['system']}; {versions}"


def _goals(rows: Sequence[Row]) -> list[list[str]]:
    """Each goal, what was measured, and whether that meets it."""
    goals: list[list[str]] = []

    def add(what: str, goal: float, value: float | None, more: str = "") -> None:
        if value is not None:
            met = "met" if value <= goal else "**missed**"
            goals.append([what, f"≤ {goal:g}", f"{value:.2f}{more}", met])

    for threads in _threads(rows):
        of = [row for row in rows if row["threads"] == threads]
        two = threads > 1
        text = threads_text(threads)
        families = [row for row in of if row["group"].startswith("assignment")]
        final = [row for row in of if row["group"] == "assignment"]
        add(f"assignment's final models, {text}", 1.3 if two else 1.0, _mean(map(_ratio, final)))
        add(f"assignment's families, {text}", 1.3 if two else 1.0, _mean(map(_ratio, families)))
        add(f"all of the suite, {text}", 1.8 if two else 1.3, _mean(map(_ratio, of)))
        models = [row for row in of if row["group"] != "operators" and _ratio(row) is not None]
        if models:
            worst = max(models, key=lambda row: _ratio(row) or 0)
            label = _label(worst["group"], worst["name"], worst["size"])
            more = f" ({label})"
            add(f"any single model, {text}", 4.0 if two else 3.0, _ratio(worst), more)
    one = [row for row in rows if row["threads"] == min(_threads(rows))]
    slower = _mean(_ratio(row, "reference") for row in one)
    if slower is not None:
        goals.append(
            [
                "ReferenceEvaluator's time over ours",
                "≥ 50",
                f"{1 / slower:.1f}",
                "met" if slower <= 1 / 50 else "**missed**",
            ]
        )
    keras = [value for row in one if (value := _ratio(row, "keras")) is not None]
    add("Keras predict, the worst", 1.0, max(keras, default=None))
    models = [row for row in one if row["group"] != "operators"]
    first = [row for row in models if row["size"] == 1]
    add("load", 0.5, _mean(_start(row, "load") for row in first))
    add("load + first run", 1.0, _mean(_start(row, "load", "first") for row in first))
    process = [
        _start(r, "process") for r in one if (r["group"], r["name"]) == ("assignment", "cnn")
    ]
    add("new process to first output, assignment's CNN", 1.0, _mean(process))
    add("chain of 10,000 nodes", 1.0, _mean(_ratio(r) for r in one if r["group"] == "chain"))
    add("memory beyond the weights", 1.25, _mean(map(_memory, models)))
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
    others = [n for n in ("reference", "keras") if any(n in row["engines"] for row in rows)]
    heads = ["", "onnxwalk", "ONNX Runtime"]
    heads += [f"ratio, {threads_text(n)}" for n in threads]
    heads += [{"reference": "ReferenceEvaluator", "keras": "Keras"}[name] for name in others]
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
    many = group.startswith(("assignment", "growth: batch"))
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
