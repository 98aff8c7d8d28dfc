"""The report of a run: a plain dictionary, printed as text or as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _show

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
