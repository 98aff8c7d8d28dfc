"""Convolution: Conv.

Two formulations, both a GEMM on columns gathered block by block (im2col):

* channels-last: a row per window, (windows, taps * C) @ (taps * C, M). The result is an NCHW view
  of NHWC memory, so that a chain of convolutions stays in that layout without a copy.
* planar: a column per window, (M, C * taps) @ (C * taps, windows). The result is plain NCHW.

Depthwise convolution has no GEMM in it: a sum of products over the taps, channels-last.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from onnxwalk.ops.contract.cost import BLOCK, Cost, size
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast.conv import Weights, bind_conv
from onnxwalk.ops.fast.epilogue import Epilogue
from onnxwalk.ops.shared import batch, flops, products
from onnxwalk.ops.shared.cost import PER_CALL, cast_copies, multiply_adds
from onnxwalk.ops.shared.windows import (
    AUTO_PAD,
    BLOCK_BYTES,
    Axis,
    blocks,
    is_channels_last,
    is_pointwise,
    pad_spatial,
    stripes,
    window_axes,
    window_view,
    working_dtype,
)


@op("Conv", since=1)
@attributes_of(window_axes, without=["ceil_mode"])
def conv(x, w, b=None, *, group=1, kernel_shape=None, **windows):
    """y[n, m, o] = b[m] + sum over c, k of x[n, c, o * stride + k * dilation - pad] * w[m, c, k]

    x (N, C, D1 … Dn), w (M, C / group, K1 … Kn), b (M); y (N, M, O1 … On). Output channels are
    split into ``group`` equal parts, each of which sees its own part of the input channels.
    float16 and bfloat16 are added up in float32.

    Spec: Conv-1, Conv-11 (strides and dilations default to 1), Conv-22 (bfloat16).
    """
    return prepare_conv(w, b, group=group, kernel_shape=kernel_shape, **windows)(x)


@conv.prepare
def prepare_conv(w, b=None, *, group=1, kernel_shape=None, **windows):
    """Conv with known weights, which are laid out for the GEMM once (per layout of the input)."""
    kernel = check_weights(w, kernel_shape)
    if group < 1 or w.shape[0] % group:
        raise ValueError(f"{w.shape[0]} output channels don't divide into {group} groups")
    check_bias(b, w.shape[0])
    work = working_dtype(w.dtype)
    if b is not None:
        b = b.astype(work, copy=False)

    if group == 1 and _has_equal_filters(w, b):
        convolve_one = prepare_conv(w[:1], None if b is None else b[:1], **windows)
        return lambda x: np.repeat(convolve_one(x), len(w), axis=1)

    @functools.cache
    def arrange_weights(layout: Callable[..., Any]) -> np.ndarray:
        return np.require(layout(w.astype(work, copy=False), group), requirements="A")

    def find_axes(x):
        return window_axes(x.shape[2:], kernel, **windows)

    def apply(x):
        if x.ndim != w.ndim or x.shape[1] != w.shape[1] * group:
            raise ValueError(
                f"input {x.shape} and weights {w.shape} are incompatible: "
                f"expected rank {w.ndim} and {w.shape[1]} * {group} channels"
            )
        check_types(x, w)
        axes = find_axes(x)
        compute, layout = _choose_formulation(x, w, axes, group)
        return compute(x, arrange_weights(layout), b, axes, work).astype(x.dtype, copy=False)

    weights = Weights(w, group)

    def bind(space, x, residual=None, activation=None, pool=False):
        if x.ndim != w.ndim or x.shape[1] != w.shape[1] * group:
            return None
        return bind_conv(space, x, weights, find_axes(x), Epilogue(b, activation, pool), residual)

    margin, pads = None, windows.get("pads")
    if pads and len(pads) == 4 and any(pads):
        margin = tuple(pads)  # and what Winograd's tiles may reach beyond
        stride_1 = set(windows.get("strides") or [1]) == {1}
        if kernel in ((3, 3), (5, 5), (7, 7)) and group == 1 and stride_1:
            margin = (*pads[:2], pads[2] + 3, pads[3] + 3)
    return with_bind(apply, bind, margin)


@conv.cost
def cost_of_conv(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    **attributes: Any,
) -> Cost:
    """x with its padding, the weights laid out again, the result, and blocks of columns."""
    axes = window_axes(x.shape[2:], w.shape[2:], **attributes)
    work = working_dtype(w.dtype)
    windows = size(axis.windows for axis in axes)
    channels = (len(x), x.shape[1])
    padded_size = size((*channels, *(axis.begin + axis.size + axis.reach for axis in axes)))
    y = len(x) * len(w) * windows
    if is_pointwise(axes):  # gathered at once, where strides leave gaps
        padded_size += size((*channels, windows))
    elif padded_size == x.size:
        padded_size = cast_copies(work, x) // work.itemsize
    depth = w.shape[1] * size(w.shape[2:]) * max(1, group)
    if group > 1 and 1 < len(w) // group <= 8 and w.shape[1] == 1:
        y *= 2  # depthwise: brought into the order of the result
    memory = work.itemsize * (padded_size + y + 2 * w.size + depth) + BLOCK
    memory += 0 if x.dtype == work else x.itemsize * y
    # a product of few rows or columns runs at the speed of memory
    macs = y * w.shape[1] * size(w.shape[2:])
    work_ns = (
        multiply_adds(macs, work) + 4 * len(x) * depth * windows + 20 * (y + padded_size + w.size)
    )
    blocks = 1 + work.itemsize * len(x) * depth * windows // BLOCK
    return Cost(memory, work_ns + 10 * PER_CALL * (blocks + len(x)))


@conv.bind
def bind_conv_of_varying_weights(space, x, w, b=None, *, group=1, kernel_shape=None, **windows):
    """Weights that are constant are prepared, and bound then."""
    from onnxwalk.ops.fast import conv_gradients as fast  # where it is needed: in training

    if x.ndim != w.ndim or x.ndim < 3 or x.shape[1] != w.shape[1] * group:
        return None
    check_weights(w, kernel_shape)
    check_bias(b, len(w))
    axes = window_axes(x.shape[2:], w.shape[2:], **windows)
    if not fast.is_supported(axes, group, x, w, b):
        return None
    return fast.bind_varying_conv(space, x, w, b, axes)


def shape_of_conv(
    x: np.ndarray,
    w: np.ndarray,
    *,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    **windows: Any,
) -> tuple[int, ...]:
    """(N, M, O1 … On), from the inputs and attributes of ``conv``."""
    axes = window_axes(x.shape[2:], w.shape[2:], **windows)
    return (len(x), len(w), *(axis.windows for axis in axes))


def _has_equal_filters(w: np.ndarray, b: np.ndarray | None) -> bool:
    """Whether all filters are equal.

    Their results must be, too, and BLAS may round the columns of a product differently: a softmax
    over logits of 1e10 turns that into other probabilities.
    """
    if len(w) < 2 or not np.array_equal(w[0], w[-1]) or not (w == w[:1]).all():
        return False
    return b is None or bool((b == b[0]).all())


def convolve(x: np.ndarray, w: np.ndarray, axes: Sequence[Axis], group: int) -> np.ndarray:
    """Conv with these windows, without a bias."""
    compute, layout = _choose_formulation(x, w, axes, group)
    return compute(x, layout(w, group), None, axes, w.dtype)


def _choose_formulation(
    x: np.ndarray, w: np.ndarray, axes: Sequence[Axis], group: int
) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    """The fastest formulation for these shapes, and the function that lays out its weights."""
    per_group, multiplier = w.shape[1], w.shape[0] // group
    if group > 1 and per_group == 1 and 1 <= multiplier <= 8:
        return _depthwise, _weights_depthwise
    if not is_channels_last(x) or group > 1:
        return _planar, _weights_planar
    if per_group < 16 and not is_pointwise(axes):  # short runs are slow to gather
        return _planar_to_channels_last, _weights_channels_last
    return _channels_last, _weights_channels_last


def _weights_channels_last(w: np.ndarray, group: int) -> np.ndarray:
    """(M, C, K…) as (K * C, M); there is one group."""
    w = np.moveaxis(w, (0, 1), (-1, -2))
    return np.ascontiguousarray(w).reshape(math.prod(w.shape[:-1]), w.shape[-1])


def _weights_planar(w: np.ndarray, group: int) -> np.ndarray:
    """(M, C/g, K…) as (g, M/g, C/g * K)."""
    return np.ascontiguousarray(w).reshape(group, w.shape[0] // group, math.prod(w.shape[1:]))


def _weights_depthwise(w: np.ndarray, group: int) -> np.ndarray:
    """(C * multiplier, 1, K…) as (multiplier, K…, C)."""
    w = w.reshape(group, w.shape[0] // group, *w.shape[2:])
    return np.ascontiguousarray(np.moveaxis(w, 0, -1))


def _channels_last(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Sequence[Axis], work: np.dtype
) -> np.ndarray:
    """w (taps * C, M). Returns (N, M, O…), channels-last in memory."""
    depth, outputs = w.shape
    padded = pad_spatial(np.moveaxis(x, 1, -1), axes, 1, work)
    windows = window_view(padded, axes, 1)  # (N, O…, K…, C)
    y = np.empty((len(x), *(axis.windows for axis in axes), outputs), work)
    gather = _make_gather(work)
    for block in blocks(y.shape[:-1], _windows_per_block(axes, depth * y.itemsize)):
        rows = y[block].reshape(math.prod(y[block].shape[:-1]), outputs)
        products.matmul(gather(windows[block], (len(rows), depth)), w, out=rows)
        if b is not None:
            rows += b
    return np.moveaxis(y, -1, 1)


def _planar_to_channels_last(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Sequence[Axis], work: np.dtype
) -> np.ndarray:
    """Planar columns for an input of few channels, a channels-last result; w as _channels_last."""
    depth, outputs = w.shape
    rank, places = len(axes), tuple(axis.windows for axis in axes)
    source = np.ascontiguousarray(pad_spatial(x, axes, 2, work))
    windows = np.moveaxis(window_view(source, axes, 2), range(2, 2 + rank), range(-rank, 0))
    by_tap = np.moveaxis(windows, 1, 1 + rank)  # (N, K…, C, O…)
    y = np.empty((len(x), *places, outputs), work)
    gather = _make_gather(work)
    for samples, *block in blocks((len(x), *places), _windows_per_block(axes, depth * y.itemsize)):
        block += [slice(None)] * (rank - len(block))
        here = (samples, *block)
        part = y[here].reshape(len(y[samples]), math.prod(y[here].shape[1:-1]), outputs)
        here = (samples, *[slice(None)] * (1 + rank), *block)
        columns = gather(by_tap[here], (len(part), depth, part.shape[1]))
        products.matmul(columns.swapaxes(1, 2), w, out=part)
        if b is not None:
            part += b
    return np.moveaxis(y, -1, 1)


def _planar(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Sequence[Axis], work: np.dtype
) -> np.ndarray:
    """w (g, M/g, C/g * taps). Returns (N, M, O…), contiguous."""
    group, outputs, depth = w.shape
    rank, places = len(axes), tuple(axis.windows for axis in axes)
    windows = window_view(pad_spatial(x, axes, 2, work), axes, 2)  # (N, C, O…, K…)
    windows = np.moveaxis(windows, range(2, 2 + rank), range(-rank, 0))  # (N, C, K…, O…)
    y = np.empty((len(x), group, outputs, *places), work)
    gather = _make_gather(work)
    limit = _windows_per_block(axes, group * depth * y.itemsize)
    for samples, *block in blocks((len(x), *places), limit):
        block += [slice(None)] * (rank - len(block))
        here = (samples, slice(None), slice(None), *block)
        part = y[here].reshape(len(y[samples]), group, outputs, math.prod(y[here].shape[3:]))
        here = (samples, *[slice(None)] * (1 + rank), *block)
        products.matmul(
            w, gather(windows[here], (len(part), group, depth, part.shape[-1])), out=part
        )
        if b is not None:
            part += b.reshape(group, outputs, 1)
    return y.reshape(len(x), group * outputs, *places)


def _windows_per_block(axes: Sequence[Axis], nbytes: int) -> int:
    """How many windows of ``nbytes`` each to gather at a time."""
    if is_pointwise(axes):
        return sys.maxsize  # nothing to gather
    return max(1, BLOCK_BYTES // max(1, nbytes))


def _make_gather(dtype: np.dtype) -> Callable[[np.ndarray, tuple[int, ...]], np.ndarray]:
    """A reshape that, where it must copy, reuses one buffer, since a fresh one is slow."""
    buffer = np.empty(0, dtype)

    def gather(windows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        nonlocal buffer
        if windows.flags.c_contiguous:
            return windows.reshape(shape)
        if buffer.size < windows.size:
            buffer = np.empty(windows.size, dtype)
        columns = buffer[: windows.size]
        np.copyto(columns.reshape(windows.shape), windows)
        return columns.reshape(shape)

    return gather


def _depthwise(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Sequence[Axis], work: np.dtype
) -> np.ndarray:
    """w (multiplier, K…, C): ``multiplier`` filters for each channel. Returns (N, M, O…).

    The last spatial axis and the channels are neighbours in memory, so that at stride 1 each tap
    sees several windows side by side as one long run; the weights are repeated to match.
    """
    multiplier, channels = w.shape[0], w.shape[-1]
    y = np.empty((multiplier, len(x), *(axis.windows for axis in axes), channels), work)
    for block, stripe, within in stripes(np.moveaxis(x, 1, -1), axes, work):
        count = _windows_per_run(within[-1], channels)
        runs, names = _join_windows(window_view(stripe, within, 1), count)
        for filters, result in zip(w, y, strict=True):
            sums = result[block].reshape(*runs.shape[: 1 + len(axes)], runs.shape[-1])
            np.einsum(runs, names[0], np.tile(filters, count), names[1], names[2], out=sums)
    y = np.moveaxis(y, 0, -1).reshape(*y.shape[1:-1], channels * multiplier)
    if b is not None:
        y += b
    return np.moveaxis(y, -1, 1)


def _join_windows(windows: np.ndarray, count: int) -> tuple[np.ndarray, tuple[list[int], ...]]:
    """``count`` windows side by side as one: (N, O…, K…, C) as (N, O… / count, K…, count * C).

    Also the names of the axes for einsum: of this, of the weights, of their sums.
    """
    rank = (windows.ndim - 2) // 2
    shape, strides = list(windows.shape), list(windows.strides)
    shape[rank], strides[rank] = shape[rank] // count, strides[rank] * count
    shape[-1] *= count
    names = list(range(windows.ndim))
    kept, taps = names[: 1 + rank], names[1 + rank :]
    runs = as_strided(windows, shape, strides, writeable=False)
    return runs, (names, taps, [*kept, names[-1]])


def _windows_per_run(axis: Axis, channels: int) -> int:
    """The number of neighbouring windows to process as one run: a divisor of their number."""
    if axis.stride > 1 or axis.windows == 0:
        return 1
    most = max(1, min(axis.windows, 2048 // channels))
    return next(count for count in range(most, 0, -1) if axis.windows % count == 0)


def check_weights(w: np.ndarray, kernel_shape: Sequence[int] | None) -> tuple[int, ...]:
    """The kernel's shape, which the attribute may repeat."""
    if w.ndim < 3:
        raise ValueError(f"weights {w.shape} should have at least one spatial axis")
    kernel = w.shape[2:]
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise ValueError(f"kernel_shape {list(kernel_shape)} does not match weights {w.shape}")
    return kernel


def check_types(x: np.ndarray, w: np.ndarray) -> None:
    if x.dtype != w.dtype:
        raise ValueError(f"input ({x.dtype}) and weights ({w.dtype}) differ in type")


def check_bias(b: np.ndarray | None, channels: int) -> None:
    if b is not None and b.shape != (channels,):
        raise ValueError(f"bias {b.shape} should be ({channels},), one for each output channel")


conv.flops(flops.convolution)
conv.batch_axis(batch.first_axis)
conv.choices(AUTO_PAD)
conv.lays_out("w")
