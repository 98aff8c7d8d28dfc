"""Elementwise functions of one input: roots, logarithms, rounding, trigonometry, erf.

Y has the shape and dtype of X. Outside of a function's domain the result is nan.
"""

from __future__ import annotations

import math

import numpy as np

from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, op
from onnxwalk.ops.fast.elementwise import unary_binder
from onnxwalk.ops.fast.error_function import bind_erf
from onnxwalk.ops.shared import batch
from onnxwalk.ops.shared.cost import CHEAP, elementwise
from onnxwalk.ops.shared.erf import erf as erf_of_floats
from onnxwalk.ops.shared.numeric import blockwise, wide


@op("Neg", since=6)
@op("Neg", since=1, hints=CONSUMED_INPUTS)
def neg(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """-x; integers wrap. Spec: Neg-1, -6, -13."""
    return np.negative(x, out=out)


neg.bind(unary_binder(np.negative))


@op("Abs", since=6)
@op("Abs", since=1, hints=CONSUMED_INPUTS)
def absolute(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """|x|; integers wrap. Spec: Abs-1, -6, -13."""
    return np.absolute(x, out=out)


@op("Sign", since=9)
def sign(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """-1, 0 or 1: the sign of x. Spec: Sign-9, -13."""
    return np.sign(x, out=out)


@op("Reciprocal", since=6)
@op("Reciprocal", since=1, hints=CONSUMED_INPUTS)
def reciprocal(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """1/x. Spec: Reciprocal-1, -6, -13."""
    return np.reciprocal(x, out=out)


reciprocal.bind(unary_binder(np.reciprocal))


@op("Sqrt", since=6)
@op("Sqrt", since=1, hints=CONSUMED_INPUTS)
def sqrt(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """√x. Spec: Sqrt-1, -6, -13."""
    return np.sqrt(x, out=out)


sqrt.bind(unary_binder(np.sqrt))


@op("Exp", since=6)
@op("Exp", since=1, hints=CONSUMED_INPUTS)
def exp(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """e to the power x. Spec: Exp-1, -6, -13."""
    return np.exp(x, out=out)


exp.bind(unary_binder(np.exp))


@op("Log", since=6)
@op("Log", since=1, hints=CONSUMED_INPUTS)
def log(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The natural logarithm of x. Spec: Log-1, -6, -13."""
    return np.log(x, out=out)


@op("Ceil", since=6)
@op("Ceil", since=1, hints=CONSUMED_INPUTS)
def ceil(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The lowest integer not below x. Spec: Ceil-1, -6, -13."""
    return np.ceil(x, out=out)


@op("Floor", since=6)
@op("Floor", since=1, hints=CONSUMED_INPUTS)
def floor(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The highest integer not above x. Spec: Floor-1, -6, -13."""
    return np.floor(x, out=out)


@op("Round", since=11)
def round_half_to_even(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The nearest integer; of two equally near ones the even one. Spec: Round-11, -22."""
    return np.rint(x, out=out)


@op("Sin", since=7)
def sin(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The sine of x, an angle in radians. Spec: Sin-7, -22."""
    return np.sin(x, out=out)


@op("Cos", since=7)
def cos(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The cosine of x, an angle in radians. Spec: Cos-7, -22."""
    return np.cos(x, out=out)


@op("Tan", since=7)
def tan(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The tangent of x, an angle in radians. Spec: Tan-7, -22."""
    return np.tan(x, out=out)


@op("Asin", since=7)
def asin(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The angle, in radians, whose sine is x. Spec: Asin-7, -22."""
    return np.arcsin(x, out=out)


@op("Acos", since=7)
def acos(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The angle, in radians, whose cosine is x. Spec: Acos-7, -22."""
    return np.arccos(x, out=out)


@op("Atan", since=7)
def atan(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The angle, in radians, whose tangent is x. Spec: Atan-7, -22."""
    return np.arctan(x, out=out)


@op("Sinh", since=9)
def sinh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic sine of x. Spec: Sinh-9, -22."""
    return np.sinh(x, out=out)


@op("Cosh", since=9)
def cosh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic cosine of x. Spec: Cosh-9, -22."""
    return np.cosh(x, out=out)


@op("Asinh", since=9)
def asinh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The number whose hyperbolic sine is x. Spec: Asinh-9, -22."""
    return np.arcsinh(x, out=out)


@op("Acosh", since=9)
def acosh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The number, not negative, whose hyperbolic cosine is x. Spec: Acosh-9, -22."""
    return np.arccosh(x, out=out)


@op("Atanh", since=9)
def atanh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The number whose hyperbolic tangent is x. Spec: Atanh-9, -22."""
    return np.arctanh(x, out=out)


@op("Erf", since=9)
@blockwise
def erf(input: np.ndarray) -> np.ndarray:
    """2/√π · the integral of exp(-t²) from 0 to input; of integers, cut to an integer.

    Spec: Erf-9, -13.
    """
    if input.dtype.kind in "iu":
        return erf_of_floats(input.astype(np.float64)).astype(input.dtype)
    return erf_of_floats(wide(input)).astype(input.dtype, copy=False)


erf.bind(bind_erf)


# ------------------------------------------------------------------------------------- gradients


@neg.vjp
def vjp_of_neg(dy):
    return -dy


@absolute.vjp
def vjp_of_absolute(dy, x):
    return dy * np.sign(x)


# At 0 the slopes of 1/x and √x are infinite. Where no gradient comes in, none goes out, as in
# TensorFlow: min(1/√x, c) and where(x > 0, √x, 0) don't get NaN from 0 · ∞.


@reciprocal.vjp
def vjp_of_reciprocal(dz, *, z):
    return np.where(dz == 0, dz, -dz * z * z)


@sqrt.vjp
def vjp_of_sqrt(dy, *, y):
    return np.where(dy == 0, dy, dy / (2 * y))


@exp.vjp
def vjp_of_exp(dy, *, y):
    return dy * y


@log.vjp
def vjp_of_log(dy, x):
    return dy / x


@sin.vjp
def vjp_of_sin(dy, x):
    return dy * np.cos(x)


@cos.vjp
def vjp_of_cos(dy, x):
    return -dy * np.sin(x)


@tan.vjp
def vjp_of_tan(dy, *, y):
    return dy * (1 + y * y)


@asin.vjp
def vjp_of_asin(dy, x):
    return dy / np.sqrt((1 - x) * (1 + x))


@acos.vjp
def vjp_of_acos(dy, x):
    return -dy / np.sqrt((1 - x) * (1 + x))


@atan.vjp
def vjp_of_atan(dy, x):
    return dy / (1 + x * x)


@sinh.vjp
def vjp_of_sinh(dy, x):
    return dy * np.cosh(x)


@cosh.vjp
def vjp_of_cosh(dy, x):
    return dy * np.sinh(x)


@asinh.vjp
def vjp_of_asinh(dy, x):
    return dy / np.hypot(1, x)


@acosh.vjp
def vjp_of_acosh(dy, x):
    return dy / (np.sqrt(x - 1) * np.sqrt(x + 1))


@atanh.vjp
def vjp_of_atanh(dy, x):
    return dy / ((1 - x) * (1 + x))


@erf.vjp
def vjp_of_erf(dy, input):
    return dy * (2 / math.sqrt(math.pi)) * np.exp(-input * input)


declare(sign, ceil, floor, round_half_to_even, vjp=no_gradient)

declare(neg, absolute, sign, ceil, floor, round_half_to_even, cost=elementwise(per_element=CHEAP))
declare(reciprocal, sqrt, exp, log, asin, acos, atan, asinh, acosh, cost=elementwise())
# slower for huge numbers and near poles
declare(sin, cos, tan, sinh, cosh, atanh, cost=elementwise(per_element=100))
erf.cost(elementwise(blockwise=10, per_element=150))


declare(
    neg, absolute, sign, ceil, floor, round_half_to_even, reciprocal, sqrt, exp, log, asin, acos,
    atan, asinh, acosh, sin, cos, tan, sinh, cosh, atanh, erf, batch_axis=batch.elementwise,
)  # fmt: skip
