"""Quantized operators: convolutions of integers with zero points and scales."""

from __future__ import annotations

import numpy as np

from ops.conv import check_bias, conv
from ops.registry import op


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
        check_bias(b, w.shape[0])
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
