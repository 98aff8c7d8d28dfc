"""The bound gradients of MaxPool and GlobalAveragePool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Space, memory_order
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.fast.pool import SLIDING, call_pool, maximum_of, result_like, supported_axes
from onnxwalk.ops.shared.windows import Axis, places_by_tap, refuse_empty_windows

#: bytes of a block of results
_BLOCK = 1 << 18


def can_count_taps(axes: Sequence[Axis]) -> bool:
    """Whether the number of a tap is a byte."""
    return math.prod(axis.kernel for axis in axes) <= 1 + np.iinfo(np.uint8).max


def call_first_maxima(
    space: Space, x: np.ndarray, y: np.ndarray, taken: np.ndarray, axes: Sequence[Axis]
) -> None:
    """Of each window how many taps there are before the first that sees its maximum y; that the
    last sees it needs no comparison."""
    order = memory_order(taken)
    shape, back = [taken.shape[axis] for axis in order], np.argsort(order)
    is_before, is_other = (space.scratch(shape, np.bool_).transpose(back) for _ in range(2))
    space.call(taken.fill, 0)
    space.call(is_before.fill, 1)
    for here, there in list(places_by_tap(axes))[:-1]:
        space.call(np.not_equal, x[there], y[here], is_other[here])
        space.call(np.logical_and, is_before[here], is_other[here], is_before[here])
        space.call(np.add, taken, is_before.view(np.uint8), taken)
    space.free_scratch(is_before)
    space.free_scratch(is_other)


def bind_max_pool_keeping(
    space: Space, x: np.ndarray, *, n_outputs: int = 1, storage_order: int = 0, **attributes: Any
) -> tuple[tuple[np.ndarray], tuple[np.ndarray]] | None:
    """Also the numbers of the first maxima, while the few samples they are of are in the cache."""
    axes = supported_axes(x, **attributes)
    if n_outputs > 1 or axes is None or not can_count_taps(axes):
        return None
    refuse_empty_windows(axes)
    y = result_like(space, x, axes)
    taken = space.array(y.shape, np.uint8, [0, *(a for a in memory_order(y) if a)])
    for first, last in split_range(len(x), max(1, SLIDING // max(1, x[:1].nbytes))):
        part = slice(first, last)
        call_pool(space, x[part], y[part], axes, *maximum_of(x.dtype))
        call_first_maxima(space, x[part], y[part], taken[part], axes)
    return (y,), (taken,)


def bind_max_pool_gradient(
    space: Space,
    dy: np.ndarray,
    taken: np.ndarray,
    x_shape: Sequence[int],
    axes: Sequence[Axis],
) -> np.ndarray | None:
    """To the first maximum of each window, a few samples at a time. Masks are multiplied by: to
    copy where they are true takes several times as long where it can't be foreseen."""
    if dy.dtype not in (np.float32, np.float64) or not dy.size or taken.dtype != np.uint8:
        return None
    order = [0, *(axis for axis in memory_order(taken) if axis)]
    back = np.argsort(order)
    dx = space.array(x_shape, dy.dtype, order)
    is_partition = all(a.kernel == a.stride and a.dilation == 1 and not a.begin for a in axes)
    covers = is_partition and all(a.kernel * a.windows == a.size for a in axes)
    together = max(1, _BLOCK // max(1, dy[:1].nbytes))
    shape = [min(together, len(dy)), *(dy.shape[axis] for axis in order[1:])]
    is_in_order = dy.transpose(order).flags.c_contiguous
    kinds = [np.bool_, dy.dtype, dy.dtype]
    buffers = [space.scratch(shape, kind).transpose(back) for kind in kinds]
    for first, last in split_range(len(dy), together):
        is_taken, share, in_order = (buffer[: last - first] for buffer in buffers)
        into, d, numbers = dx[first:last], dy[first:last], taken[first:last]
        if not is_in_order:
            space.call(np.copyto, in_order, d)
            d = in_order
        if not covers:
            space.call(into.fill, 0)
        for number, (here, there) in enumerate(places_by_tap(axes)):
            part = into[there] if is_partition else share[here]
            space.call(np.equal, numbers[here], scalar(number, np.uint8), is_taken[here])
            space.call(np.multiply, d[here], is_taken[here], part)
            if not is_partition:
                space.call(np.add, into[there], part, into[there])
    return dx


def bind_global_average_pool_gradient(
    space: Space, dy: np.ndarray, *, x_shape: tuple[int, ...]
) -> np.ndarray | None:
    if dy.dtype not in (np.float32, np.float64) or len(x_shape) != 4:
        return None
    dx, share = space.image(x_shape, dy.dtype), space.scratch(dy.shape, dy.dtype)
    space.call(np.multiply, dy, scalar(1 / math.prod(x_shape[2:]), dy.dtype), share)
    space.call(np.copyto, dx, share)
    return dx
