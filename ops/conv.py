"""Convolutions: Conv, ConvTranspose, ConvInteger, QLinearConv.

Two formulations of Conv, both a GEMM on columns gathered block by block (im2col):

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
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ops._windows import (
    BLOCK_BYTES,
    Axis,
    axes_of,
    blocks,
    explicit_pads,
    is_channels_last,
    is_pointwise,
    padded,
    per_axis,
    split_pads,
    stripes,
    windows_of,
    working_dtype,
)
from ops.registry import op


@op("Conv", since=1)
def conv(
    x,
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    """y[n, m, o] = b[m] + sum over c, k of x[n, c, o * stride + k * dilation - pad] * w[m, c, k]

    x (N, C, D1 … Dn), w (M, C / group, K1 … Kn), b (M); y (N, M, O1 … On). Output channels are
    split into ``group`` equal parts, each of which sees its own part of the input channels.
    float16 and bfloat16 are added up in float32.

    Spec: Conv-1, Conv-11 (strides and dilations default to 1), Conv-22 (bfloat16).
    """
    return prepare_conv(
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )(x)


@conv.prepare
def prepare_conv(
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    """Conv with known weights, which are laid out for the GEMM once (per layout of the input)."""
    kernel = _check_weights(w, kernel_shape)
    if group < 1 or w.shape[0] % group:
        raise ValueError(f"{w.shape[0]} output channels don't divide into {group} groups")
    _check_bias(b, w.shape[0])
    work = working_dtype(w.dtype)
    if b is not None:
        b = b.astype(work, copy=False)

    @functools.cache
    def laid_out(layout: Callable[..., Any]) -> np.ndarray:
        return layout(w.astype(work, copy=False), group)

    def apply(x):
        if x.ndim != w.ndim or x.shape[1] != w.shape[1] * group:
            raise ValueError(
                f"input {x.shape} and weights {w.shape} don't fit: "
                f"expected rank {w.ndim} and {w.shape[1]} * {group} channels"
            )
        _check_types(x, w)
        axes = axes_of(
            x.shape[2:],
            kernel,
            strides=strides,
            dilations=dilations,
            pads=pads,
            auto_pad=auto_pad,
        )
        compute, layout = _formulation(x, w, axes, group)
        return compute(x, laid_out(layout), b, axes, work).astype(x.dtype, copy=False)

    return apply


def _formulation(
    x: np.ndarray, w: np.ndarray, axes: Sequence[Axis], group: int
) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    """The fastest way for these shapes, and the layout of the weights that it wants."""
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
    windows = windows_of(padded(np.moveaxis(x, 1, -1), axes, 1, work), axes, 1)  # (N, O…, K…, C)
    y = np.empty((len(x), *(axis.windows for axis in axes), outputs), work)
    gather = _gatherer(work)
    for block in blocks(y.shape[:-1], _windows_per_block(axes, depth * y.itemsize)):
        rows = y[block].reshape(-1, outputs)
        np.matmul(gather(windows[block], (len(rows), depth)), w, out=rows)
        if b is not None:
            rows += b
    return np.moveaxis(y, -1, 1)


def _planar_to_channels_last(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Sequence[Axis], work: np.dtype
) -> np.ndarray:
    """Planar columns for an input of few channels, a channels-last result; w as _channels_last."""
    depth, outputs = w.shape
    rank, places = len(axes), tuple(axis.windows for axis in axes)
    source = np.ascontiguousarray(padded(x, axes, 2, work))
    windows = np.moveaxis(windows_of(source, axes, 2), range(2, 2 + rank), range(-rank, 0))
    by_tap = np.moveaxis(windows, 1, 1 + rank)  # (N, K…, C, O…)
    y = np.empty((len(x), *places, outputs), work)
    gather = _gatherer(work)
    for samples, *block in blocks((len(x), *places), _windows_per_block(axes, depth * y.itemsize)):
        block += [slice(None)] * (rank - len(block))
        here = (samples, *block)
        part = y[here].reshape(len(y[samples]), -1, outputs)
        here = (samples, *[slice(None)] * (1 + rank), *block)
        columns = gather(by_tap[here], (len(part), depth, part.shape[1]))
        np.matmul(columns.swapaxes(1, 2), w, out=part)
        if b is not None:
            part += b
    return np.moveaxis(y, -1, 1)


def _planar(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Sequence[Axis], work: np.dtype
) -> np.ndarray:
    """w (g, M/g, C/g * taps). Returns (N, M, O…), contiguous."""
    group, outputs, depth = w.shape
    rank, places = len(axes), tuple(axis.windows for axis in axes)
    windows = windows_of(padded(x, axes, 2, work), axes, 2)  # (N, C, O…, K…)
    windows = np.moveaxis(windows, range(2, 2 + rank), range(-rank, 0))  # (N, C, K…, O…)
    y = np.empty((len(x), group, outputs, *places), work)
    gather = _gatherer(work)
    limit = _windows_per_block(axes, group * depth * y.itemsize)
    for samples, *block in blocks((len(x), *places), limit):
        block += [slice(None)] * (rank - len(block))
        here = (samples, slice(None), slice(None), *block)
        part = y[here].reshape(len(y[samples]), group, outputs, -1)
        here = (samples, *[slice(None)] * (1 + rank), *block)
        np.matmul(w, gather(windows[here], (len(part), group, depth, part.shape[-1])), out=part)
        if b is not None:
            part += b.reshape(group, outputs, 1)
    return y.reshape(len(x), group * outputs, *places)


def _windows_per_block(axes: Sequence[Axis], nbytes: int) -> int:
    """How many windows of ``nbytes`` each to gather at a time."""
    if is_pointwise(axes):
        return sys.maxsize  # nothing to gather
    return max(1, BLOCK_BYTES // max(1, nbytes))


def _gatherer(dtype: np.dtype) -> Callable[[np.ndarray, tuple[int, ...]], np.ndarray]:
    """A reshape that copies, if it must, into the same buffer each time (a fresh one is slow)."""
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
        count = _side_by_side(within[-1], channels)
        runs, names = _runs(windows_of(stripe, within, 1), count)
        for filters, result in zip(w, y, strict=True):
            sums = result[block].reshape(*runs.shape[: 1 + len(axes)], runs.shape[-1])
            np.einsum(runs, names[0], np.tile(filters, count), names[1], names[2], out=sums)
    y = np.moveaxis(y, 0, -1).reshape(*y.shape[1:-1], channels * multiplier)
    if b is not None:
        y += b
    return np.moveaxis(y, -1, 1)


def _runs(windows: np.ndarray, count: int) -> tuple[np.ndarray, tuple[list[int], ...]]:
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


def _side_by_side(axis: Axis, channels: int) -> int:
    """How many neighbouring windows to take as one run: a divisor of their number."""
    if axis.stride > 1 or axis.windows == 0:
        return 1
    most = max(1, min(axis.windows, 2048 // channels))
    return next(count for count in range(most, 0, -1) if axis.windows % count == 0)


def _check_weights(w: np.ndarray, kernel_shape: Sequence[int] | None) -> tuple[int, ...]:
    """The kernel's shape, which the attribute may repeat."""
    if w.ndim < 3:
        raise ValueError(f"weights {w.shape} should have at least one spatial axis")
    kernel = w.shape[2:]
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise ValueError(f"kernel_shape {list(kernel_shape)} disagrees with weights {w.shape}")
    return kernel


def _check_types(x: np.ndarray, w: np.ndarray) -> None:
    if x.dtype != w.dtype:
        raise ValueError(f"input of {x.dtype} and weights of {w.dtype} should be of one type")


def _check_bias(b: np.ndarray | None, channels: int) -> None:
    if b is not None and b.shape != (channels,):
        raise ValueError(f"bias {b.shape} should be ({channels},), one for each output channel")


@op("ConvTranspose", since=11)
def conv_transpose(
    x,
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    output_padding=None,
    output_shape=None,
    pads=None,
    strides=None,
):
    """y[n, m, o * stride + k * dilation - pad] += x[n, c, o] * w[c, m, k], and b[m] once

    x (N, C, D1 … Dn), w (C, M / group, K1 … Kn), b (M); y (N, M, O1 … On) with

        O = stride * (D - 1) + output_padding + (K - 1) * dilation + 1 - pad_begin - pad_end

    or O = output_shape, or O = D * stride (auto_pad SAME_UPPER, SAME_LOWER), from which the pads
    follow; an odd one goes behind for SAME_UPPER and in front otherwise.

    Spec: ConvTranspose-11, ConvTranspose-22 (bfloat16).
    """
    return prepare_conv_transpose(
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        output_padding=output_padding,
        output_shape=output_shape,
        pads=pads,
        strides=strides,
    )(x)


@op("ConvTranspose", since=1, until=11)
def conv_transpose_1(
    x,
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    output_padding=None,
    output_shape=None,
    pads=None,
    strides=None,
):
    """ConvTranspose whose pads, when output_shape is given, have the odd one on the other side.

    In front for SAME_UPPER, behind otherwise. Without output_shape this is ConvTranspose-11.

    Spec: ConvTranspose-1.
    """
    return prepare_conv_transpose_1(
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        output_padding=output_padding,
        output_shape=output_shape,
        pads=pads,
        strides=strides,
    )(x)


@conv_transpose_1.prepare
def prepare_conv_transpose_1(
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    output_padding=None,
    output_shape=None,
    pads=None,
    strides=None,
):
    """ConvTranspose-1 with known weights."""
    if output_shape:
        auto_pad = "NOTSET" if auto_pad == "SAME_UPPER" else "SAME_UPPER"
    return prepare_conv_transpose(
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        output_padding=output_padding,
        output_shape=output_shape,
        pads=pads,
        strides=strides,
    )


@conv_transpose.prepare
def prepare_conv_transpose(
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    output_padding=None,
    output_shape=None,
    pads=None,
    strides=None,
):
    """ConvTranspose with known weights, which are split by tap once."""
    kernel = _check_weights(w, kernel_shape)
    if group < 1 or w.shape[0] % group:
        raise ValueError(f"{w.shape[0]} input channels don't divide into {group} groups")
    channels, outputs = w.shape[0], w.shape[1] * group
    _check_bias(b, outputs)
    work = working_dtype(w.dtype)
    # (C, M/g, K…) as (taps, g, C/g, M/g)
    by_tap = w.reshape(group, channels // group, w.shape[1], -1).astype(work, copy=False)
    by_tap = np.ascontiguousarray(by_tap.transpose(3, 0, 1, 2))

    def apply(x):
        if x.ndim != w.ndim or x.shape[1] != channels:
            raise ValueError(
                f"input {x.shape} and weights {w.shape} don't fit: "
                f"expected rank {w.ndim} and {channels} channels"
            )
        _check_types(x, w)
        axes = _transposed_axes(
            x.shape[2:], kernel, strides, dilations, pads, auto_pad, output_padding, output_shape
        )
        # Tap by tap: one GEMM over all places, added where that tap of each window lies.
        # The memory of x decides whether the products are (…, places, M/g) or (…, M/g, places).
        last = is_channels_last(x)
        source = x.astype(work, copy=False)
        source = source.reshape(len(x), group, channels // group, math.prod(x.shape[2:]))
        y = np.empty((len(x), *(axis.size for axis in axes), outputs), work)
        y = np.moveaxis(y, -1, 1) if last else y.reshape(len(x), outputs, *y.shape[1:-1])
        y[...] = 0 if b is None else b.reshape(-1, *[1] * len(axes))
        for weights, taps in zip(by_tap, product(*(axis.taps() for axis in axes)), strict=True):
            if last:
                products = np.matmul(source.swapaxes(2, 3), weights).swapaxes(2, 3)
            else:
                products = np.matmul(weights.swapaxes(1, 2), source)
            products = products.reshape(len(x), outputs, *x.shape[2:])
            windows = (..., *(window for window, _ in taps))
            places = (..., *(place for _, place in taps))
            y[places] += products[windows]
        return y.astype(x.dtype, copy=False)

    return apply


def _transposed_axes(
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
    output_padding: Sequence[int] | None,
    output_shape: Sequence[int] | None,
) -> list[Axis]:
    """The axes of the convolution that this is the transpose of: its windows are our input."""
    rank = len(spatial)
    strides = per_axis("strides", strides, rank, default=1, least=1)
    dilations = per_axis("dilations", dilations, rank, default=1, least=1)
    extra = per_axis("output_padding", output_padding, rank, default=0, least=0)
    explicit = explicit_pads(pads, rank, auto_pad)
    if output_shape is not None and len(output_shape) == rank + 2:
        output_shape = output_shape[2:]  # some exporters include batch and channels
    wanted = per_axis("output_shape", output_shape, rank, default=0, least=0)
    axes = []
    for i, size in enumerate(spatial):
        if extra[i] >= max(strides[i], dilations[i]):
            raise ValueError(
                f"output_padding {list(extra)} should be less than strides {list(strides)} "
                f"or dilations {list(dilations)}"
            )
        full = strides[i] * (size - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        if output_shape:
            out = wanted[i]
        elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            out = size * strides[i]
        else:
            out = full - sum(explicit[i])
            if out < 0:
                raise ValueError(f"pads {pads} exceed the full output {full} of axis {i}")
            axes.append(Axis(out, kernel[i], strides[i], dilations[i], *explicit[i], size))
            continue
        # A larger output than the full one gets what is missing behind.
        begin, end = split_pads(full - out, auto_pad)
        axes.append(Axis(out, kernel[i], strides[i], dilations[i], begin, end, size))
    return axes


@op("ConvInteger", since=10)
def conv_integer(
    x,
    w,
    x_zero_point=None,
    w_zero_point=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    """Conv of x - x_zero_point and w - w_zero_point, added up in int32

    x and w int8 or uint8; x_zero_point one value, w_zero_point one value or one for each output
    channel; y int32. Padding counts as x_zero_point.

    Spec: ConvInteger-10.
    """
    # The sums are exact in float64 (a product takes 17 bits), where there is a fast GEMM.
    shifted_x = x.astype(np.float64) - _one_value("x_zero_point", x_zero_point)
    shifted_w = w.astype(np.float64) - _per_channel("w_zero_point", w_zero_point, w)
    sums = conv(
        shifted_x,
        shifted_w,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return sums.astype(np.int64).astype(np.int32)  # wraps around, as 32-bit accumulation does


@op("QLinearConv", since=10)
def q_linear_conv(
    x,
    x_scale,
    x_zero_point,
    w,
    w_scale,
    w_zero_point,
    y_scale,
    y_zero_point,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    """saturate(round((ConvInteger(x, w) + b) * x_scale * w_scale / y_scale) + y_zero_point)

    x, w and y int8 or uint8, b int32 (M); w_scale and w_zero_point one value or one for each
    output channel. Rounds half to even.

    Spec: QLinearConv-10.
    """
    sums = conv_integer(
        x,
        w,
        x_zero_point,
        w_zero_point,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    per_channel = (-1, *[1] * (w.ndim - 2))
    if b is not None:
        _check_bias(b, w.shape[0])
        sums = sums + b.reshape(per_channel)
    scale = _per_channel("w_scale", w_scale, w)
    scale = scale.reshape(per_channel) if scale.ndim else scale
    scale = _one_value("x_scale", x_scale) * scale / _one_value("y_scale", y_scale)
    # In float32, as ONNX Runtime does: a sum halfway between two steps rounds the same.
    y = np.rint(sums.astype(np.float32) * scale.astype(np.float32))
    limits = np.iinfo(y_zero_point.dtype)
    y = y + _one_value("y_zero_point", y_zero_point)
    return np.clip(y, limits.min, limits.max).astype(y_zero_point.dtype)


def _one_value(name: str, value: np.ndarray | None) -> np.ndarray:
    """A scalar, which may come as a tensor of one element."""
    if value is None:
        return np.array(0.0)
    if value.size != 1:
        raise ValueError(f"{name} {value.shape} should be a scalar")
    return value.reshape(()).astype(np.float64)


def _per_channel(name: str, value: np.ndarray | None, w: np.ndarray) -> np.ndarray:
    """A scalar, or one value for each output channel shaped to go with the weights."""
    if value is None or value.size == 1:
        return _one_value(name, value)
    if value.shape != (w.shape[0],):
        raise ValueError(f"{name} {value.shape} should be a scalar or ({w.shape[0]},)")
    return value.astype(np.float64).reshape(-1, *[1] * (w.ndim - 1))
