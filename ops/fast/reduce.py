"""The binders of ReduceSum, ReduceMean, ReduceMax and ReduceMin."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Bind, Space
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.shared.axes import normalize_axes, normalize_axis
from onnxwalk.ops.shared.values import as_ints


def bind_reduce_sum(
    space: Space, data: np.ndarray, axes: Any = None, *, keepdims: int = 1, **attributes: Any
) -> np.ndarray | None:
    """Of integers along one axis, where the order of the sums doesn't matter."""
    axes = attributes.get("axes", axes)
    if data.dtype.kind not in "iu" or axes is None or not data.size:
        return None
    if isinstance(axes, np.ndarray) and not space.is_constant(axes):
        return None
    along = np.ravel(axes).tolist()
    if len(along) != 1:
        return None
    axis = normalize_axis(along[0], data.ndim)
    shape = [1 if i == axis else n for i, n in enumerate(data.shape)]
    y = space.array(shape, data.dtype)
    space.call(np.add.reduce, data, axis, None, y, True)
    return y if keepdims else y.reshape([n for i, n in enumerate(data.shape) if i != axis])


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
        first, *rest = reduced
        length = data.shape[first]
        if not rest and 1 < length <= _SHORT and data.strides[first] == data.itemsize:
            parts = np.split(data, length, first)
            space.call(partial(ufunc, out=y), *parts[:2])
            for part in parts[2:]:
                space.call(partial(ufunc, out=y), y, part)
        else:
            space.call(ufunc.reduce, data, tuple(reduced), None, y, True)
        return (
            y if keepdims else y.reshape([n for i, n in enumerate(data.shape) if i not in reduced])
        )

    return bind


def _mean_of_lines(space: Space, data: np.ndarray, keepdims: bool) -> np.ndarray:
    """The mean along the last axis: a product with ones, divided by n (1/n would be rounded)."""
    length = data.shape[-1]
    y = space.array((*data.shape[:-1], 1), data.dtype)
    ones = np.ones((length, 1), data.dtype)
    space.call(np.matmul, data.reshape(-1, length), ones, y.reshape(-1, 1))
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
        space.call(np.matmul, np.ones((1, count), x.dtype), rows, y[:, None])
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
