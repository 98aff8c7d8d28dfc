"""Transposed convolution: ConvTranspose, the way back through a Conv's windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.conv import check_bias, check_types, check_weights, convolve
from onnxwalk.ops.ai_onnx.conv_gradients import (
    correlate_windows,
    cost_of_gradients,
    sum_by_channel,
)
from onnxwalk.ops.contract.cost import BLOCK, Cost, size
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast.conv_transpose import Phases, bind_conv_transpose
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, cast_copies, multiply_adds, reshape_bytes
from onnxwalk.ops.shared.windows import (
    AUTO_PAD,
    Axis,
    explicit_pads,
    is_channels_last,
    per_axis,
    split_pads,
    working_dtype,
)


def transposed_axes(
    spatial: Sequence[int],
    kernel: Sequence[int],
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> list[Axis]:
    """The axes of the convolution that this is the transpose of: its windows are our input."""
    rank = len(spatial)
    strides = per_axis("strides", strides, rank, default=1, least=1)
    dilations = per_axis("dilations", dilations, rank, default=1, least=1)
    extra = per_axis("output_padding", output_padding, rank, default=0, least=0)
    explicit = explicit_pads(pads, rank, auto_pad)
    if output_shape is not None and len(output_shape) == rank + 2:
        output_shape = output_shape[2:]  # some exporters include batch and channels
    sizes = per_axis("output_shape", output_shape, rank, default=0, least=0)
    axes = []
    for i, length in enumerate(spatial):
        if extra[i] >= max(strides[i], dilations[i]):
            raise ValueError(
                f"output_padding {list(extra)} should be less than strides {list(strides)} "
                f"or dilations {list(dilations)}"
            )
        full = strides[i] * (length - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        if output_shape:
            out = sizes[i]
        elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            out = length * strides[i]
        else:
            out = full - sum(explicit[i])
            if out < 0:
                raise ValueError(f"pads {pads} exceed the unpadded output {full} of axis {i}")
            axes.append(Axis(out, kernel[i], strides[i], dilations[i], *explicit[i], length))
            continue
        # If the output is larger than the full one, the rest is added at the end.
        begin, end = split_pads(full - out, auto_pad)
        axes.append(Axis(out, kernel[i], strides[i], dilations[i], begin, end, length))
    return axes


@op("ConvTranspose", since=11)
@attributes_of(transposed_axes)
def conv_transpose(x, w, b=None, *, group=1, kernel_shape=None, **windows):
    """y[n, m, o * stride + k * dilation - pad] += x[n, c, o] * w[c, m, k], and b[m] once

    x (N, C, D1 … Dn), w (C, M / group, K1 … Kn), b (M); y (N, M, O1 … On) with

        O = stride * (D - 1) + output_padding + (K - 1) * dilation + 1 - pad_begin - pad_end

    or O = output_shape, or O = D * stride (auto_pad SAME_UPPER, SAME_LOWER), from which the pads
    follow; an odd one goes behind for SAME_UPPER and in front otherwise.

    Spec: ConvTranspose-11, ConvTranspose-22 (bfloat16).
    """
    return prepare_conv_transpose(w, b, group=group, kernel_shape=kernel_shape, **windows)(x)


@op("ConvTranspose", since=1, until=11)
@attributes_of(conv_transpose)
def conv_transpose_1(x, w, b=None, **attributes):
    """ConvTranspose whose pads, when output_shape is given, have the odd one on the other side.

    In front for SAME_UPPER, behind otherwise. Without output_shape this is ConvTranspose-11.

    Spec: ConvTranspose-1.
    """
    return prepare_conv_transpose_1(w, b, **attributes)(x)


@conv_transpose.vjp
def vjp_of_conv_transpose(dy, x, w, *, x_shape, w_shape, group, kernel_shape, wanted, **windows):
    """The convolution that this is the transpose of, and its gradient by the weights."""
    axes = transposed_axes(x_shape[2:], w_shape[2:], **windows)
    dx = convolve(dy, w, axes, group) if wanted[0] else None
    dw = correlate_windows(dy, x, axes, group) if wanted[1] else None
    return dx, dw, sum_by_channel(dy) if wanted[2] else None


@conv_transpose_1.vjp
def vjp_of_conv_transpose_1(
    dy, x, w, *, x_shape, w_shape, auto_pad, output_shape, wanted, **attributes
):
    attributes |= _windows_of_1(auto_pad, output_shape)
    return vjp_of_conv_transpose(
        dy, x, w, x_shape=x_shape, w_shape=w_shape, wanted=wanted, **attributes
    )


for _rule in (vjp_of_conv_transpose, vjp_of_conv_transpose_1):
    _rule.only_read_for(x="w", w="x")


@conv_transpose_1.prepare
def prepare_conv_transpose_1(w, b=None, *, auto_pad="NOTSET", output_shape=None, **attributes):
    """ConvTranspose-1 with known weights."""
    return prepare_conv_transpose(w, b, **_windows_of_1(auto_pad, output_shape), **attributes)


def _windows_of_1(auto_pad: str, output_shape: Sequence[int] | None) -> dict[str, Any]:
    """The attributes of ConvTranspose-11 that have the odd pad where ConvTranspose-1 has it."""
    if output_shape:
        explicit_pads(None, 0, auto_pad)  # checks auto_pad
        auto_pad = "NOTSET" if auto_pad == "SAME_UPPER" else "SAME_UPPER"
    return {"auto_pad": auto_pad, "output_shape": output_shape}


@conv_transpose.prepare
def prepare_conv_transpose(w, b=None, *, group=1, kernel_shape=None, **windows):
    """ConvTranspose with known weights, which are split by tap once."""
    kernel = check_weights(w, kernel_shape)
    if group < 1 or w.shape[0] % group:
        raise ValueError(f"{w.shape[0]} input channels don't divide into {group} groups")
    channels, outputs = w.shape[0], w.shape[1] * group
    check_bias(b, outputs)
    work = working_dtype(w.dtype)
    # (C, M/g, K…) as (taps, g, C/g, M/g)
    by_tap = w.reshape(group, channels // group, w.shape[1], -1).astype(work, copy=False)
    by_tap = np.ascontiguousarray(by_tap.transpose(3, 0, 1, 2))

    def find_axes(x):
        return transposed_axes(x.shape[2:], kernel, **windows)

    def apply(x):
        if x.ndim != w.ndim or x.shape[1] != channels:
            raise ValueError(
                f"input {x.shape} and weights {w.shape} are incompatible: "
                f"expected rank {w.ndim} and {channels} channels"
            )
        check_types(x, w)
        axes = find_axes(x)
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
                of_tap = products.matmul(source.swapaxes(2, 3), weights).swapaxes(2, 3)
            else:
                of_tap = products.matmul(weights.swapaxes(1, 2), source)
            of_tap = of_tap.reshape(len(x), outputs, *x.shape[2:])
            windows: Any = (..., *(window for window, _ in taps))
            places: Any = (..., *(place for _, place in taps))
            y[places] += of_tap[windows]
        return y.astype(x.dtype, copy=False)

    phases = Phases(w)

    def bind(space, x):
        if x.ndim != w.ndim or x.shape[1] != channels or group > 1:
            return None
        return bind_conv_transpose(space, x, phases, find_axes(x), b)

    return with_bind(apply, bind)


@conv_transpose.cost
@conv_transpose_1.cost
def cost_of_conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    **windows: Any,
) -> Cost:
    """The result, the products of one tap, twice, and the weights by tap. The result counts twice
    because the bound form computes all taps of a part of the result together."""
    axes = transposed_axes(x.shape[2:], w.shape[2:], **windows)
    work = working_dtype(w.dtype)
    outputs = w.shape[1] * group
    y = len(x) * outputs * size(axis.size for axis in axes)
    products_of_tap = len(x) * outputs * size(x.shape[2:])
    taps = size(w.shape[2:])
    memory = work.itemsize * (2 * y + 2 * products_of_tap + 2 * w.size)
    memory += cast_copies(work, x) + reshape_bytes(x) + 2 * PER_ARRAY * sum(w.shape[2:])
    memory += 0 if x.dtype == work else x.itemsize * y
    macs = x.size * w.shape[1] * taps
    work_ns = multiply_adds(macs, work) + 20 * (taps * products_of_tap + y) + 10 * (x.size + w.size)
    return Cost(memory, work_ns + 10 * PER_CALL * taps * len(x))


@vjp_of_conv_transpose.cost
def cost_of_vjp_of_conv_transpose(dy, *_, x_shape, w_shape, group, kernel_shape, wanted, **windows):
    axes = transposed_axes(x_shape[2:], w_shape[2:], **windows)
    cost = cost_of_gradients(dy.shape, x_shape, w_shape, dy.dtype, group, axes)
    return Cost(cost.memory + BLOCK, cost.work)


@vjp_of_conv_transpose_1.cost
def cost_of_vjp_of_conv_transpose_1(dy, *others, auto_pad, output_shape, **attributes):
    windows = _windows_of_1(auto_pad, output_shape)
    return cost_of_vjp_of_conv_transpose(dy, *others, **windows, **attributes)


@conv_transpose.flops
@conv_transpose_1.flops
def flops_of_conv_transpose(outputs, x, w, *others, **_):
    """Each input is multiplied by a kernel for each channel of its group's outputs."""
    return 2 * x.size * math.prod(w.shape[1:])


declare(conv_transpose, conv_transpose_1, choices=AUTO_PAD, lays_out="w")
