"""The gradients of pools: what each window hands back to the values that it saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.pool import (
    average_pool,
    global_average_pool,
    global_lp_pool,
    global_lp_pool_1,
    global_max_pool,
    lp_pool,
    lp_pool_1,
    max_pool,
    max_roi_pool,
    max_unpool,
)
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import declare, rule
from onnxwalk.ops.fast.pool_gradients import (
    bind_global_average_pool_gradient,
    bind_max_pool_gradient,
)
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, wide_itemsize
from onnxwalk.ops.shared.windows import Axis, average_counts, pool_axes, roi_cells


@rule
def vjp_of_max_pool(dy, x, *, y, kernel_shape, storage_order=0, **windows):
    """To the first maximum of each window."""
    dx, left = np.zeros_like(x), dy.copy()
    for here, there in _taps(pool_axes(x.shape, kernel_shape, **windows)):
        is_largest = x[there] == y[here]
        dx[there] += left[here] * is_largest
        left[here] *= ~is_largest
    return dx


@vjp_of_max_pool.bind
def bind_vjp_of_max_pool(space, dy, x, *, y, kernel_shape, storage_order=0, **windows):
    axes = pool_axes(x.shape, kernel_shape, **windows)
    return bind_max_pool_gradient(space, dy, x, y, axes)


@rule
def vjp_of_average_pool(dy, *, x_shape, count_include_pad=0, kernel_shape, **windows):
    """The same share to all values of a window."""
    axes = pool_axes(x_shape, kernel_shape, **windows)
    share = dy / average_counts(axes, count_include_pad).astype(dy.dtype)
    dx = np.zeros(x_shape, dy.dtype)
    for here, there in _taps(axes):
        dx[there] += share[here]
    return dx


@rule
def vjp_of_lp_pool(dy, x, *, y, kernel_shape, p, **windows):
    """|x|ᵖ⁻¹·sign(x) / yᵖ⁻¹, and 0 where y is 0"""
    share = _by_norm(dy, y, p)
    dx = np.zeros_like(x)
    for here, there in _taps(pool_axes(x.shape, kernel_shape, **windows)):
        dx[there] += share[here]
    return dx * _slope_of_power(x, p)


@rule
def vjp_of_global_average_pool(dy, *, x_shape):
    share = dy / dy.dtype.type(math.prod(x_shape[2:]))
    return np.broadcast_to(share, x_shape)


vjp_of_global_average_pool.bind(bind_global_average_pool_gradient)


@rule
def vjp_of_global_max_pool(dy, x, *, y):
    """Equal shares to all that are the largest, as ReduceMax."""
    is_largest = x == y
    return is_largest * (dy / is_largest.sum(tuple(range(2, x.ndim)), x.dtype, keepdims=True))


@rule
def vjp_of_global_lp_pool(dy, x, *, y, p):
    return _by_norm(dy, y, p) * _slope_of_power(x, p)


@rule
def vjp_of_max_unpool(dy, *, i):
    return dy.reshape(-1)[i]


@rule
def vjp_of_max_roi_pool(dy, x, rois, *, pooled_shape, spatial_scale):
    """To the first maximum of each cell."""
    dx = np.zeros_like(x)
    channel = np.arange(x.shape[1])
    for place, cell in roi_cells(x.shape, rois, pooled_shape, spatial_scale):
        seen = x[cell]
        row, column = np.unravel_index(seen.reshape(len(seen), -1).argmax(1), seen.shape[1:])
        dx[cell][channel, row, column] += dy[place]
    return dx


def _by_norm(dy: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    return np.where(y == 0, 0, dy * np.where(y == 0, 1, y) ** y.dtype.type(1 - p))


def _slope_of_power(x: np.ndarray, p: float) -> np.ndarray:
    return x if p == 2 else np.sign(x) * np.abs(x) ** x.dtype.type(p - 1)


def _taps(axes: Sequence[Axis]) -> Iterator[tuple[Any, Any]]:
    """For each tap, in order, the windows in which it is inside of the input, and where it is."""
    for taps in product(*(axis.taps() for axis in axes)):
        yield (..., *(window for window, _ in taps)), (..., *(place for _, place in taps))


@vjp_of_max_pool.cost
@vjp_of_lp_pool.cost
def cost_of_vjp_of_pool(dy, x, *, kernel_shape, **_):
    return _cost_of_taps(dy, x.shape, kernel_shape)


@vjp_of_average_pool.cost
def cost_of_vjp_of_average_pool(dy, *, x_shape, kernel_shape, **_):
    return _cost_of_taps(dy, x_shape, kernel_shape)


def _cost_of_taps(dy: np.ndarray, shape: Sequence[int], kernel: Sequence[int]) -> Cost:
    """The gradient and its factor; what is left of dy, and a few arrays for one tap."""
    taps = size(kernel)
    memory = wide_itemsize(dy.dtype) * (4 * size(shape) + 5 * dy.size) + 2 * PER_ARRAY * sum(kernel)
    return Cost(memory, 30 * taps * dy.size + 60 * size(shape) + 6 * PER_CALL * taps)


@vjp_of_global_max_pool.cost
@vjp_of_global_lp_pool.cost
def cost_of_vjp_of_global_pool(dy: np.ndarray, x: np.ndarray, **_: Any) -> Cost:
    item = wide_itemsize(dy.dtype)
    return Cost((4 * item + 1) * x.size + 5 * item * dy.size, 150 * x.size)


@vjp_of_max_roi_pool.cost
def cost_of_vjp_of_max_roi_pool(dy: np.ndarray, x: np.ndarray, *_: Any, **__: Any) -> Cost:
    """The gradient, and what one cell sees with its places."""
    work = 10 * x.size + 8 * PER_CALL * dy.size // max(x.shape[1], 1) + 200 * dy.size
    return Cost(2 * wide_itemsize(dy.dtype) * x.size + 64 * x.shape[1] + 100 * len(dy), work)


max_pool.vjp(vjp_of_max_pool)
average_pool.vjp(vjp_of_average_pool)
declare(lp_pool, lp_pool_1, vjp=vjp_of_lp_pool)
global_average_pool.vjp(vjp_of_global_average_pool)
global_max_pool.vjp(vjp_of_global_max_pool)
declare(global_lp_pool, global_lp_pool_1, vjp=vjp_of_global_lp_pool)
max_unpool.vjp(vjp_of_max_unpool)
max_roi_pool.vjp(vjp_of_max_roi_pool)
