"""The gradients of pools: what each window hands back to the values that it saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    bind_max_pool_keeping,
)
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, wide_itemsize
from onnxwalk.ops.shared.windows import Axis, average_counts, places_by_tap, pool_axes, roi_cells


def first_maxima(x: np.ndarray, y: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """Of each window the number of the first tap that sees its maximum y; the last where none does,
    as all are NaN. It takes a byte, up to 256 taps."""
    taps = list(places_by_tap(axes))
    last = len(taps) - 1
    taken = np.full_like(y, last, np.min_scalar_type(last))
    for number, (here, there) in reversed(list(enumerate(taps[:last]))):
        taken[here][x[there] == y[here]] = number
    return taken


@max_pool.forward_keeping("taken")
def max_pool_keeping(x, *, kernel_shape, n_outputs=1, storage_order=0, **windows):
    """Also which tap of each window was the first maximum: a byte in place of the input."""
    found = max_pool(
        x, kernel_shape=kernel_shape, n_outputs=n_outputs, storage_order=storage_order, **windows
    )
    outputs = found if n_outputs > 1 else (found,)
    axes = pool_axes(x.shape, kernel_shape, **windows)
    return outputs, (first_maxima(x, outputs[0], axes),)


max_pool_keeping.bind(bind_max_pool_keeping)


@rule
def vjp_of_max_pool(dy, *, taken, x_shape, kernel_shape, storage_order=0, **windows):
    """To the first maximum of each window."""
    dx = np.zeros(x_shape, dy.dtype)
    for number, (here, there) in enumerate(
        places_by_tap(pool_axes(x_shape, kernel_shape, **windows))
    ):
        dx[there] += dy[here] * (taken[here] == number)
    return dx


@vjp_of_max_pool.bind
def bind_vjp_of_max_pool(space, dy, *, taken, x_shape, kernel_shape, storage_order=0, **windows):
    axes = pool_axes(x_shape, kernel_shape, **windows)
    return bind_max_pool_gradient(space, dy, taken, x_shape, axes)


@rule
def vjp_of_average_pool(dy, *, x_shape, count_include_pad=0, kernel_shape, **windows):
    """The same share to all values of a window."""
    axes = pool_axes(x_shape, kernel_shape, **windows)
    share = dy / average_counts(axes, count_include_pad).astype(dy.dtype)
    dx = np.zeros(x_shape, dy.dtype)
    for here, there in places_by_tap(axes):
        dx[there] += share[here]
    return dx


@rule
def vjp_of_lp_pool(dy, x, *, y, kernel_shape, p, **windows):
    """|x|ᵖ⁻¹·sign(x) / yᵖ⁻¹, and 0 where y is 0"""
    share = _by_norm(dy, y, p)
    dx = np.zeros_like(x)
    for here, there in places_by_tap(pool_axes(x.shape, kernel_shape, **windows)):
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


@vjp_of_lp_pool.cost
def cost_of_vjp_of_pool(dy, x, *, kernel_shape, **_):
    return _cost_of_taps(dy, x.shape, kernel_shape)


@vjp_of_max_pool.cost
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
