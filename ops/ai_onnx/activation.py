"""Activation functions: Relu and its family, the sigmoids, Shrink. Y has the shape of X."""

from __future__ import annotations

import math

import numpy as np

from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, op
from onnxwalk.ops.fast.elementwise import activation_binder, bind_prelu, bind_relu, unary_binder
from onnxwalk.ops.fast.error_function import bind_gelu
from onnxwalk.ops.fast.gradients import bind_relu_gradient
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.cost import CHEAP, elementwise
from onnxwalk.ops.shared.erf import erf
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import blockwise, in_float32, result_like

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
    return prelu(x, _slope_by_channel(x, slope))


def _slope_by_channel(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The slope in a shape that broadcasts to x."""
    if slope.ndim == 1 and slope.size != 1 and x.ndim > 1:
        if slope.size != x.shape[1]:
            raise ValueError(
                f"slope {slope.shape} should have one value for each channel of x {x.shape}"
            )
        return slope.reshape(-1, *(1,) * (x.ndim - 2))
    return slope.reshape(()) if slope.size == 1 else slope


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


# ------------------------------------------------------------------------------------- gradients
# At a kink they are what TensorFlow has: of Relu and HardSigmoid 0, of Elu 1, of LeakyRelu alpha.


@relu.vjp
def vjp_of_relu(dy, *, y):
    return dy * (y > 0)


vjp_of_relu.bind(bind_relu_gradient)


@leaky_relu.vjp
def vjp_of_leaky_relu(dy, x, *, alpha):
    return np.where(x > 0, dy, dy * alpha).astype(dy.dtype, copy=False)


@prelu.vjp
def vjp_of_prelu(dy, x, slope, *, wanted):
    _, want_slope = wanted
    below = np.where(x > 0, 0, dy)
    d_slope = reduce_to(below * x, slope.shape) if want_slope else None
    return np.where(x > 0, dy, slope * below), d_slope


@prelu_1.vjp
def vjp_of_prelu_1(dy, x, slope, *, wanted):
    dx, d_slope = vjp_of_prelu(dy, x, _slope_by_channel(x, slope), wanted=wanted)
    return dx, None if d_slope is None else d_slope.reshape(slope.shape)


@elu.vjp
def vjp_of_elu(dy, x, *, alpha):
    return dy * np.where(x < 0, alpha * np.exp(x), 1)


@selu.vjp
@selu_1.vjp
def vjp_of_selu(dy, x, *, alpha, gamma):
    return dy * gamma * np.where(x < 0, alpha * np.exp(x), 1)


@celu.vjp
def vjp_of_celu(dy, x, *, alpha):
    return dy * np.where(x < 0, np.exp(x / alpha), 1) if alpha > 0 else _vjp_of_celu(dy, x, alpha)


def _vjp_of_celu(dy, x, alpha):
    """Of a negative alpha: the minimum is with 0 below and what grows with x above."""
    slope = np.exp(x / alpha)
    return dy * ((x > 0) + np.where(alpha * np.expm1(x / alpha) < 0, slope, 0))


@thresholded_relu.vjp
def vjp_of_thresholded_relu(dy, x, *, alpha):
    return dy * (x > alpha)


@shrink.vjp
def vjp_of_shrink(dy, x, *, lambd):
    return dy * ((x < -lambd) | (x > lambd))


@sigmoid.vjp
def vjp_of_sigmoid(dy, *, y):
    return dy * y * (1 - y)


@hard_sigmoid.vjp
def vjp_of_hard_sigmoid(dy, *, y, alpha):
    return dy * alpha * ((y > 0) & (y < 1))


@hard_swish.vjp
def vjp_of_hard_swish(dy, x):
    return dy * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))


@swish.vjp
def vjp_of_swish(dy, x, *, alpha):
    gate = sigmoid(alpha * x)
    return dy * gate * (1 + alpha * x * (1 - gate))


@tanh.vjp
def vjp_of_tanh(dy, *, y):
    return dy * (1 - y * y)


@softplus.vjp
def vjp_of_softplus(dy, x):
    return dy * sigmoid(x)


@softsign.vjp
def vjp_of_softsign(dy, x):
    return dy / np.square(1 + np.abs(x))


@mish.vjp
def vjp_of_mish(dy, x):
    gate = np.tanh(softplus(x))
    return dy * (gate + x * (1 - gate * gate) * sigmoid(x))


@gelu.vjp
def vjp_of_gelu(dy, x, *, approximate):
    if approximate == "none":
        density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return dy * (0.5 * (1 + erf(x / math.sqrt(2))) + x * density)
    scale = math.sqrt(2 / math.pi)
    gate = np.tanh(scale * (x + 0.044715 * x * x * x))
    inner = scale * (1 + 3 * 0.044715 * x * x)
    return dy * 0.5 * (1 + gate + x * (1 - gate * gate) * inner)


# ------------------------------------------------------------------------------------------- facts

declare(
    relu, leaky_relu, prelu, prelu_1, elu, celu, selu, selu_1, sigmoid,
    hard_sigmoid, swish, hard_swish, gelu, mish, tanh, softplus, softsign, shrink, thresholded_relu,
    batch_axis=batch.elementwise,
)  # fmt: skip
sigmoid.flops(flops.per_output(3))
declare(swish, hard_swish, flops=flops.per_output(4))
gelu.flops(flops.per_output(6))
gelu.choices({"approximate": "none tanh"})
