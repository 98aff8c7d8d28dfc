"""The report of ``compare`` as text, and as a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.analysis.compare.layers import usual_orders
from onnxwalk.interpreter.cli import _plot, _show

#: the columns of numbers: errors, the ratio of signal and noise in dB, the elements beyond the
#: tolerance
_FIGURES = ("relative", "absolute", "mean", "SQNR", "beyond")
#: the most names that a line lists, and values that a plot shows
_MOST_NAMES = 4
_MOST_DRAWN = 60


def show(report: dict[str, Any], top: int) -> None:
    """Print the report of a comparison, with the ``top`` largest errors."""
    values, shown = report["values"], report["compared"][:top]
    _show.line(f"a: {report['a']}, {_show.count(values['a'], 'value')}")
    _show.line(f"b: {report['b']}, {_show.count(values['b'], 'value')}")
    _show.line(
        f"{values['compared']:,} compared on {_show.count(len(report['samples']), 'sample')}: "
        + ", ".join(report["samples"])
    )
    _show_skipped(report["not_compared"])
    if report["first"]:
        _show_first(report["first"])
    _show.heading(f"the largest relative errors, {len(shown)} of {values['compared']:,}")
    by_layer = any(row["layer"] for row in shown)
    columns = ["value", *(["layer"] if by_layer else []), "operator"]
    columns += [*_FIGURES, "type", "sample", ""]
    _show.table(
        columns,
        [
            [
                row["value"],
                *([row["layer"] or ""] if by_layer else []),
                row["operator"] or "",
                *_figures(row),
                _types(row),
                row["sample"],
                _remark(row),
            ]
            for row in shown
        ],
        right=_FIGURES,
        indent=2,
    )
    _show_weight_rows(report["weights"][:top], len(report["weights"]))
    _show.line()
    _show.line(
        "equal within the tolerance"
        if report["equal"]
        else f"{report['differing']:,} of {values['compared']:,} values differ"
    )


def _figures(row: dict[str, Any]) -> list[str]:
    sqnr = row["sqnr"]
    return [
        *(_show.error_size(row[key]) for key in ("relative", "absolute")),
        "" if row["mean"] is None else _show.error_size(row["mean"]),
        "" if sqnr is None or sqnr == math.inf else f"{sqnr:.1f}",
        _share(row["share"]),
    ]


def _share(share: float | None) -> str:
    """A share in percent that is never rounded to 0 or to 100."""
    if not share:
        return ""
    return "100%" if share == 1 else f"{min(max(share, 0.0001), 0.9999):.2%}"


def _remark(row: dict[str, Any]) -> str:
    parts = [] if row["equal"] else [f"DIFFERENT {row['reason'] or ''}".rstrip()]
    if row["axes"] and tuple(row["axes"]) not in usual_orders(len(row["axes"])):
        parts.append(f"axes {tuple(row['axes'])}")
    return ", ".join(parts)


def _show_skipped(skipped: Sequence[dict[str, Any]]) -> None:
    """A line for each side and reason, with the first names."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in skipped:
        groups.setdefault((each["side"], each["reason"]), []).append(each["value"])
    for (side, reason), names in groups.items():
        listed = ", ".join(names[:_MOST_NAMES]) + ", …" * (len(names) > _MOST_NAMES)
        _show.line(
            f"not compared: {_show.count(len(names), 'value')} of {side} ({listed}): {reason}"
        )


def _show_weight_rows(shown: Sequence[dict[str, Any]], count: int) -> None:
    if not shown:
        return
    _show.heading(f"the weights that differ most, {len(shown)} of {count:,}")
    rows = [
        [
            " / ".join(dict.fromkeys((row["a"], row["b"]))),
            *_figures(row)[:4],
            "" if not row["step"] else f"{row['absolute'] / row['step']:.2f}",
            _types(row),
            row["reason"] or "",
        ]
        for row in shown
    ]
    figures = (*_FIGURES[:4], "steps")
    _show.table(("weight", *figures, "type", ""), rows, right=figures, indent=2)


def draw(path: Path, report: dict[str, Any]) -> None:
    """Draw the errors of the values, of many those that differ most, in the order of the graph."""
    by_name = {row["value"]: row for row in report["compared"]}
    drawn = {row["value"] for row in report["compared"][:_MOST_DRAWN]}
    rows = [by_name[name] for name in report["order"] if name in drawn]
    series: dict[str, list[float | None]] = {"largest": [], "99th percentile": [], "mean": []}
    for row in rows:
        unit = row["absolute"] / row["relative"] if 0 < row["relative"] < math.inf else None
        series["largest"].append(row["relative"])
        for name, key in (("99th percentile", "p99"), ("mean", "mean")):
            error = row[key]
            series[name].append(error / unit if unit and error is not None else None)
    names = [row["layer"] or row["value"] for row in rows]
    labels = [name if len(name) <= 40 else f"…{name[-39:]}" for name in names]
    of = f", {len(rows)} of {len(by_name):,} values" if len(rows) < len(by_name) else ""
    title = f"{Path(report['a']).name} and {Path(report['b']).name}{of}"

    def paint(figure: Any) -> None:
        _plot.dots(figure, title, labels, series, x_label="|a-b| over the largest |b|")

    _plot.save(path, paint, 648, 110 + 14 * len(labels))


def _types(row: dict[str, Any]) -> str:
    return " / ".join(dict.fromkeys((row["type_a"], row["type_b"])))


def _show_first(first: dict[str, Any]) -> None:
    where = [f"node '{first['node']}' ({first['operator']})"] if first["node"] else []
    where += [f"layer '{first['layer']}'"] if first["layer"] else []
    _show.heading(f"first difference: {', '.join(where) or 'no node'}")
    rows = [("value", " / ".join(dict.fromkeys((first["a"], first["b"]))))]
    rows += _error_rows(first)
    rows.append(("sample", first["sample"]))
    if len(first["nodes"]) > 1:
        nodes = ", ".join(f"{n['node']} ({n['operator']})" for n in first["nodes"])
        rows.append(("computed by", nodes))
    rows += _input_rows(first["inputs"])
    rows += [("changed", change) for change in first["changes"]]
    _show.table(("", ""), rows, indent=2)
    _show_spots("value", first["differs_most"])
    _show_weights(first["weights"])
    if first["inside"]:
        _show_inner(first["inside"])


def _show_inner(inner: dict[str, Any]) -> None:
    _show.heading(f"first difference inside it: node '{inner['node']}' ({inner['operator']})")
    equal = _show.count(inner["same"], "value")
    rows = [("value", inner["value"]), *_error_rows(inner), ("before it", f"{equal} equal")]
    _show.table(("", ""), [*rows, *_input_rows(inner["inputs"])], indent=2)
    _show_spots("value", inner["differs_most"])
    _show_weights(inner["weights"])


def _error_rows(difference: dict[str, Any]) -> list[tuple[str, str]]:
    """The types, the error and the reason of a difference, as rows of a table."""
    relative, absolute = (_show.error_size(difference[key]) for key in ("relative", "absolute"))
    rows = [("type", _types(difference)), ("error", f"{relative} relative, {absolute} absolute")]
    return rows + ([("", difference["reason"])] if difference["reason"] else [])


def _input_rows(inputs: dict[str, str]) -> list[tuple[str, str]]:
    texts = [f"{name}: {text}" for name, text in inputs.items()]
    return [("" if index else "inputs", text) for index, text in enumerate(texts)]


def _show_weights(weights: dict[str, Any]) -> None:
    for name, weight in weights.items():
        error = weight["reason"] or f"{_show.error_size(weight['relative'])} relative"
        _show.line(f"  weight '{name}' differs: {error}")
        _show_spots("weight", weight["differs_most"])


def _show_spots(noun: str, spots: Sequence[dict[str, Any]]) -> None:
    if spots:
        rows = [(str(spot["index"]), _element(spot["a"]), _element(spot["b"])) for spot in spots]
        _show.table((f"{noun} at", "a", "b"), rows, right=("a", "b"), indent=4)


def _element(value: Any) -> str:
    return repr(value) if isinstance(value, (str, bytes)) else str(value)
