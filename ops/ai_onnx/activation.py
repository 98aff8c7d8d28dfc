"""Activation functions: Relu and its family, the sigmoids, Softmax and its family, Shrink.

All are elementwise (Y has the shape of X) but the Softmax family, which works along an axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, Rule
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, op
from onnxwalk.ops.fast.elementwise import activation_binder, bind_prelu, bind_relu, unary_binder
from onnxwalk.ops.fast.error_function import bind_gelu
from onnxwalk.ops.fast.softmax import bind_log_softmax, bind_softmax
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import (
    CHEAP,
    elementwise,
    line_count,
    reshape_bytes,
    rounding,
    wide_copies,
    wide_itemsize,
)
from onnxwalk.ops.shared.erf import erf
from onnxwalk.ops.shared.numeric import blockwise, in_float32, result_like, wide

# ---------------------------------------------------------------------------------------- Relu


@op("Relu", since=6)
@op("Relu", since=1, hints=CONSUMED_INPUTS)
def relu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """max(0, x). Spec: Relu-1, -6, -13, -14."""
    return np.maximum(x, 0, out=out)


relu.bind(bind_relu)


@op("LeakyRelu", since=6)
@op("LeakyRelu", since=1, hints=CONSUMED_INPUTS)
@in_float32
def leaky_relu(x: np.ndarray, *, alpha: float = 0.01, out: np.ndarray | None = None) -> np.ndarray:
    """alpha·x where x < 0, else x. Spec: LeakyRelu-1, -6, -16."""
    y = np.multiply(x, alpha, out=result_like(x, out))
    if 0 < alpha <= 1:  # then the result is the larger of the two
        return np.maximum(x, y, out=y)
    np.copyto(y, x, where=~(x < 0))
    return y


leaky_relu.bind(activation_binder("LeakyRelu", "alpha"))


@op("PRelu", since=7)
@in_float32
def prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """slope·x where x < 0, else x; slope broadcasts to the shape of x. Spec: PRelu-7, -9, -16."""
    if np.broadcast_shapes(x.shape, slope.shape) != x.shape:
        raise ValueError(f"slope of shape {slope.shape} does not broadcast to x of {x.shape}")
    return np.where(x < 0, slope * x, x)


prelu.bind(bind_prelu)


@op("PRelu", since=6)
@op("PRelu", since=1, hints=CONSUMED_INPUTS)
def prelu_1(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """slope·x where x < 0, else x; x is (N, C, D1 … Dn), slope has one value, or one per channel.

    Spec: PRelu-1, -6.
    """
    if slope.ndim == 1 and slope.size != 1 and x.ndim > 1:
        if slope.size != x.shape[1]:
            raise ValueError(
                f"slope {slope.shape} should have one value for each channel of x {x.shape}"
            )
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    elif slope.size == 1:
        slope = slope.reshape(())
    return prelu(x, slope)


@op("Elu", since=6)
@op("Elu", since=1, hints=CONSUMED_INPUTS)
@blockwise
@in_float32
def elu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """alpha·(exp(x) - 1) where x < 0, else x. Spec: Elu-1, -6, -22."""
    return np.where(x < 0, alpha * np.expm1(x), x)


@op("Selu", since=6)
@blockwise
@in_float32
def selu(
    x: np.ndarray,
    *,
    alpha: float = 1.6732631921768188,
    gamma: float = 1.0507010221481323,
) -> np.ndarray:
    """gamma·alpha·(exp(x) - 1) where x <= 0, else gamma·x. Spec: Selu-1, -6, -22."""
    return gamma * np.where(x <= 0, alpha * np.expm1(x), x)


@op("Selu", since=1, hints=CONSUMED_INPUTS)
def selu_1(
    x: np.ndarray, *, alpha: float = 1.673200011253357, gamma: float = 1.0506999492645264
) -> np.ndarray:
    """Selu with defaults of five digits. Spec: Selu-1."""
    return selu(x, alpha=alpha, gamma=gamma)


@op("Celu", since=12)
@blockwise
@in_float32
def celu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """max(0, x) + min(0, alpha·(exp(x/alpha) - 1)). Spec: Celu-12, -28."""
    if alpha == 0:
        raise ValueError("alpha of Celu must not be 0")
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


@op("ThresholdedRelu", since=1, until=10)  # of ONNX Runtime: ONNX had it as an experiment
@op("ThresholdedRelu", since=10)
@in_float32
def thresholded_relu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """x where x > alpha, else 0. Spec: ThresholdedRelu-10, -22."""
    return np.where(x > alpha, x, x.dtype.type(0))


relu.cost(elementwise(per_element=CHEAP))
leaky_relu.cost(elementwise(2.25, widened=True, per_element=30))
declare(prelu, prelu_1, cost=elementwise(2.5, widened=True, per_element=30))
thresholded_relu.cost(elementwise(1.5, widened=True, per_element=30))


@op("Shrink", since=9)
@blockwise
@in_float32
def shrink(x: np.ndarray, *, bias: float = 0.0, lambd: float = 0.5) -> np.ndarray:
    """x + bias where x < -lambd, x - bias where x > lambd, else 0.

    Integers are compared and shifted as real numbers; the result is cut to an integer.
    Spec: Shrink-9.
    """
    shrunk = np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))
    return shrunk.astype(x.dtype, copy=False)


# ------------------------------------------------------------------------------------ sigmoids


@op("Sigmoid", since=6)
@op("Sigmoid", since=1, hints=CONSUMED_INPUTS)
@in_float32
def sigmoid(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """1 / (1 + exp(-x)). Spec: Sigmoid-1, -6, -13."""
    # Accurate at both ends: where exp overflows, the quotient is 0 as it should be.
    # The faster 0.5·tanh(x/2) + 0.5 loses all digits of a small result.
    y = np.negative(x, out=result_like(x, out))
    np.exp(y, out=y)
    np.add(y, 1, out=y)
    return np.reciprocal(y, out=y)


sigmoid.bind(activation_binder("Sigmoid"))


@op("HardSigmoid", since=6)
@op("HardSigmoid", since=1, hints=CONSUMED_INPUTS)
@in_float32
def hard_sigmoid(
    x: np.ndarray, *, alpha: float = 0.2, beta: float = 0.5, out: np.ndarray | None = None
) -> np.ndarray:
    """max(0, min(1, alpha·x + beta)). Spec: HardSigmoid-1, -6, -22."""
    y = np.multiply(x, alpha, out=result_like(x, out))
    np.add(y, beta, out=y)
    return np.clip(y, 0, 1, out=y)


hard_sigmoid.bind(activation_binder("HardSigmoid", "alpha", "beta"))


@op("HardSwish", since=14)
@blockwise
@in_float32
def hard_swish(x: np.ndarray) -> np.ndarray:
    """x·max(0, min(1, x/6 + 1/2)). Spec: HardSwish-14, -22."""
    return x * hard_sigmoid(x, alpha=1 / 6, beta=0.5)


hard_swish.bind(activation_binder("HardSwish"))


@op("Swish", since=24)
@blockwise
@in_float32
def swish(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """x·sigmoid(alpha·x). Spec: Swish-24."""
    return x * sigmoid(alpha * x)


swish.bind(activation_binder("Swish"))


@op("Tanh", since=6)
@op("Tanh", since=1, hints=CONSUMED_INPUTS)
def tanh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic tangent of x. Spec: Tanh-1, -6, -13."""
    return np.tanh(x, out=out)


tanh.bind(unary_binder(np.tanh))


@op("Softplus", since=1)
@blockwise
@in_float32
def softplus(x: np.ndarray) -> np.ndarray:
    """ln(exp(x) + 1). Spec: Softplus-1, -22."""
    # = max(x, 0) + ln(1 + exp(-|x|)), which cannot overflow
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@op("Softsign", since=1)
@blockwise
@in_float32
def softsign(x: np.ndarray) -> np.ndarray:
    """x / (1 + |x|). Spec: Softsign-1, -22."""
    return x / (1 + np.abs(x))


@op("Mish", since=18)
@blockwise
@in_float32
def mish(x: np.ndarray) -> np.ndarray:
    """x·tanh(softplus(x)) = x·tanh(ln(1 + exp(x))). Spec: Mish-18, -22."""
    return x * np.tanh(softplus(x))


@op("Gelu", since=20)
@blockwise
@in_float32
def gelu(x: np.ndarray, *, approximate: str = "none") -> np.ndarray:
    """x/2·(1 + erf(x/√2)), or with approximate="tanh" x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).

    Spec: Gelu-20.
    """
    if approximate == "none":
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    raise ValueError(f"approximate of Gelu should be 'none' or 'tanh', got {approximate!r}")


gelu.bind(bind_gelu)


declare(tanh, sigmoid, hard_sigmoid, cost=elementwise(widened=True))
for _function in (
    elu, selu, selu_1, celu, shrink, hard_swish, swish, softplus, softsign, mish, gelu
):  # fmt: skip
    _function.cost(elementwise(blockwise=8, per_element=150))


# ------------------------------------------------------------------------------------- Softmax
# Until opset 13 the input was flattened to a matrix at `axis`, and each row was one distribution;
# from 13 on each line along `axis` is.


@op("Softmax", since=13)
def softmax(x: np.ndarray, *, axis: int = -1, out: np.ndarray | None = None) -> np.ndarray:
    """exp(x) / sum(exp(x)) along one axis.

    Short floats are rounded after each operation, as in the spec's function body; only the sum is
    added up in float32. Spec: Softmax-13.
    """
    axis = normalize_axis(axis, x.ndim)
    y = result_like(x, out)
    if x.size == 0:
        return y
    # exp(x - max) / sum(exp(x - max)) is the same number and cannot overflow
    np.subtract(x, x.max(axis, keepdims=True), out=y)
    np.exp(y, out=y)
    total = wide(y).sum(axis, keepdims=True)
    return np.divide(y, total.astype(y.dtype, copy=False), out=y)


softmax.bind(bind_softmax)


@op("Softmax", since=1, until=13)
def softmax_flattened(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """exp(x) / sum(exp(x)) over axis, axis + 1, … together. Spec: Softmax-1, -11."""
    return softmax(_flatten(x, axis), axis=1).reshape(x.shape)


@op("LogSoftmax", since=13)
@in_float32
def log_softmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """x - ln(sum(exp(x))) along one axis. Spec: LogSoftmax-13."""
    axis = normalize_axis(axis, x.ndim)
    if x.size == 0:
        return np.empty_like(x)
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


log_softmax.bind(bind_log_softmax)


@op("LogSoftmax", since=1, until=13)
def log_softmax_flattened(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """x - ln(sum(exp(x))) over axis, axis + 1, … together. Spec: LogSoftmax-1, -11."""
    return log_softmax(_flatten(x, axis), axis=1).reshape(x.shape)


@op("Hardmax", since=13)
def hardmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """1 at the first maximum along one axis, 0 elsewhere. Spec: Hardmax-13."""
    axis = normalize_axis(axis, x.ndim)
    y = np.zeros_like(x)
    if x.size:
        np.put_along_axis(y, x.argmax(axis, keepdims=True), x.dtype.type(1), axis)
    return y


@op("Hardmax", since=1, until=13)
def hardmax_flattened(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """1 at the first maximum over axis, axis + 1, … together. Spec: Hardmax-1, -11."""
    return hardmax(_flatten(x, axis), axis=1).reshape(x.shape)


def cost_of_softmax(copies: float, per_line: int, flattened: bool = False) -> Rule:
    """The rule for ``copies`` arrays of x's size and ``per_line`` numbers for each line of the
    axis."""

    def rule(x: np.ndarray, *, axis: int = 1 if flattened else -1, **_: Any) -> Cost:
        before = x.shape[: normalize_axis(axis, x.ndim)]
        lines = math.prod(before) if flattened else line_count(x, axis)
        memory = wide_itemsize(x.dtype) * (copies * x.size + per_line * lines)
        memory += wide_copies(x) + (reshape_bytes(x) if flattened else 0)
        if wide_copies(x):
            memory += x.nbytes
        return Cost(math.ceil(memory), (60 + rounding(x.dtype)) * x.size)

    return rule


softmax.cost(cost_of_softmax(1, 2))
softmax_flattened.cost(cost_of_softmax(1, 2, flattened=True))
log_softmax.cost(cost_of_softmax(2, 3))
log_softmax_flattened.cost(cost_of_softmax(2, 3, flattened=True))
hardmax.cost(cost_of_softmax(1, 10))
hardmax_flattened.cost(cost_of_softmax(1, 10, flattened=True))


def _flatten(x: np.ndarray, axis: int) -> np.ndarray:
    """x as a matrix: the axes before ``axis`` are the rows, the rest the columns."""
    axis = normalize_axis(axis, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


# ------------------------------------------------------------------------------------------- facts

declare(
    relu, leaky_relu, prelu, prelu_1, elu, celu, selu, selu_1, sigmoid,
    hard_sigmoid, swish, hard_swish, gelu, mish, tanh, softplus, softsign, shrink, thresholded_relu,
    batch_axis=batch.elementwise,
)  # fmt: skip
declare(softmax, log_softmax, hardmax, batch_axis=batch.along_axis)
declare(softmax_flattened, log_softmax_flattened, hardmax_flattened, batch_axis=batch.trailing_axes)
declare(softmax, softmax_flattened, log_softmax, log_softmax_flattened, flops=flops.per_output(4))
sigmoid.flops(flops.per_output(3))
declare(swish, hard_swish, flops=flops.per_output(4))
gelu.flops(flops.per_output(6))
gelu.choices({"approximate": "none tanh"})
