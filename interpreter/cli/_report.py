"""What is told about a run: one plain dictionary, shown as text or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.errors import InvalidInputError

#: outputs with more elements are left out of JSON on stdout
MOST_VALUES = 10_000
_FIRST_VALUES = 6
_TOP_SAMPLES = 10


def describe(name: str, value: Any) -> dict[str, Any]:
    """Name, dtype, shape, statistics and values of one output.

    Statistics are of the finite values; ``nan`` and ``infinite`` count the others.
    """
    if not isinstance(value, np.ndarray):
        kind = "sequence" if isinstance(value, list) else "map" if isinstance(value, dict) else None
        return {"name": name, "type": kind, "values": value}
    array = _show.widened(value)
    about: dict[str, Any] = {
        "name": name,
        "dtype": _show.dtype_name(value.dtype),
        "shape": list(value.shape),
    }
    if array.dtype.kind in "biuf":
        about |= _statistics(array)
    if value.size > MOST_VALUES:
        about["values"] = None
        about["first"] = np.array(array.reshape(-1)[:_FIRST_VALUES])
        about["note"] = f"{value.size:,} values are left out; --output FILE writes them"
    else:
        about["values"] = np.array(array)  # a copy: the array may lie in a file to be renamed
    return about


def _statistics(array: np.ndarray) -> dict[str, Any]:
    nan = infinite = 0
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            nan = int(np.isnan(array).sum())
            infinite = int(array.size - finite.sum()) - nan
            array = array[finite]
    if not array.size:
        least = most = mean = None
    else:
        least, most = array.min().item(), array.max().item()
        mean = float(array.mean(dtype=np.float64))
    return {"min": least, "max": most, "mean": mean, "nan": nan, "infinite": infinite}


# --- top K


def read_labels(path: Path) -> list[str]:
    """Class names: a JSON list of strings, or text with one on each line.

    Raises InvalidInputError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() != ".json":
            return [line.strip() for line in text.rstrip().splitlines()]
        labels = json.loads(text)
    except FileNotFoundError:
        raise InvalidInputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InvalidInputError(f"{path}: can't be read as labels: {error}") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidInputError(f"{path}: labels are a JSON list of strings, or text, one a line")
    return labels


def top(
    values: Mapping[str, Any], k: int, labels: Sequence[str] | None
) -> dict[str, list[list[dict[str, Any]]]]:
    """The ``k`` largest classes of each sample, for each output of shape (samples, classes).

    Raises InvalidInputError when there is no such output, or ``labels`` are too many or too few.
    """
    scores = {
        name: _show.widened(value)
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype != object
    }
    if labels is not None:
        scores = {n: _two_classes(s) if len(labels) == 2 else s for n, s in scores.items()}
        fitting = {n: s for n, s in scores.items() if s.shape[1] == len(labels)}
        if scores and not fitting:
            sizes = ", ".join(f"'{n}' has {s.shape[1]} classes" for n, s in scores.items())
            raise InvalidInputError(f"--labels gives {len(labels)} names, but {sizes}")
        scores = fitting
    if not scores:
        shapes = ", ".join(f"'{n}' is {np.shape(v)}" for n, v in values.items())
        raise InvalidInputError(f"--top needs an output of shape (samples, classes); {shapes}")
    return {name: [_largest(row, k, labels) for row in rows] for name, rows in scores.items()}


def top_of_named(
    values: Mapping[str, Any], k: int, labels: Mapping[str, Sequence[str]]
) -> dict[str, list[list[dict[str, Any]]]]:
    """As ``top``, of the outputs whose class names are known and fit what came out."""
    best = {}
    for name, names in labels.items():
        value = values.get(name)
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype != object:
            scores = _show.widened(value)
            scores = _two_classes(scores) if len(names) == 2 else scores
            if scores.shape[1] == len(names):
                best[name] = [_largest(row, k, names) for row in scores]
    return best


def _two_classes(scores: np.ndarray) -> np.ndarray:
    """(samples, 2) out of (samples, 1): a probability p is that of the second class, 1 - p that of
    the first. What isn't a probability stays as it is."""
    if (
        scores.shape[1] != 1
        or scores.dtype.kind != "f"
        or not ((scores >= 0) & (scores <= 1)).all()
    ):
        return scores
    return np.concatenate([1 - scores, scores], axis=1)


def _largest(row: np.ndarray, k: int, labels: Sequence[str] | None) -> list[dict[str, Any]]:
    """Among equals the first class comes first; NaN comes last."""
    wide = row.astype(np.float64 if row.dtype.kind in "f" else object)
    order = np.argsort(-wide, kind="stable")[:k]
    return [
        {"class": int(i), **({"label": labels[i]} if labels else {}), "value": row[i].item()}
        for i in order
    ]


# --- text


def show(report: Mapping[str, Any], sample_names: Sequence[str] | None) -> None:
    """The report as text: inputs, outputs, the top classes, time."""
    if report["inputs"]:
        _show.line("inputs", style="bold")
        rows = [
            (i["name"], i["dtype"], _shape(i["shape"]), "; ".join([i["from"], *i["notes"]]))
            for i in report["inputs"]
        ]
        _show.table(("", "", "", ""), rows, indent=2)
        _show.line()
    columns = ("outputs", "dtype", "shape", "min", "max", "mean", "first values")
    _show.table(columns, [_row(o) for o in report["outputs"]], right=("min", "max", "mean"))
    for output in report["outputs"]:
        if output.get("nan") or output.get("infinite"):
            _show.line(
                f"{output['name']}: {output['nan']:,} NaN and {output['infinite']:,} infinite "
                "values, not counted in min, max and mean"
            )
        if "top" in output:
            _show_top(output, sample_names)
    _show.line()
    pieces = f", {report['runs']} runs" if report["runs"] > 1 else ""
    _show.line(f"{report['seconds']:.3g} s{pieces}")
    if report["output"]:
        _show.line(f"written to {report['output']}")
    if "dump" in report:
        values = _show.count(report["dump"]["values"], "value")
        _show.line(f"{values} written to {report['dump']['folder']}")
        cut = [f"{name} ran {n:,} times" for name, n in report["dump"]["cut"].items()]
        if cut:
            more = f", and {len(cut) - 5} more" if len(cut) > 5 else ""
            _show.line(f"not all iterations are (--iterations): {', '.join(cut[:5])}{more}")


def _row(output: Mapping[str, Any]) -> tuple[str, ...]:
    if "shape" not in output:
        values = output["values"]
        length = f"({len(values)})" if values is not None else ""
        return (output["name"], output["type"] or "nothing", length, "", "", "", "")
    values = output["first"] if output["values"] is None else output["values"].reshape(-1)
    first = ", ".join(_number(x) for x in values[:_FIRST_VALUES].tolist())
    more = ", …" if math.prod(output["shape"]) > _FIRST_VALUES else ""
    statistics = [_number(output[s]) if s in output else "" for s in ("min", "max", "mean")]
    shape = _shape(output["shape"])
    return (output["name"], output["dtype"], shape, *statistics, first + more)


def _show_top(output: Mapping[str, Any], sample_names: Sequence[str] | None) -> None:
    samples = output["top"]
    _show.heading(f"{output['name']}: the largest classes")
    rows = []
    for i, classes in enumerate(samples[:_TOP_SAMPLES]):
        named = sample_names is not None and len(sample_names) == len(samples)
        sample = sample_names[i] if named and sample_names else f"sample {i}"
        best = [f"{c.get('label', c['class'])}: {_number(c['value'])}" for c in classes]
        rows.append((sample, *best))
    width = max((len(row) for row in rows), default=1)
    _show.table([""] * width, [(*row, *[""] * (width - len(row))) for row in rows], indent=2)
    if len(samples) > _TOP_SAMPLES:
        _show.line(f"  … and {len(samples) - _TOP_SAMPLES:,} more")


def _shape(shape: Sequence[int] | None) -> str:
    return "" if shape is None else str(tuple(shape))


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:39] + "…")
    return "" if value is None else str(value)
