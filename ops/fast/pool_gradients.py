"""The bound gradients of MaxPool and GlobalAveragePool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from onnxwalk.ops.contract.space import Space, memory_order
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import largest_number_into, scalar
from onnxwalk.ops.shared.windows import Axis

#: bytes of a block of results
_BLOCK = 1 << 18


def bind_max_pool_gradient(
    space: Space, dy: np.ndarray, x: np.ndarray, y: np.ndarray, axes: Sequence[Axis]
) -> np.ndarray | None:
    """To the first maximum of each window, a few samples at a time. Masks are multiplied by: to
    copy where they are true takes several times as long where it can't be foreseen."""
    if dy.dtype not in (np.float32, np.float64) or not dy.size:
        return None
    dx = space.array(x.shape, x.dtype, memory_order(x))
    halves = all((*a[1:5], a.size) == (2, 2, 1, 0, 2 * a.windows) for a in axes)
    if len(axes) == 2 and halves:
        _halve(space, dy, x, dx)
        return dx
    is_partition = all(a.kernel == a.stride and a.dilation == 1 and not a.begin for a in axes)
    covers = is_partition and all(a.kernel * a.windows == a.size for a in axes)
    order = memory_order(y)
    order = [0, *(axis for axis in order if axis)]
    together = max(1, _BLOCK // max(1, y[:1].nbytes))
    shape = [min(together, len(x)), *(y.shape[axis] for axis in order[1:])]
    buffers = [space.scratch(shape, dtype) for dtype in (x.dtype, x.dtype, np.bool_)]
    back = np.argsort(order)
    for first, last in split_range(len(x), together):
        left, share, is_largest = (buffer[: last - first].transpose(back) for buffer in buffers)
        source, into, best = x[first:last], dx[first:last], y[first:last]
        space.call(np.copyto, left, dy[first:last])
        if not covers:
            space.call(into.fill, 0)
        for taps in product(*(axis.taps() for axis in axes)):
            here = (slice(None), slice(None), *(windows for windows, _ in taps))
            there = (slice(None), slice(None), *(places for _, places in taps))
            space.call(np.equal, source[there], best[here], is_largest[here])
            space.call(np.multiply, left[here], is_largest[here], share[here])
            space.call(np.subtract, left[here], share[here], left[here])
            if is_partition:
                space.call(np.copyto, into[there], share[here])
            else:
                space.call(np.add, into[there], share[here], into[there])
    return dx


def _halve(space: Space, dy: np.ndarray, x: np.ndarray, dx: np.ndarray) -> None:
    """2 × 2 by steps of 2: the larger of neighbours in a row, then of the two rows. What one of
    them doesn't get is the other's: that takes fewer passes than four comparisons with y.

    NaN is less than everything, as in MaxPool of float32.
    """
    x, dx, dy = (np.moveaxis(array, 1, -1) for array in (x, dx, dy))
    together = max(1, _BLOCK // max(1, dy[:1].nbytes))
    n, height, width, channels = min(together, len(x)), *dy.shape[1:]
    of_rows = [space.scratch((n, 2 * height, width, channels), x.dtype) for _ in range(3)]
    row_masks = space.scratch((n, 2 * height, width, channels), np.bool_)
    mask, factor = (space.scratch((n, height, width, channels), t) for t in (np.bool_, x.dtype))
    for first, last in split_range(len(x), together):
        count = last - first
        largest, d_rows, share = (array[:count] for array in of_rows)
        is_left, is_upper, by_row = row_masks[:count], mask[:count], factor[:count]
        source, into, d = x[first:last], dx[first:last], dy[first:last]
        left, right = source[:, :, 0::2], source[:, :, 1::2]
        space.call(largest_number_into(largest), left, right)
        space.call(np.equal, left, largest, is_left)
        upper, lower = largest[:, 0::2], largest[:, 1::2]
        space.call(np.greater_equal, upper, lower, is_upper)
        space.call(np.copyto, by_row, is_upper)
        space.call(np.multiply, d, by_row, d_rows[:, 0::2])
        space.call(np.subtract, d, d_rows[:, 0::2], d_rows[:, 1::2])
        space.call(np.copyto, share, is_left)
        space.call(np.multiply, d_rows, share, share)
        space.call(np.copyto, into[:, :, 0::2], share)
        space.call(np.subtract, d_rows, share, into[:, :, 1::2])


def bind_global_average_pool_gradient(
    space: Space, dy: np.ndarray, *, x_shape: tuple[int, ...]
) -> np.ndarray | None:
    if dy.dtype not in (np.float32, np.float64) or len(x_shape) != 4:
        return None
    dx, share = space.image(x_shape, dy.dtype), space.scratch(dy.shape, dy.dtype)
    space.call(np.multiply, dy, scalar(1 / math.prod(x_shape[2:]), dy.dtype), share)
    space.call(np.copyto, dx, share)
    return dx
