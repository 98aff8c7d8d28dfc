"""What rules of gradients share: the way back through broadcasting."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.shared.broadcast import align_shape
from onnxwalk.ops.shared.places import as_places
from onnxwalk.ops.shared.sums import sum_over


def reduce_to(dy: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The gradient of an input of this shape that was broadcast to the shape of dy: summed over the
    axes along which the input was repeated."""
    shape = tuple(shape)
    if dy.shape == shape:
        return dy
    if added := dy.ndim - len(shape):
        dy = sum_over(dy.reshape(math.prod(dy.shape[:added]), *dy.shape[added:]), (0,), False)
    repeated = [i for i, n in enumerate(shape) if n == 1 and dy.shape[i] != 1]
    return sum_over(dy, tuple(repeated), True) if repeated else dy


#: places that occur more often than this are added up one by one in ``add_rows``
_MANY = 16
#: how many elements are moved at once
_BLOCK = 1 << 16


def add_rows(
    rows: np.ndarray, places: np.ndarray, count: int, out: np.ndarray | None = None
) -> np.ndarray:
    """``count`` rows: each is the sum of those of ``rows`` (n, …) whose place (n) it is."""
    result = np.empty((count, *rows.shape[1:]), rows.dtype) if out is None else out
    result.fill(0)
    if not rows.size:
        return result
    # the first row of each place, then the second of each that has two, and so on
    order = places.argsort(kind="stable")
    in_order = as_places(places[order])
    starts = np.flatnonzero(np.diff(in_order, prepend=-1))
    counts = np.diff(starts, append=len(order))
    is_often = counts > _MANY
    for start, n in zip(starts[is_often], counts[is_often], strict=True):
        found = order[start : start + n]
        result[in_order[start]] = sum_over(rows.take(found, 0), (0,), False)
    starts, counts = starts[~is_often], counts[~is_often]
    step = max(1, _BLOCK // (rows.size // len(rows)))
    for turn in range(int(counts.max(initial=0))):
        chosen = starts[counts > turn] + turn
        for first in range(0, len(chosen), step):
            block = chosen[first : first + step]
            found = rows.take(order[block], 0)
            if turn:
                found += result.take(in_order[block], 0)
            result[in_order[block]] = found
    return result


def numbered(shape: Sequence[int], start: int = 0) -> np.ndarray:
    """The numbers of the elements of an array of this shape. An operator that only moves elements
    makes of them the ``places`` for ``add_elements``."""
    return np.arange(start, start + math.prod(shape)).reshape(shape)


def add_elements(dy: np.ndarray, places: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """An array of this shape: each element is the sum of those of dy whose place it is; places that
    it hasn't count nowhere."""
    count = math.prod(shape)
    flat, values = places.reshape(-1), dy.reshape(-1)
    if flat.size and not (flat.min() >= 0 and flat.max() < count):
        inside = (flat >= 0) & (flat < count)
        flat, values = flat[inside], values[inside]
    return np.bincount(as_places(flat), values, count).astype(dy.dtype).reshape(shape)


def cost_of_adding(dy: np.ndarray, *shapes: Sequence[int]) -> Cost:
    """The cost of ``add_elements`` for arrays of these shapes, with the numbers and the places."""
    count = sum(map(math.prod, shapes))
    return Cost(60 * dy.size + 40 * count, 100 * dy.size + 30 * count)


def limited_broadcasting_vjp(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule for an operator of a and b before opset 7 (``limit_broadcasting``), from the rule
    for the operator since."""
    reads = [name for name in inspect.signature(rule).parameters if name not in ("dy", "wanted")]

    def limited(dy, a, b, *, axis, broadcast, wanted):
        aligned = align_shape(a, b, axis, broadcast)
        known = {"a": a, "b": aligned, "a_shape": a.shape, "b_shape": aligned.shape}
        da, db = rule(dy, **{name: known[name] for name in reads}, wanted=wanted)
        return da, None if db is None else db.reshape(b.shape)

    limited.__name__ = f"{rule.__name__}_1"
    return limited
