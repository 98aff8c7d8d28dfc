"""The gradients of Conv and ConvTranspose, each of which is the way back through the other.

C is the channels of the array that has the windows (Conv's input, ConvTranspose's output), M those
of the array with a place for each window; the weights (M, C / group, K1 … Kn) link them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.conv import conv
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.fast import conv_gradients as fast
from onnxwalk.ops.fast.gradients import bind_by_calls
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, multiply_adds, wide_itemsize
from onnxwalk.ops.shared.windows import (
    BLOCK_BYTES,
    Axis,
    blocks,
    pad_spatial,
    window_axes,
    window_view,
)


def spread_windows(y: np.ndarray, w: np.ndarray, axes: Sequence[Axis], group: int) -> np.ndarray:
    """x[n, c, o·stride + k·dilation - pad] = Σ y[n, m, o]·w[m, c, k], from y (N, M, O1 … On)."""
    batch, channels = len(y), w.shape[1] * group
    x = np.zeros((batch, channels, *(axis.size for axis in axes)), y.dtype)
    if not x.size or not y.size:
        return x
    per_group = (group, len(w) // group)
    places = y.reshape(batch, *per_group, math.prod(y.shape[2:]))
    by_tap = w.reshape(*per_group, w.shape[1], -1).transpose(3, 0, 2, 1)
    for weights, taps in zip(by_tap, product(*(axis.taps() for axis in axes)), strict=True):
        part = products.matmul(weights, places).reshape(batch, channels, *y.shape[2:])
        inside: Any = (..., *(windows for windows, _ in taps))
        here: Any = (..., *(positions for _, positions in taps))
        x[here] += part[inside]
    return x


def correlate_windows(x: np.ndarray, y: np.ndarray, axes: Sequence[Axis], group: int) -> np.ndarray:
    """w[m, c, k] = Σ y[n, m, o]·x[n, c, o·stride + k·dilation - pad], over samples and windows."""
    rank, channels, outputs = len(axes), x.shape[1], y.shape[1]
    kernel = tuple(axis.kernel for axis in axes)
    windows = window_view(pad_spatial(x, axes, 2), axes, 2)  # (N, C, O…, K…)
    # the channels of a group are next to each other: a view
    windows = windows.reshape(len(x), group, channels // group, *windows.shape[2:])
    windows = np.moveaxis(windows, 2, 2 + rank)  # (N, g, O…, C / g, K…)
    depth = channels // group * math.prod(kernel)
    rows = y.reshape(len(y), group, outputs // group, *y.shape[2:])
    w = np.zeros((group, outputs // group, depth), x.dtype)
    limit = max(1, BLOCK_BYTES // max(1, group * depth * x.itemsize))
    for samples, *block in blocks((len(x), *y.shape[2:]), limit) if x.size and y.size else ():
        inner = (*block, *[slice(None)] * (rank - len(block)))
        here: Any = (samples, slice(None), *inner)
        columns = windows[here].swapaxes(0, 1).reshape(group, -1, depth)
        there: Any = (samples, slice(None), slice(None), *inner)
        of_outputs = rows[there].transpose(1, 2, 0, *range(3, 3 + rank))
        w += products.matmul(of_outputs.reshape(group, outputs // group, -1), columns)
    return w.reshape(outputs, channels // group, *kernel)


def sum_by_channel(dy: np.ndarray) -> np.ndarray:
    """The gradient of a bias: the sums over samples and places, from (N, M, O1 … On)."""
    return dy.sum((0, *range(2, dy.ndim)))


def cost_of_gradients(
    x: Sequence[int], y: Sequence[int], w: Sequence[int], dtype: np.dtype, group: int,
    axes: Sequence[Axis],
) -> Cost:  # fmt: skip
    """x with its padding; the products of one tap, twice; blocks of columns and of outputs; the
    weights by tap, and their gradient, twice."""
    item = wide_itemsize(dtype)
    padded = size((*x[:2], *(a.begin + a.size + a.reach for a in axes)))
    windows, taps = size(y[2:]), size(w[2:])
    of_tap = x[0] * x[1] * windows
    depth = item * max(group, 1) * w[1] * taps
    block = 2 * max(BLOCK_BYTES, depth) * (1 + size(w[:1]) // max(1, w[1] * taps))
    memory = item * (padded + size(x) + 2 * of_tap + 2 * size(y) + 4 * size(w)) + 2 * block
    macs = 2 * size(y) * w[1] * taps
    work = multiply_adds(macs, dtype) + 20 * (taps * of_tap * 2 + size(x) + size(y) + size(w))
    calls = taps + item * of_tap * taps // BLOCK_BYTES
    return Cost(memory + 2 * PER_ARRAY * sum(w[2:]), work + 10 * PER_CALL * (calls + 1) * x[0])


@conv.vjp
def vjp_of_conv(dy, x, w, *, x_shape, w_shape, group, kernel_shape, wanted, **windows):
    axes = window_axes(x_shape[2:], w_shape[2:], **windows)
    dx = spread_windows(dy, w, axes, group) if wanted[0] else None
    dw = correlate_windows(x, dy, axes, group) if wanted[1] else None
    return dx, dw, sum_by_channel(dy) if wanted[2] else None


vjp_of_conv.only_read_for(x="w", w="x")


@vjp_of_conv.bind
def bind_vjp_of_conv(space, dy, x, w, *, x_shape, w_shape, group, kernel_shape, wanted, **windows):
    axes = window_axes(x_shape[2:], w_shape[2:], **windows)
    if not fast.is_supported(axes, group, dy, x, w):
        return None
    x, w = x if wanted[1] else None, w if wanted[0] else None
    dx = dw = None
    if wanted[0] or wanted[1]:
        dx, dw = fast.bind_gradients(space, dy, x, w, axes, x_shape)
    if wanted[0] and dx is None:
        dx = bind_by_calls(spread_windows, space, x_shape, dy, w, axes, group)
    return dx, dw, fast.bind_bias_gradient(space, dy) if wanted[2] else None


@vjp_of_conv.cost
def cost_of_vjp_of_conv(dy, *_, x_shape, w_shape, group, kernel_shape, wanted, **windows):
    axes = window_axes(x_shape[2:], w_shape[2:], **windows)
    return cost_of_gradients(x_shape, dy.shape, w_shape, dy.dtype, group, axes)
