"""The gradients of pools: what each window hands back to the values that it saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, wide_itemsize
from onnxwalk.ops.shared.windows import Axis, average_counts, pool_axes, spatial_axes


def vjp_of_max_pool(dy, x, *, y, kernel_shape, storage_order=0, **windows):
    """To the first maximum of each window."""
    dx, left = np.zeros_like(x), dy.copy()
    for here, there in _taps(pool_axes(x.shape, kernel_shape, **windows)):
        is_largest = x[there] == y[here]
        dx[there] += left[here] * is_largest
        left[here] *= ~is_largest
    return dx


def vjp_of_average_pool(dy, *, x_shape, count_include_pad=0, kernel_shape, **windows):
    """The same share to all values of a window."""
    axes = pool_axes(x_shape, kernel_shape, **windows)
    share = dy / average_counts(axes, count_include_pad).astype(dy.dtype)
    dx = np.zeros(x_shape, dy.dtype)
    for here, there in _taps(axes):
        dx[there] += share[here]
    return dx


def vjp_of_lp_pool(dy, x, *, y, kernel_shape, p, **windows):
    """|x|ᵖ⁻¹·sign(x) / yᵖ⁻¹, and 0 where y is 0"""
    share = _by_norm(dy, y, p)
    dx = np.zeros_like(x)
    for here, there in _taps(pool_axes(x.shape, kernel_shape, **windows)):
        dx[there] += share[here]
    return dx * _slope_of_power(x, p)


def vjp_of_global_average_pool(dy, *, x_shape):
    share = dy / dy.dtype.type(math.prod(x_shape[2:]))
    return np.broadcast_to(share, x_shape)


def vjp_of_global_max_pool(dy, x, *, y):
    """Equal shares to all that are the largest, as ReduceMax."""
    is_largest = x == y
    return is_largest * (dy / is_largest.sum(spatial_axes(x), keepdims=True, dtype=x.dtype))


def vjp_of_global_lp_pool(dy, x, *, y, p):
    return _by_norm(dy, y, p) * _slope_of_power(x, p)


def _by_norm(dy: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    return np.where(y == 0, 0, dy * np.where(y == 0, 1, y) ** y.dtype.type(1 - p))


def _slope_of_power(x: np.ndarray, p: float) -> np.ndarray:
    return x if p == 2 else np.sign(x) * np.abs(x) ** x.dtype.type(p - 1)


def _taps(axes: Sequence[Axis]) -> Iterator[tuple[Any, Any]]:
    """For each tap, in order, the windows in which it is inside of the input, and where it is."""
    for taps in product(*(axis.taps() for axis in axes)):
        yield (..., *(window for window, _ in taps)), (..., *(place for _, place in taps))


def cost_of_vjp_of_pool(dy: np.ndarray, *_: Any, kernel_shape: Sequence[int], **keywords: Any) -> Cost:
    """The gradient and its factor; what is left of dy, and a few arrays for one tap."""
    item = wide_itemsize(dy.dtype)
    shape = keywords["x_shape"] if "x_shape" in keywords else _[0].shape
    taps = size(kernel_shape)
    memory = item * (4 * size(shape) + 5 * dy.size) + 2 * PER_ARRAY * sum(kernel_shape)
    work = 30 * taps * dy.size + 60 * size(shape) + 6 * PER_CALL * taps
    return Cost(memory, work)


def cost_of_vjp_of_global_pool(dy: np.ndarray, x: np.ndarray, **_: Any) -> Cost:
    item = wide_itemsize(dy.dtype)
    return Cost((4 * item + 1) * x.size + 5 * item * dy.size, 150 * x.size)
