"""What ONNX had in its first releases, as experimental operators, and ONNX Runtime has still: up to
opset 9, in the domain ai.onnx. Its own schemas are their source."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation, slicing
from onnxwalk.ops.contract.cost import Cost, no_cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.cost import elementwise
from onnxwalk.ops.shared.numeric import in_float32


@op("Affine", since=1, until=10)
@in_float32
def affine(X, *, alpha=1.0, beta=0.0):
    """alpha·x + beta, elementwise. Source: Affine-1 of ONNX Runtime 1.32."""
    return X * X.dtype.type(alpha) + X.dtype.type(beta)


@op("Scale", since=1, until=10)
@in_float32
def scale(input, *, scale=1.0):
    """scale·x, elementwise. Source: Scale-1 of ONNX Runtime 1.32."""
    return input * input.dtype.type(scale)


@op("ScaledTanh", since=1, until=10)
@in_float32
def scaled_tanh(input, *, alpha=None, beta=None):
    """alpha·tanh(beta·x), elementwise; both attributes are needed.

    Source: ScaledTanh-1 of ONNX Runtime 1.32.
    """
    _require(alpha=alpha, beta=beta)
    return input.dtype.type(alpha) * np.tanh(input.dtype.type(beta) * input)


@op("ParametricSoftplus", since=1, until=10)
@in_float32
def parametric_softplus(X, *, alpha=None, beta=None):
    """alpha·log(exp(beta·x) + 1), elementwise; both attributes are needed.

    Source: ParametricSoftplus-1 of ONNX Runtime 1.32.
    """
    _require(alpha=alpha, beta=beta)
    return X.dtype.type(alpha) * np.logaddexp(X.dtype.type(beta) * X, X.dtype.type(0))


@op("ImageScaler", since=1, until=10)
@in_float32
def image_scaler(input, *, bias=None, scale=1.0):
    """scale·x + bias, one bias for each channel of (N, C, H, W).

    Source: ImageScaler-1 of ONNX Runtime 1.32.
    """
    _require(bias=bias)
    if input.ndim != 4 or len(bias) != input.shape[1]:
        raise ValueError(f"input {input.shape} should be (N, C, H, W) with C = {len(bias)} biases")
    return input * input.dtype.type(scale) + np.reshape(bias, (-1, 1, 1)).astype(input.dtype)


@op("Crop", since=1, until=10)
def crop(input, *, border=None, scale=None):
    """(N, C, H, W) without its border: left, top, right, bottom

    With scale = height, width the result has that size, and the border says where it begins.

    Source: Crop-1 of ONNX Runtime 1.32.
    """
    _require(border=border)
    if input.ndim != 4 or len(border) != 4 or (scale is not None and len(scale) != 2):
        raise ValueError(
            f"input {input.shape} should be (N, C, H, W), border {border} four numbers and scale "
            f"{scale} two"
        )
    left, top, right, bottom = border
    height, width = (
        scale
        if scale is not None
        else (input.shape[2] - top - bottom, input.shape[3] - left - right)
    )
    if min(*border, height, width) < 0 or (
        top + height > input.shape[2] or left + width > input.shape[3]
    ):
        raise ValueError(f"border {border} and scale {scale} reach beyond input {input.shape}")
    return input[:, :, top : top + height, left : left + width].copy()


@op("DynamicSlice", since=1, until=10)
def dynamic_slice(data, starts, ends, axes=None):
    """data[starts[0]:ends[0], …] along ``axes``, as Slice-10 without steps.

    Source: DynamicSlice-1 of ONNX Runtime 1.32.
    """
    return slicing.slice_(data, starts, ends, axes)


def _require(**attributes: Any) -> None:
    for name, value in attributes.items():
        if value is None:
            raise ValueError(f"the attribute {name} is required")


@affine.vjp
def vjp_of_affine(dy, *, alpha):
    return dy * alpha


@scale.vjp
@image_scaler.vjp
def vjp_of_scale(dy, *, scale):
    return dy * scale


@scaled_tanh.vjp
def vjp_of_scaled_tanh(dy, input, *, alpha, beta):
    return dy * (alpha * beta) / np.square(np.cosh(beta * input))


@parametric_softplus.vjp
def vjp_of_parametric_softplus(dy, X, *, alpha, beta):
    return dy * (alpha * beta) * activation.sigmoid(beta * X)


@crop.vjp
def vjp_of_crop(dy, *, input_shape, border):
    """dy where it was cut out, 0 around it."""
    left, top, *_ = border
    dx = np.zeros(input_shape, dy.dtype)
    dx[:, :, top : top + dy.shape[2], left : left + dy.shape[3]] = dy
    return dx


dynamic_slice.vjp(slicing.vjp_of_slice)


declare(affine, scale, image_scaler, cost=elementwise(2, widened=True))
declare(scaled_tanh, parametric_softplus, cost=elementwise(3, widened=True, per_element=100))
declare(affine, scale, scaled_tanh, parametric_softplus, batch_axis=batch.elementwise)
declare(affine, image_scaler, flops=flops.per_output(2))
dynamic_slice.cost(no_cost)
declare(crop, dynamic_slice, flops=flops.zero)


@crop.cost
def cost_of_crop(input: np.ndarray, **_: Any) -> Cost:
    return Cost(input.nbytes, 5 * input.size)
