"""The report of a run: a plain dictionary, printed as text or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.errors import InvalidInputError

#: the values of larger outputs are omitted from JSON on stdout
MOST_VALUES = 10_000
_FIRST_VALUES = 6
_TOP_SAMPLES = 10


def describe(name: str, value: Any) -> dict[str, Any]:
    """Name, dtype, shape, statistics and values of one output.

    The statistics cover the finite values; ``nan`` and ``infinite`` count the others.
    """
    if not isinstance(value, np.ndarray):
        kind = "sequence" if isinstance(value, list) else "map" if isinstance(value, dict) else None
        return {"name": name, "type": kind, "values": value}
    array = _show.widened(value)
    report: dict[str, Any] = {
        "name": name,
        "dtype": _show.dtype_name(value.dtype),
        "shape": list(value.shape),
    }
    if array.dtype.kind in "biuf":
        report |= _statistics(array)
    if value.size > MOST_VALUES:
        report["values"] = None
        report["first"] = np.array(array.reshape(-1)[:_FIRST_VALUES])
        report["note"] = f"{value.size:,} values are omitted; --output FILE writes them"
    else:
        report["values"] = np.array(array)  # a copy: the array may map a file to be renamed
    return report


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
    """Class names from a JSON list of strings or a text file with one per line.

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
        raise InvalidInputError(f"{path}: invalid labels: {error}") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidInputError(
            f"{path}: expected a JSON list of strings, or text with one label per line"
        )
    return labels


@dataclass(frozen=True)
class Ranked:
    """Scores of classes (samples, classes), and the names of the classes if they have any."""

    scores: np.ndarray
    labels: Sequence[str] | None = None

    def largest(self, k: int) -> list[list[dict[str, Any]]]:
        """The ``k`` largest classes of each of the first samples."""
        return [_largest(row, k, self.labels) for row in self.scores[:MOST_VALUES]]

    def best(self, name: str, k: int) -> dict[str, np.ndarray | list[Any]]:
        """The ``k`` largest classes of all samples as columns: class, score, class, score …"""
        k = min(k, self.scores.shape[1])
        order = np.empty((len(self.scores), k), np.int64)
        for start in range(0, len(order), MOST_VALUES):
            rows = slice(start, start + MOST_VALUES)
            order[rows] = np.argsort(-_wide(self.scores[rows]), kind="stable")[:, :k]
        columns: dict[str, np.ndarray | list[Any]] = {}
        for place in range(k):
            classes = order[:, place]
            ending = f"_{place + 1}" if k > 1 else ""
            names = None if self.labels is None else np.array(self.labels, object)
            columns[f"{name}_class{ending}"] = classes if names is None else names[classes]
            scores = np.take_along_axis(self.scores, classes[:, None], axis=1)[:, 0]
            columns[f"{name}_score{ending}"] = scores
        return columns


def rank(
    values: Mapping[str, Any], labels: Sequence[str] | None, *, is_asked: bool
) -> dict[str, Ranked]:
    """The outputs of shape (samples, classes), with as many classes as ``labels``.

    Raises InvalidInputError if there is none, and it ``is_asked`` for.
    """
    scores = _find_scores(values)
    if labels is not None:
        scores = {n: _two_classes(s) if len(labels) == 2 else s for n, s in scores.items()}
        fitting = {n: s for n, s in scores.items() if s.shape[1] == len(labels)}
        if scores and not fitting:
            sizes = ", ".join(f"'{n}' has {s.shape[1]} classes" for n, s in scores.items())
            raise InvalidInputError(f"--labels: the file has {len(labels)} names, but {sizes}")
        scores = fitting
    if not scores and is_asked:
        shapes = ", ".join(f"'{n}' is {np.shape(v)}" for n, v in values.items())
        raise InvalidInputError(f"--top requires an output of shape (samples, classes); {shapes}")
    return {name: Ranked(rows, labels) for name, rows in scores.items()}


def rank_labeled(
    values: Mapping[str, Any], labels: Mapping[str, Sequence[str]]
) -> dict[str, Ranked]:
    """As ``rank``, of the outputs that have class names of the right number."""
    found = {}
    for name, scores in _find_scores(values).items():
        names = labels.get(name, ())
        scores = _two_classes(scores) if len(names) == 2 else scores
        if names and scores.shape[1] == len(names):
            found[name] = Ranked(scores, names)
    return found


def _find_scores(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of shape (samples, classes)."""
    return {
        name: _show.widened(value)
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype != object
    }


def _two_classes(scores: np.ndarray) -> np.ndarray:
    """Turn the probability p of the second class, (samples, 1), into 1 - p and p, (samples, 2).
    Other scores are returned unchanged."""
    if (
        scores.shape[1] != 1
        or scores.dtype.kind != "f"
        or not ((scores >= 0) & (scores <= 1)).all()
    ):
        return scores
    return np.concatenate([1 - scores, scores], axis=1)


def _largest(row: np.ndarray, k: int, labels: Sequence[str] | None) -> list[dict[str, Any]]:
    """The ``k`` largest scores of one sample; equal ones in their order, NaN last."""
    order = np.argsort(-_wide(row), kind="stable")[:k]
    return [
        {"class": int(i), **({"label": labels[i]} if labels else {}), "value": row[i].item()}
        for i in order
    ]


def _wide(scores: np.ndarray) -> np.ndarray:
    """Scores in a type in which they can be negated."""
    return scores.astype(np.float64 if scores.dtype.kind == "f" else object)


# --- text


def show(report: Mapping[str, Any], sample_names: Sequence[str] | None) -> None:
    """Print the report as text: inputs, outputs, the top classes, time."""
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
                "values, not included in min, max and mean"
            )
        if "top" in output:
            _show_top(output, sample_names)
    _show.line()
    runs = f", {report['runs']} runs" if report["runs"] > 1 else ""
    _show.line(f"{report['seconds']:.3g} s{runs}")
    if report["output"]:
        _show.line(f"written to {report['output']}")
    if "dump" in report:
        values = _show.count(report["dump"]["values"], "value")
        _show.line(f"{values} written to {report['dump']['folder']}")
        omitted = [f"{name} ran {n:,} times" for name, n in report["dump"]["cut"].items()]
        if omitted:
            more = f", and {len(omitted) - 5} more" if len(omitted) > 5 else ""
            listed = ", ".join(omitted[:5])
            _show.line(f"some iterations were not written (--iterations): {listed}{more}")


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
    if sample_names is None or len(sample_names) != output["shape"][0]:
        sample_names = [f"sample {i}" for i in range(len(samples))]
    rows = []
    for sample, classes in zip(sample_names, samples[:_TOP_SAMPLES], strict=False):
        best = [f"{c.get('label', c['class'])}: {_number(c['value'])}" for c in classes]
        rows.append((sample, *best))
    width = max((len(row) for row in rows), default=1)
    _show.table([""] * width, [(*row, *[""] * (width - len(row))) for row in rows], indent=2)
    total = output["shape"][0]
    if total > _TOP_SAMPLES:
        _show.line(f"  … and {total - _TOP_SAMPLES:,} more")


def _shape(shape: Sequence[int] | None) -> str:
    return "" if shape is None else str(tuple(shape))


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:39] + "…")
    return "" if value is None else str(value)
