"""Reductions of the rows that have the same id."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from onnxwalk.export.conversion.nodes import Nodes


def _segments(reduction: str) -> Callable[[Nodes], None]:
    """(rows, …) data, (rows,) ids, count -> (count, …): a ScatterND onto what TensorFlow starts
    from."""

    def write(nodes: Nodes) -> None:
        data, ids, count = nodes.inputs
        needed = 16 if reduction in ("add", "mul") else 18
        if nodes.ctx.opset < needed:
            raise ValueError(f"export to opset {needed} or later")
        if len(nodes.shape(ids)) != 1:
            raise ValueError("the ids of segments must have one axis")
        dtype, limits = nodes.dtype(data), nodes.limits(data)
        start = {"add": 0, "mul": 1, "max": limits.min, "min": limits.max}[reduction]
        first = nodes.const(start, dtype)
        data, first = nodes.in_longer([data, first])
        rows = _Rows(nodes, data, ids, count)
        if reduction in ("add", "mul") or not nodes.is_float(data):
            result = rows.reduce(reduction, data, first)
        else:
            result = _extremes(nodes, rows, reduction, data, first)
        result = nodes.add("Slice", [result, nodes.const([0]), rows.count, nodes.const([0])])
        nodes.become([nodes.cast(result, dtype)])

    return write


def _extremes(nodes: Nodes, rows: _Rows, reduction: str, data: str, first: str) -> str:
    """Of the numbers after a segment's last NaN; NaN if there are none.

    TensorFlow compares row by row, and takes the newer where one of two is NaN. What ScatterND does
    with NaN depends on the engine, so none gets there.
    """
    is_nan = nodes.add("IsNaN", [data])
    nowhere = nodes.const(-1)
    last_row = rows.reduce("max", rows.numbers, nowhere)
    last_nan = rows.reduce("max", nodes.add("Where", [is_nan, rows.numbers, nowhere]), nowhere)
    counts = nodes.add("Greater", [rows.numbers, rows.of_each(last_nan)])
    result = rows.reduce(reduction, nodes.add("Where", [counts, data, first]), first)
    ends = nodes.add("Equal", [last_nan, last_row])
    ends = nodes.add("And", [ends, nodes.add("Greater", [last_row, nowhere])])
    return str(nodes.add("Where", [ends, nodes.const(np.nan, nodes.dtype(data)), result]))


class _Rows:
    """The rows of the data by their ids. TensorFlow drops those with a negative id, which go into
    one segment more here, the last.

    ``numbers``: the number of its row at each element of the data.
    """

    def __init__(self, nodes: Nodes, data: str, ids: str, count: str) -> None:
        self.nodes, self._rank = nodes, len(nodes.shape(nodes.inputs[0]))
        ids, count = nodes.cast(ids, np.int64), nodes.cast(count, np.int64)
        ids = nodes.add("Where", [nodes.add("Less", [ids, nodes.const(0)]), count, ids])
        self.count = nodes.add("Reshape", [count, nodes.const([1])])
        self._data_shape = nodes.add("Shape", [data])
        bounds = [nodes.const([1]), nodes.const([self._rank])]
        sizes = nodes.add("Slice", [self._data_shape, *bounds])
        all_segments = nodes.add("Add", [self.count, nodes.const([1])])
        self.shape = nodes.add("Concat", [all_segments, sizes], axis=0)
        self.ids = nodes.add("Unsqueeze", [ids, nodes.const([1])])

    @cached_property
    def numbers(self) -> str:
        nodes = self.nodes
        total = nodes.add("Gather", [self._data_shape, nodes.const(0)])
        counted = nodes.add("Range", [nodes.const(0), total, nodes.const(1)])
        column = nodes.add("Reshape", [counted, nodes.const([-1] + [1] * (self._rank - 1))])
        return str(nodes.add("Expand", [column, self._data_shape]))

    def of_each(self, values: str) -> str:
        """What the segment of each row has, of the result of ``reduce``."""
        return str(self.nodes.add("GatherND", [values, self.ids]))

    def reduce(self, reduction: str, data: str, first: str) -> str:
        """The rows of each segment together, from ``first`` on: (count + 1, …)."""
        nodes = self.nodes
        start = nodes.add("Expand", [first, self.shape])
        return str(nodes.add("ScatterND", [start, self.ids, data], reduction=reduction))


WRITERS: dict[str, Callable[[Nodes], None]] = {
    f"UnsortedSegment{kind}": _segments(reduction)
    for kind, reduction in (("Max", "max"), ("Min", "min"), ("Prod", "mul"), ("Sum", "add"))
}
