"""QLinear…: operators whose tensors are quantized, each with a scale and zero point for the whole.

    y = quantize(f(dequantize(x)))

with dequantize(x) = (x - zero_point)·scale and quantize(v) = saturate(round(v / scale)
+ zero_point), halves to even; int8 or uint8. A zero point that is missing is 0. ONNX Runtime
computes the same in another order of float32, so that a value within rounding of halfway between
two steps may come out one step away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation, pool, quantize
from onnxwalk.ops.ai_onnx.joining import concatenate
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost, broadcast, size
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.axes import normalize_axes
from onnxwalk.ops.shared.numeric import saturating_cast


@op("QLinearAdd", since=1, domain=DOMAIN, optional=["A_zero_point", "B_zero_point"])
def q_linear_add(A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point=None):
    """quantize(dequantize(A) + dequantize(B)), broadcasting; rounds after adding the zero point

    Source: com.microsoft.QLinearAdd-1, ONNX Runtime 1.32.
    """
    return _binary(
        np.add, A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point
    )


@op("QLinearMul", since=1, domain=DOMAIN, optional=["A_zero_point", "B_zero_point"])
def q_linear_mul(A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point=None):
    """quantize(dequantize(A)·dequantize(B)), broadcasting; rounds after adding the zero point

    Source: com.microsoft.QLinearMul-1, ONNX Runtime 1.32.
    """
    return _binary(
        np.multiply, A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point
    )


def _binary(function, a, a_scale, a_zero_point, b, b_scale, b_zero_point, scale, zero_point):
    """In float64, where sums and products of two scaled bytes are exact but for the quotient."""
    if a.dtype != b.dtype:
        raise ValueError(f"A is {a.dtype} and B is {b.dtype}")
    x = _real(a, a_scale, a_zero_point, np.float64)
    y = _real(b, b_scale, b_zero_point, np.float64)
    return _quantized_at_once(function(x, y), scale, zero_point, a.dtype)


def _quantized_at_once(
    y: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, dtype: np.dtype
) -> np.ndarray:
    """saturate(round(y / scale + zero_point)): with an odd zero point, halves go to the other of
    their neighbours than in ``quantize``."""
    steps = y / y.dtype.type(_one("scale", scale)) + y.dtype.type(_zero(zero_point, dtype))
    return saturating_cast(np.rint(steps), dtype)


# ---------------------------------------------------------------------------------- elementwise


@op("QLinearLeakyRelu", since=1, domain=DOMAIN, optional=["X_zero_point"])
def q_linear_leaky_relu(
    X, X_scale, X_zero_point, Y_scale, Y_zero_point=None, *, alpha=0.009999999776482582
):
    """quantize(LeakyRelu(dequantize(X))). Source: com.microsoft.QLinearLeakyRelu-1."""
    y = activation.leaky_relu(_real(X, X_scale, X_zero_point), alpha=alpha)
    return _quantized(y, Y_scale, Y_zero_point, X.dtype)


@op("QLinearSigmoid", since=1, domain=DOMAIN, optional=["X_zero_point"])
def q_linear_sigmoid(X, X_scale, X_zero_point, Y_scale, Y_zero_point=None):
    """quantize(Sigmoid(dequantize(X))). Source: com.microsoft.QLinearSigmoid-1."""
    y = activation.sigmoid(_real(X, X_scale, X_zero_point))
    return _quantized(y, Y_scale, Y_zero_point, X.dtype)


@op("QLinearSoftmax", since=1, domain=DOMAIN, optional=["x_zero_point"])
def q_linear_softmax(X, X_scale, x_zero_point, y_scale, y_zero_point, *, axis=-1, opset):
    """quantize(Softmax(dequantize(X))), the Softmax of that opset: flattening before 13

    Source: com.microsoft.QLinearSoftmax-1, ONNX Runtime 1.32.
    """
    softmax = activation.softmax if opset >= 13 else activation.softmax_flattened
    y = softmax(_real(X, X_scale, x_zero_point, np.float64), axis=axis)
    return _quantized(y, y_scale, y_zero_point, X.dtype)


@op("QLinearWhere", since=1, domain=DOMAIN)
def q_linear_where(
    condition,
    X,
    x_scale,
    x_zero_point,
    Y,
    y_scale,
    y_zero_point,
    z_scale,
    z_zero_point,
):
    """quantize(dequantize(X)) where the condition holds, elsewhere of Y; all three broadcast

    Source: com.microsoft.QLinearWhere-1, ONNX Runtime 1.32.
    """
    x = _quantized(_real(X, x_scale, x_zero_point), z_scale, z_zero_point, X.dtype)
    y = _quantized(_real(Y, y_scale, y_zero_point), z_scale, z_zero_point, Y.dtype)
    return np.where(condition, x, y)


@op("QLinearConcat", since=1, domain=DOMAIN)
def q_linear_concat(Y_scale, Y_zero_point, *inputs, axis):
    """quantize(Concat(dequantize(x0), …)) of inputs x0, scale0, zero_point0, x1, …

    Source: com.microsoft.QLinearConcat-1, ONNX Runtime 1.32.
    """
    if len(inputs) < 3 or len(inputs) % 3:
        raise ValueError(f"{len(inputs)} inputs: each tensor comes with a scale and a zero point")
    parts = [
        _quantized(_real(*inputs[i : i + 3]), Y_scale, Y_zero_point, inputs[i].dtype)
        for i in range(0, len(inputs), 3)
    ]
    return concatenate(parts, axis)


# -------------------------------------------------------------------------------------- averages


@op("QLinearAveragePool", since=1, domain=DOMAIN, optional=["x_zero_point"])
def q_linear_average_pool(
    X,
    x_scale,
    x_zero_point,
    y_scale,
    y_zero_point=None,
    *,
    auto_pad="NOTSET",
    ceil_mode=0,
    channels_last=0,
    count_include_pad=0,
    kernel_shape,
    pads=None,
    strides=None,
):
    """quantize(AveragePool(dequantize(X))); with channels_last X and Y are (N, D1 … Dn, C)

    Rounds after adding the zero point, unless the kernel is the whole image.

    Source: com.microsoft.QLinearAveragePool-1, ONNX Runtime 1.32.
    """

    def averages(x):
        return pool.average_pool(
            x,
            auto_pad=auto_pad,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            kernel_shape=kernel_shape,
            pads=pads,
            strides=strides,
        )

    image = X.shape[1:-1] if channels_last else X.shape[2:]
    y = _by_channel(averages, _real(X, x_scale, x_zero_point, np.float32), channels_last)
    quantized = _quantized if image == tuple(kernel_shape) else _quantized_at_once
    return quantized(y, y_scale, y_zero_point, X.dtype)


@op("QLinearGlobalAveragePool", since=1, domain=DOMAIN)
def q_linear_global_average_pool(
    X, x_scale, x_zero_point, y_scale, y_zero_point, *, channels_last=0
):
    """quantize(GlobalAveragePool(dequantize(X))); with channels_last X and Y are (N, D1 … Dn, C)

    Source: com.microsoft.QLinearGlobalAveragePool-1, ONNX Runtime 1.32.
    """
    x = _real(X, x_scale, x_zero_point, np.float64)
    y = _by_channel(pool.global_average_pool, x, channels_last)
    return _quantized(y, y_scale, y_zero_point, X.dtype)


@op("QLinearReduceMean", since=1, domain=DOMAIN, optional=["data_zero_point"])
def q_linear_reduce_mean(
    data,
    data_scale,
    data_zero_point,
    reduced_scale,
    reduced_zero_point=None,
    *,
    axes,
    keepdims,
):
    """quantize(the mean of dequantize(data) over ``axes``)

    Source: com.microsoft.QLinearReduceMean-1, ONNX Runtime 1.32 (which runs it on no CPU).
    """
    over = normalize_axes(axes, data.ndim)
    if not all(data.shape[axis] for axis in over):
        raise ValueError(f"the mean of no elements is undefined for {data.dtype}")
    mean = _real(data, data_scale, data_zero_point).mean(over, keepdims=bool(keepdims))
    return _quantized(np.asarray(mean), reduced_scale, reduced_zero_point, data.dtype)


# ----------------------------------------------------------------------------------- convolution


@op("QLinearConv", since=1, domain=DOMAIN)
def q_linear_conv(
    x,
    x_scale,
    x_zero_point,
    w,
    w_scale,
    w_zero_point,
    y_scale,
    y_zero_point,
    B=None,
    *,
    auto_pad="NOTSET",
    channels_last=0,
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    """QLinearConv of ONNX; with channels_last x and y are (N, D1 … Dn, C), w as ever

    Source: com.microsoft.QLinearConv-1, ONNX Runtime 1.32.
    """

    def convolved(x):
        return quantize.q_linear_conv(
            x,
            x_scale,
            x_zero_point,
            w,
            w_scale,
            w_zero_point,
            y_scale,
            y_zero_point,
            B,
            auto_pad=auto_pad,
            dilations=dilations,
            group=group,
            kernel_shape=kernel_shape,
            pads=pads,
            strides=strides,
        )

    return _by_channel(convolved, x, channels_last)


def _by_channel(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, channels_last: int
) -> np.ndarray:
    """A function of (N, C, D1 … Dn), also for (N, D1 … Dn, C)."""
    if not channels_last:
        return function(x)
    return np.moveaxis(function(np.moveaxis(x, -1, 1)), 1, -1)


def _real(
    x: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray | None,
    dtype: type[np.floating] = np.float32,
) -> np.ndarray:
    """(x - zero_point)·scale."""
    steps = x.astype(dtype) - _zero(zero_point, x.dtype).astype(dtype)
    return steps * _one("scale", scale).astype(dtype)


def _quantized(
    y: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, dtype: np.dtype
) -> np.ndarray:
    """saturate(round(y / scale) + zero_point)."""
    return quantize.quantize_linear(y, _one("scale", scale), _zero(zero_point, dtype))


def _zero(zero_point: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    if zero_point is None:
        return np.zeros((), dtype)
    if zero_point.dtype != dtype:
        raise ValueError(f"the zero point is {zero_point.dtype}, and the tensor {dtype}")
    return _one("zero point", zero_point)


def _one(name: str, value: np.ndarray) -> np.ndarray:
    """A scalar, which may come as a tensor of one element."""
    if value.size != 1:
        raise ValueError(f"{name} {value.shape} should be one value")
    return value.reshape(())


# ------------------------------------------------------------------------------------------- needs


@q_linear_add.cost
@q_linear_mul.cost
def cost_of_binary(A: np.ndarray, A_scale: Any, A_zero_point: Any, B: np.ndarray, *_: Any) -> Cost:
    """Both in double, and the result, its steps and their limits."""
    count = size(broadcast([A.shape, B.shape]))
    return Cost(16 * (A.size + B.size) + 25 * count, 400 * count + 60 * (A.size + B.size))


@q_linear_leaky_relu.cost
@q_linear_sigmoid.cost
def cost_of_one(X: np.ndarray, *_: Any, **__: Any) -> Cost:
    """Numbers in float, what is made of them, and the quotient."""
    return Cost(14 * X.size, 300 * X.size)


@q_linear_softmax.cost
def cost_of_softmax(X: np.ndarray, *_: Any, **__: Any) -> Cost:
    return Cost(32 * X.size, 400 * X.size)


@q_linear_where.cost
def cost_of_where(
    condition: np.ndarray, X: np.ndarray, x_scale: Any, x_zero_point: Any, Y: np.ndarray, *_: Any
) -> Cost:
    """Both, one after the other by way of floats, and the choice."""
    count = size(broadcast([condition.shape, X.shape, Y.shape]))
    memory = X.size + Y.size + 13 * max(X.size, Y.size) + count
    return Cost(memory, 200 * (X.size + Y.size) + 20 * count)


@q_linear_concat.cost
def cost_of_concat(Y_scale: Any, Y_zero_point: Any, *inputs: np.ndarray, **_: Any) -> Cost:
    """One after the other by way of floats; the parts, and the result."""
    tensors = inputs[::3]
    count = sum(x.size for x in tensors)
    largest = max((x.size for x in tensors), default=0)
    return Cost(2 * count + 13 * largest, 200 * count)


@q_linear_average_pool.cost
def cost_of_average_pool(X: np.ndarray, *_: Any, channels_last: int = 0, **attributes: Any) -> Cost:
    x = np.broadcast_to(np.zeros((), np.float32), X.shape)
    x = np.moveaxis(x, -1, 1) if channels_last else x
    cost = pool.cost_of_average_pool(x, **attributes)
    return Cost(2 * cost.memory + 8 * X.size, 2 * cost.work + 60 * X.size)


@q_linear_global_average_pool.cost
@q_linear_reduce_mean.cost
def cost_of_mean(X: np.ndarray, *_: Any, **__: Any) -> Cost:
    return Cost(16 * X.size, 100 * X.size)


@q_linear_conv.cost
def cost_of_q_linear_conv(
    x: np.ndarray,
    x_scale: Any,
    x_zero_point: Any,
    w: np.ndarray,
    *others: Any,
    channels_last: int = 0,
    **attributes: Any,
) -> Cost:
    image = np.moveaxis(x, -1, 1) if channels_last else x
    return quantize.cost_of_q_linear_conv(image, x_scale, x_zero_point, w, **attributes)
