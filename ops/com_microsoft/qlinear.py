"""QLinear…: operators whose tensors are quantized, each with one scale and zero point.

    y = quantize(f(dequantize(x)))

with dequantize(x) = (x - zero_point)·scale and quantize(v) = saturate(round(v / scale)
+ zero_point), halves to even; int8 or uint8. A zero point that is missing is 0. Where ONNX Runtime
computes the same in another order of float32, a value within rounding of halfway between two steps
may come out one step away.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation, pool, quantize, softmax
from onnxwalk.ops.ai_onnx.joining import concatenate
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost, broadcast, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.shared.axes import normalize_axes
from onnxwalk.ops.shared.numeric import saturating_cast


@op("QLinearAdd", since=1, domain=DOMAIN, optional=["A_zero_point", "B_zero_point"])
def q_linear_add(A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point=None):
    """quantize(dequantize(A) + dequantize(B)), broadcasting, as

    saturate(round(A·a + (B·b + offset))), a = A_scale / C_scale, b = B_scale / C_scale,
    offset = C_zero_point - (A_zero_point·a + B_zero_point·b)

    in float32, where a product and the sum around it are rounded once.

    Source: com.microsoft.QLinearAdd-1, ONNX Runtime 1.32 on a processor with FMA, of which this has
    the bits.
    """
    _check_same_type(A, B)
    scale = _as_scalar("C_scale", C_scale)
    a, b = (_as_scalar("scale", s) / scale for s in (A_scale, B_scale))
    of_a, of_b = (
        _check_zero_point(z, A.dtype).astype(np.float32) for z in (A_zero_point, B_zero_point)
    )
    zero_point = _check_zero_point(C_zero_point, A.dtype).astype(np.float32)
    offset = zero_point - _multiply_add(of_a, a, of_b * b)
    return saturating_cast(np.rint(_multiply_add(A, a, _multiply_add(B, b, offset))), A.dtype)


@op("QLinearMul", since=1, domain=DOMAIN, optional=["A_zero_point", "B_zero_point"])
def q_linear_mul(A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point=None):
    """quantize(dequantize(A)·dequantize(B)), broadcasting, as

    saturate(round((A - A_zero_point)·(B - B_zero_point)·(A_scale·B_scale / C_scale)
    + C_zero_point)) in float32

    Source: com.microsoft.QLinearMul-1, ONNX Runtime 1.32, of which this has the bits.
    """
    _check_same_type(A, B)
    a, b = (
        x.astype(np.float32) - _check_zero_point(z, x.dtype).astype(np.float32)
        for x, z in ((A, A_zero_point), (B, B_zero_point))
    )
    factor = _as_scalar("A_scale", A_scale) * _as_scalar("B_scale", B_scale)
    steps = a * b * (factor / _as_scalar("C_scale", C_scale))
    steps = steps + _check_zero_point(C_zero_point, A.dtype).astype(np.float32)
    return saturating_cast(np.rint(steps), A.dtype)


def _check_same_type(a: np.ndarray, b: np.ndarray) -> None:
    if a.dtype != b.dtype:
        raise ValueError(f"A ({a.dtype}) and B ({b.dtype}) differ in type")


def _multiply_add(x: np.ndarray, factor: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x·factor + y in float32, rounded once, for x that are bytes: float64 holds the product."""
    return np.asarray(x * factor.astype(np.float64) + y).astype(np.float32)


def _quantize_rounding_last(
    y: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, dtype: np.dtype
) -> np.ndarray:
    """saturate(round(y / scale + zero_point)): with an odd zero point, halves round to the other
    neighbour than in ``_quantize``."""
    steps = y / y.dtype.type(_as_scalar("scale", scale)) + y.dtype.type(
        _check_zero_point(zero_point, dtype)
    )
    return saturating_cast(np.rint(steps), dtype)


# ---------------------------------------------------------------------------------- elementwise


@op("QLinearLeakyRelu", since=1, domain=DOMAIN, optional=["X_zero_point"])
def q_linear_leaky_relu(
    X, X_scale, X_zero_point, Y_scale, Y_zero_point=None, *, alpha=0.009999999776482582
):
    """quantize(LeakyRelu(dequantize(X))). Source: com.microsoft.QLinearLeakyRelu-1."""
    y = activation.leaky_relu(_dequantize(X, X_scale, X_zero_point), alpha=alpha)
    return _quantize(y, Y_scale, Y_zero_point, X.dtype)


@op("QLinearSigmoid", since=1, domain=DOMAIN, optional=["X_zero_point"])
def q_linear_sigmoid(X, X_scale, X_zero_point, Y_scale, Y_zero_point=None):
    """quantize(Sigmoid(dequantize(X))). Source: com.microsoft.QLinearSigmoid-1."""
    y = activation.sigmoid(_dequantize(X, X_scale, X_zero_point))
    return _quantize(y, Y_scale, Y_zero_point, X.dtype)


@op("QLinearSoftmax", since=1, domain=DOMAIN, optional=["x_zero_point"])
def q_linear_softmax(X, X_scale, x_zero_point, y_scale, y_zero_point, *, axis=-1, opset):
    """quantize(Softmax(dequantize(X))), the Softmax of that opset: flattening before 13

    Source: com.microsoft.QLinearSoftmax-1, ONNX Runtime 1.32, which cuts 1 / y_scale to a whole
    number: its result may be a step lower.
    """
    function = softmax.softmax if opset >= 13 else softmax.softmax_flattened
    y = function(_dequantize(X, X_scale, x_zero_point, np.float64), axis=axis)
    return _quantize(y, y_scale, y_zero_point, X.dtype)


#: elements whose temporary arrays need no count
_FEW = 1 << 12


@q_linear_softmax.bind
def bind_q_linear_softmax(
    space: Space, X: np.ndarray, *parameters: np.ndarray | None, **attributes: int
) -> np.ndarray | None:
    """The plain operator, for few scores: what counts there is that all steps of the plan are
    bound."""
    if X.size > _FEW:
        return None
    y = space.array(X.shape, X.dtype)

    def compute() -> None:
        np.copyto(y, q_linear_softmax(X, *parameters, **attributes))

    space.call(compute)
    return y


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
    x = _quantize(_dequantize(X, x_scale, x_zero_point), z_scale, z_zero_point, X.dtype)
    y = _quantize(_dequantize(Y, y_scale, y_zero_point), z_scale, z_zero_point, Y.dtype)
    return np.where(condition, x, y)


@op("QLinearConcat", since=1, domain=DOMAIN)
def q_linear_concat(Y_scale, Y_zero_point, *inputs, axis):
    """quantize(Concat(dequantize(x0), …)) of inputs x0, scale0, zero_point0, x1, …

    Source: com.microsoft.QLinearConcat-1, ONNX Runtime 1.32.
    """
    if len(inputs) < 3 or len(inputs) % 3:
        raise ValueError(
            f"expected a scale and a zero point for each tensor, got {len(inputs)} inputs"
        )
    parts = [
        _quantize(_dequantize(*inputs[i : i + 3]), Y_scale, Y_zero_point, inputs[i].dtype)
        for i in range(0, len(inputs), 3)
    ]
    return concatenate(parts, axis)


# -------------------------------------------------------------------------------------- averages


@op("QLinearAveragePool", since=1, domain=DOMAIN, optional=["x_zero_point"])
@attributes_of(pool.average_pool, without=["dilations"])
def q_linear_average_pool(
    X,
    x_scale,
    x_zero_point,
    y_scale,
    y_zero_point=None,
    *,
    channels_last=0,
    kernel_shape,
    **attributes,
):
    """quantize(AveragePool(dequantize(X))); with channels_last X and Y are (N, D1 … Dn, C)

    Rounds after adding the zero point, unless the kernel covers the image.

    Source: com.microsoft.QLinearAveragePool-1, ONNX Runtime 1.32.
    """
    image = X.shape[1:-1] if channels_last else X.shape[2:]
    average = functools.partial(pool.average_pool, kernel_shape=kernel_shape, **attributes)
    y = _apply_channels_first(average, _dequantize(X, x_scale, x_zero_point), channels_last)
    quantized = _quantize if image == tuple(kernel_shape) else _quantize_rounding_last
    return quantized(y, y_scale, y_zero_point, X.dtype)


@op("QLinearGlobalAveragePool", since=1, domain=DOMAIN)
def q_linear_global_average_pool(
    X, x_scale, x_zero_point, y_scale, y_zero_point, *, channels_last=0
):
    """quantize(GlobalAveragePool(dequantize(X))); with channels_last X and Y are (N, D1 … Dn, C)

    Source: com.microsoft.QLinearGlobalAveragePool-1, ONNX Runtime 1.32.
    """
    x = _dequantize(X, x_scale, x_zero_point, np.float64)
    y = _apply_channels_first(pool.global_average_pool, x, channels_last)
    return _quantize(y, y_scale, y_zero_point, X.dtype)


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
    mean = _dequantize(data, data_scale, data_zero_point).mean(over, keepdims=bool(keepdims))
    return _quantize(np.asarray(mean), reduced_scale, reduced_zero_point, data.dtype)


# ----------------------------------------------------------------------------------- convolution


@op("QLinearConv", since=1, domain=DOMAIN)
@attributes_of(quantize.q_linear_conv)
def q_linear_conv(x, *others, channels_last=0, **attributes):
    """QLinearConv of ONNX; with channels_last x and y are (N, D1 … Dn, C), w as ever

    Source: com.microsoft.QLinearConv-1, ONNX Runtime 1.32.
    """
    return _apply_channels_first(
        lambda x: quantize.q_linear_conv(x, *others, **attributes), x, channels_last
    )


def _apply_channels_first(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, channels_last: int
) -> np.ndarray:
    """A function of (N, C, D1 … Dn), applied to (N, D1 … Dn, C) if ``channels_last``."""
    if not channels_last:
        return function(x)
    return np.moveaxis(function(np.moveaxis(x, -1, 1)), 1, -1)


def _dequantize(
    x: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray | None,
    dtype: type[np.floating] = np.float32,
) -> np.ndarray:
    """(x - zero_point)·scale."""
    steps = x.astype(dtype) - _check_zero_point(zero_point, x.dtype).astype(dtype)
    return steps * _as_scalar("scale", scale).astype(dtype)


def _quantize(
    y: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, dtype: np.dtype
) -> np.ndarray:
    """saturate(round(y / scale) + zero_point)."""
    return quantize.quantize_linear(
        y, _as_scalar("scale", scale), _check_zero_point(zero_point, dtype)
    )


def _check_zero_point(zero_point: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    if zero_point is None:
        return np.zeros((), dtype)
    if zero_point.dtype != dtype:
        raise ValueError(
            f"the zero point ({zero_point.dtype}) and the tensor ({dtype}) differ in type"
        )
    return _as_scalar("zero point", zero_point)


def _as_scalar(name: str, value: np.ndarray) -> np.ndarray:
    """A scalar, which may come as a tensor of one element."""
    if value.size != 1:
        raise ValueError(f"{name} {value.shape} should be one value")
    return value.reshape(())


# ------------------------------------------------------------------------------------------- costs


@q_linear_add.cost
@q_linear_mul.cost
def cost_of_binary(A: np.ndarray, A_scale: Any, A_zero_point: Any, B: np.ndarray, *_: Any) -> Cost:
    """Both in double, the result, its quotient and clipped values."""
    count = size(broadcast([A.shape, B.shape]))
    return Cost(16 * (A.size + B.size) + 25 * count, 400 * count + 60 * (A.size + B.size))


@q_linear_leaky_relu.cost
@q_linear_sigmoid.cost
def cost_of_unary(X: np.ndarray, *_: Any, **__: Any) -> Cost:
    """Numbers in float, the result of the function, and the quotient."""
    return Cost(14 * X.size, 300 * X.size)


@q_linear_softmax.cost
def cost_of_softmax(X: np.ndarray, *_: Any, **__: Any) -> Cost:
    return Cost(32 * X.size, 400 * X.size)


@q_linear_where.cost
def cost_of_where(
    condition: np.ndarray, X: np.ndarray, x_scale: Any, x_zero_point: Any, Y: np.ndarray, *_: Any
) -> Cost:
    """Both, one after the other requantized in float, and the result."""
    count = size(broadcast([condition.shape, X.shape, Y.shape]))
    memory = X.size + Y.size + 13 * max(X.size, Y.size) + count
    return Cost(memory, 200 * (X.size + Y.size) + 20 * count)


@q_linear_concat.cost
def cost_of_concat(Y_scale: Any, Y_zero_point: Any, *inputs: np.ndarray, **_: Any) -> Cost:
    """One input after the other requantized in float; the parts, and the result."""
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


# rounding has none
declare(
    q_linear_add, q_linear_mul, q_linear_leaky_relu, q_linear_sigmoid, q_linear_softmax,
    q_linear_where, q_linear_concat, q_linear_average_pool, q_linear_global_average_pool,
    q_linear_reduce_mean, q_linear_conv,
    vjp=no_gradient,
)  # fmt: skip
