"""The binders of Softmax and LogSoftmax."""

from __future__ import annotations

import math

import numpy as np

from onnxwalk.ops.contract.space import Space, memory_order
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.products import bind_product

#: elements of a block of rows: fits the cache
_BLOCK = 1 << 16

#: Sums of exponentials between _LEAST and _MOST are exact enough: no term overflowed, and what
#: underflowed is less than 1e-28 of the sum. NaN is not between them.
_LEAST, _MOST = 1e-10, 1e30


def bind_softmax(space: Space, x: np.ndarray, *, axis: int = -1) -> np.ndarray | None:
    """exp(x) / sum(exp(x)); the maximum is subtracted only if the sums require it: a maximum along
    short rows takes longer than everything else (from 4.8 to 2.5 times ONNX Runtime's time for rows
    of 128)."""
    if x.dtype not in (np.float32, np.float64) or x.size == 0:
        return None
    y = space.like(x)
    softmax_into(space, x, y, normalize_axis(axis, x.ndim))
    return y


def bind_softmax_flattened(space: Space, x: np.ndarray, *, axis: int = 1) -> np.ndarray | None:
    """The softmax of the rows of a matrix: ``axis`` and all axes after it are its columns."""
    if x.dtype not in (np.float32, np.float64) or not x.size or not x.flags.c_contiguous:
        return None
    y = space.array(x.shape, x.dtype)
    rows = (math.prod(x.shape[: normalize_axis(axis, x.ndim)]), -1)
    softmax_into(space, x.reshape(rows), y.reshape(rows), 1)
    return y


def softmax_into(space: Space, x: np.ndarray, y: np.ndarray, axis: int) -> None:
    """Record the softmax of x, to y, which may be x itself."""
    rows, results = _rows(x, axis), _rows(y, axis)
    if rows is None or results is None:
        _softmax_along(space, x, y, axis)
        return
    ones = np.ones((rows.shape[1], 1), x.dtype)
    step = max(1, _BLOCK // rows.shape[1])
    for start in range(0, len(rows), step):
        source, into = rows[start : start + step], results[start : start + step]
        terms = space.scratch(into.shape, x.dtype) if y is x else into
        sums = space.scratch((2, len(into), 1), x.dtype)
        space.call(np.exp, source, terms)
        bind_product(space, terms, ones, sums[0])
        _record_check(space, source, terms, sums, 1)
        space.call(np.divide, terms, sums[0], into)
        space.free_scratch(sums)
        if y is x:
            space.free_scratch(terms)


def _softmax_along(space: Space, x: np.ndarray, y: np.ndarray, axis: int) -> None:
    """Along an axis that isn't contiguous."""
    line = [*x.shape]
    line[axis] = 1
    terms = space.scratch(x.shape, x.dtype) if y is x else y
    sums = space.scratch((2, *line), x.dtype)
    space.call(np.exp, x, terms)
    # positional: (array, axis, dtype, out, keepdims)
    space.call(np.add.reduce, terms, axis, None, sums[0], True)
    _record_check(space, x, terms, sums, axis)
    space.call(np.divide, terms, sums[0], y)


def _record_check(
    space: Space, x: np.ndarray, terms: np.ndarray, sums: np.ndarray, axis: int
) -> None:
    """Record a check that computes terms and sums again if they overflow, underflow or are NaN.

    ``sums`` holds the sums and their inverses, so that one maximum checks both limits.
    """
    space.call(np.divide, scalar(_LEAST * _MOST, x.dtype), sums[0], sums[1])
    space.call(_recompute_unstable, x, terms, sums, axis)


def _recompute_unstable(x: np.ndarray, terms: np.ndarray, sums: np.ndarray, axis: int) -> None:
    if np.maximum.reduce(sums, None) < _MOST:
        return
    np.subtract(x, np.maximum.reduce(x, axis, keepdims=True), terms)
    np.exp(terms, terms)
    np.add.reduce(terms, axis, out=sums[0], keepdims=True)


def bind_log_softmax(space: Space, x: np.ndarray, *, axis: int = -1) -> np.ndarray | None:
    """x - max - log(sum(exp(x - max))), in blocks. Without the maximum the largest would lose
    digits; argmax and take need a third of the time of max for short rows."""
    if x.dtype not in (np.float32, np.float64) or x.size == 0:
        return None
    axis = normalize_axis(axis, x.ndim)
    y = space.like(x)
    rows, results = _rows(x, axis), _rows(y, axis)
    if rows is None or results is None:
        return None
    length = rows.shape[1]
    ones = np.ones((length, 1), x.dtype)
    step = max(1, _BLOCK // length)
    terms = space.scratch((min(step, len(rows)), length), x.dtype)
    extremes = space.scratch((len(terms), 1), x.dtype)
    places = space.scratch((len(terms),), np.intp)
    starts = np.arange(len(terms)) * length
    for start in range(0, len(rows), step):
        source, into = rows[start : start + step], results[start : start + step]
        n = len(into)
        space.call(np.argmax, source, 1, places[:n])
        space.call(np.add, places[:n], starts[:n], places[:n])
        space.call(np.take, source.reshape(-1), places[:n], None, extremes[:n, 0], "clip")
        space.call(np.subtract, source, extremes[:n], into)
        space.call(np.exp, into, terms[:n])
        bind_product(space, terms[:n], ones, extremes[:n])
        space.call(np.log, extremes[:n], extremes[:n])
        space.call(np.subtract, into, extremes[:n], into)
    return y


def _rows(x: np.ndarray, axis: int) -> np.ndarray | None:
    """An array as a matrix with rows along an axis; ``None`` if that needs a copy."""
    order = memory_order(x)
    in_order = x.transpose(order)
    if order[-1] != axis or not in_order.flags.c_contiguous:
        return None
    return in_order.reshape(math.prod(in_order.shape[:-1]), x.shape[axis])
