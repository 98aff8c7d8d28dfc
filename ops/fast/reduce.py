"""The binders of ReduceSum, ReduceMean, ReduceMax and ReduceMin."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import is_plain
from onnxwalk.ops.contract.space import Bind, Space
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.shared.axes import normalize_axes, normalize_axis
from onnxwalk.ops.shared.products import bind_product
from onnxwalk.ops.shared.values import as_ints

#: elements along an axis up to which a call for each takes less time than NumPy's reduction, whose
#: inner loop it is: a quarter of it at 8, a tenth at 3
_SHORT = 12


def extreme_binder(ufunc: np.ufunc) -> Bind:
    """The binder of ReduceMax or ReduceMin, by np.maximum or np.minimum."""

    def bind(
        space: Space, data: np.ndarray, axes: Any = None, *, keepdims: int = 1, **attributes: Any
    ) -> np.ndarray | None:
        axes = attributes.get("axes", axes)
        if data.dtype.kind not in "iuf" or axes is None or not data.size:
            return None
        if isinstance(axes, np.ndarray) and not space.is_constant(axes):
            return None
        reduced = normalize_axes(as_ints(axes), data.ndim)
        if not reduced:
            return None
        y = space.array([1 if i in reduced else n for i, n in enumerate(data.shape)], data.dtype)
        if len(reduced) == 1 and _is_short(data, reduced[0]):
            _reduce_short(space, ufunc, data, reduced[0], y)
        else:
            space.call(ufunc.reduce, data, tuple(reduced), None, y, True)
        return (
            y if keepdims else y.reshape([n for i, n in enumerate(data.shape) if i not in reduced])
        )

    return bind


def _is_short(data: np.ndarray, axis: int) -> bool:
    return 1 < data.shape[axis] <= _SHORT and data.strides[axis] == data.itemsize


def _reduce_short(
    space: Space, ufunc: np.ufunc, data: np.ndarray, axis: int, y: np.ndarray
) -> None:
    first, second, *rest = np.split(data, data.shape[axis], axis)
    space.call(partial(ufunc, out=y), first, second)
    for part in rest:
        space.call(partial(ufunc, out=y), y, part)


def bind_reduce_sum(
    space: Space, data: np.ndarray, axes: Any = None, *, keepdims: int = 1, **attributes: Any
) -> np.ndarray | None:
    """Along one axis: of integers, where the order of the sums doesn't matter, and of a few floats
    that lie next to each other."""
    axes = attributes.get("axes", axes)
    is_integer = data.dtype.kind in "iu"
    if not is_integer and data.dtype not in (np.float32, np.float64):
        return None
    if axes is None or not data.size:
        return None
    if isinstance(axes, np.ndarray) and not space.is_constant(axes):
        return None
    along = np.ravel(axes).tolist()
    if len(along) != 1:
        return None
    axis = normalize_axis(along[0], data.ndim)
    is_short = _is_short(data, axis)
    if not is_integer and not is_short:
        return None
    y = space.array([1 if i == axis else n for i, n in enumerate(data.shape)], data.dtype)
    if is_short:
        _reduce_short(space, np.add, data, axis, y)
    else:
        space.call(np.add.reduce, data, axis, None, y, True)
    return y if keepdims else y.reshape([n for i, n in enumerate(data.shape) if i != axis])


def _mean_of_lines(space: Space, data: np.ndarray, keepdims: bool) -> np.ndarray:
    """The mean along the last axis: a product with ones, divided by n (1/n would be rounded)."""
    length = data.shape[-1]
    y = space.array((*data.shape[:-1], 1), data.dtype)
    ones = np.ones((length, 1), data.dtype)
    bind_product(space, data.reshape(-1, length), ones, y.reshape(-1, 1))
    space.call(np.divide, y, scalar(length, y.dtype), y)
    return y if keepdims else y.reshape(data.shape[:-1])


def bind_reduce_mean(
    space: Space, data: np.ndarray, axes: Any = None, *, keepdims: int = 1, **attributes: Any
) -> np.ndarray | None:
    axes = attributes.get("axes", axes)
    if data.dtype != np.float32 or axes is None or data.size == 0 or data.ndim < 3:
        return None
    if isinstance(axes, np.ndarray) and not space.is_constant(axes):
        return None
    reduced = sorted(normalize_axes(as_ints(axes), data.ndim))
    if reduced == [data.ndim - 1] and data.flags.c_contiguous:
        return _mean_of_lines(space, data, bool(keepdims))
    kept = [axis for axis in range(data.ndim) if axis not in reduced]
    if kept != [0, 1] and kept != [0, data.ndim - 1]:
        return None
    source = np.moveaxis(data, 1, -1) if kept == [0, 1] else data
    y = space.array((len(data), source.shape[-1]), data.dtype)
    mean_over_places(space, source, y)
    shape = [size if axis in kept else 1 for axis, size in enumerate(data.shape)]
    return y.reshape(shape) if keepdims else y


#: a multiple of this number of channels is summed in the same order, on every processor tried
_VECTOR = 16


def mean_over_places(space: Space, x: np.ndarray, y: np.ndarray) -> None:
    """The mean over all axes but the first and last, of (N, …, C) into (N, C).

    Equal channels must have equal means. A product with a row of ones guarantees that for multiples
    of ``_VECTOR`` channels, and takes a quarter of the time of sums. Otherwise one half of the rows
    is added to the other until few are left. Planes are dot products (1280 of 7x7: from 1.6 to 0.9
    times ONNX Runtime's time).
    """
    count = math.prod(x.shape[1:-1])
    planes = np.moveaxis(x, -1, 1)
    if planes.flags.c_contiguous:
        lines = planes.reshape(*planes.shape[:2], count)
        space.call(np.vecdot, lines, np.ones(count, x.dtype), y)
        space.call(np.divide, y, scalar(count, y.dtype), y)
        return
    rows = x.reshape(len(x), count, x.shape[-1])
    if not np.may_share_memory(rows, x):
        rows = space.scratch(rows.shape, x.dtype)
        space.call(np.copyto, rows.reshape(x.shape), x)
    if rows.shape[2] % _VECTOR == 0:
        bind_product(space, np.ones((1, count), x.dtype), rows, y[:, None])
        space.call(np.divide, y, scalar(count, y.dtype), y)
        return
    while rows.shape[1] > 8:
        half = rows.shape[1] // 2
        sums = space.scratch((len(x), rows.shape[1] - half, x.shape[-1]), x.dtype)
        space.call(np.add, rows[:, :half], rows[:, half : 2 * half], sums[:, :half])
        if rows.shape[1] % 2:
            space.call(np.copyto, sums[:, half:], rows[:, 2 * half :])
        rows = sums
    space.call(np.add.reduce, rows, 1, None, y)
    space.call(np.divide, y, scalar(count, y.dtype), y)


def cumulative_binder(ufunc: np.ufunc, start: int) -> Bind:
    """The binder of CumSum and CumProd, where the axis is the same in every run."""

    def bind(
        space: Space, x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0
    ) -> np.ndarray | None:
        if not is_plain(x.dtype, "fiu") or axis.size != 1 or not space.is_constant(axis):
            return None
        along = normalize_axis(axis.item(), x.ndim)
        y = space.array(x.shape, x.dtype)
        lines, running = np.moveaxis(x, along, -1), np.moveaxis(y, along, -1)
        if reverse:
            lines, running = lines[..., ::-1], running[..., ::-1]
        if exclusive:
            space.call(running[..., :1].fill, start)
            lines, running = lines[..., :-1], running[..., 1:]
        space.call(partial(ufunc.accumulate, axis=-1, dtype=x.dtype, out=running), lines)
        return y

    return bind
