"""Comparisons, logic, tests for nan and infinity, and the choice between two inputs.

All inputs broadcast against each other as NumPy's do; the result is bool but for Where.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.elementwise import bind_not, bind_where, comparison_binder
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.broadcast import limit_broadcasting
from onnxwalk.ops.shared.cost import CHEAP, elementwise
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import check_same_dtype


@op("Equal", since=7)
def equal(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a = b, of numbers, booleans or strings. Spec: Equal-7, -11, -13, -19."""
    check_same_dtype(a, b)
    return np.equal(a, b, out=out, dtype=None if a.dtype.kind != "O" else np.bool_)


equal.bind(comparison_binder(np.equal))


@op("Greater", since=7)
def greater(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a > b. Spec: Greater-7, -9, -13."""
    check_same_dtype(a, b)
    return np.greater(a, b, out=out)


greater.bind(comparison_binder(np.greater))


@op("Less", since=7)
def less(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a < b. Spec: Less-7, -9, -13."""
    check_same_dtype(a, b)
    return np.less(a, b, out=out)


less.bind(comparison_binder(np.less))


@op("GreaterOrEqual", since=12)
def greater_or_equal(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a >= b. Spec: GreaterOrEqual-12, -16."""
    check_same_dtype(a, b)
    return np.greater_equal(a, b, out=out)


greater_or_equal.bind(comparison_binder(np.greater_equal))


@op("LessOrEqual", since=12)
def less_or_equal(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a <= b. Spec: LessOrEqual-12, -16."""
    check_same_dtype(a, b)
    return np.less_equal(a, b, out=out)


less_or_equal.bind(comparison_binder(np.less_equal))


@op("And", since=7)
def logical_and(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a and b, of booleans. Spec: And-7."""
    check_same_dtype(a, b)
    return np.logical_and(a, b, out=out)


logical_and.bind(comparison_binder(np.logical_and, kinds="b"))


@op("Or", since=7)
def logical_or(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a or b, of booleans. Spec: Or-7."""
    check_same_dtype(a, b)
    return np.logical_or(a, b, out=out)


logical_or.bind(comparison_binder(np.logical_or, kinds="b"))


@op("Xor", since=7)
def logical_xor(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a or b but not both, of booleans. Spec: Xor-7."""
    check_same_dtype(a, b)
    return np.logical_xor(a, b, out=out)


# Before opset 7 only b was broadcast, and only with broadcast=1.
for _name, _function in {
    "Equal": equal, "Greater": greater, "Less": less,
    "And": logical_and, "Or": logical_or, "Xor": logical_xor,
}.items():  # fmt: skip
    declare(
        _function,
        op(_name, since=1)(limit_broadcasting(_function)),
        cost=elementwise(dtype=np.bool_, per_element=CHEAP),
        batch_axis=batch.elementwise,
        vjp=no_gradient,
    )


@op("Not", since=1)
def logical_not(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """True where x is False. Spec: Not-1."""
    return np.logical_not(x, out=out)


logical_not.bind(bind_not)


@op("IsNaN", since=9)
def is_nan(x: np.ndarray) -> np.ndarray:
    """Whether x is not a number. Spec: IsNaN-9, -13, -20."""
    return np.isnan(x)


@op("IsInf", since=10)
def is_inf(x: np.ndarray, *, detect_negative: int = 1, detect_positive: int = 1) -> np.ndarray:
    """Whether x is an infinity of a sign to detect. Spec: IsInf-10, -20."""
    infinite = np.isinf(x)
    if not detect_negative:
        infinite &= ~np.signbit(x)
    if not detect_positive:
        infinite &= np.signbit(x)
    return infinite


@op("Where", since=9)
def where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x where the condition is True, else y. Spec: Where-9, -16."""
    check_same_dtype(x, y)
    return np.where(condition, x, y)


where.bind(bind_where)


@where.vjp
def vjp_of_where(dz, condition, *, x_shape, y_shape, wanted):
    _, want_x, want_y = wanted
    zero = dz.dtype.type(0)
    dx = reduce_to(np.where(condition, dz, zero), x_shape) if want_x else None
    dy = reduce_to(np.where(condition, zero, dz), y_shape) if want_y else None
    return None, dx, dy


declare(greater_or_equal, less_or_equal, logical_not, is_nan, is_inf, vjp=no_gradient)


for _function in (greater_or_equal, less_or_equal, logical_not, is_nan):
    _function.cost(elementwise(dtype=np.bool_, per_element=CHEAP))
is_inf.cost(elementwise(3, dtype=np.bool_, per_element=CHEAP))


@where.cost
def cost_of_where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> Cost:
    return elementwise(dtype=x.dtype, per_element=10)(condition, x, y)


declare(
    greater_or_equal, less_or_equal, logical_not, is_nan, is_inf, where,
    batch_axis=batch.elementwise,
)  # fmt: skip
where.flops(flops.zero)
