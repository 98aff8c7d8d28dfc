"""Elementwise arithmetic of two inputs: Add to Mod, Clip, and the bit shifts.

All inputs broadcast against each other as NumPy's do (from opset 7 on) and must be of one dtype,
which is the result's, unless said otherwise. Integers wrap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, broadcast, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, op
from onnxwalk.ops.fast.elementwise import (
    binary_binder,
    bind_clip,
    bind_clip_6,
    bind_power,
)
from onnxwalk.ops.fast.gradients import bind_add_gradient
from onnxwalk.ops.shared import batch
from onnxwalk.ops.shared.broadcast import align_shape, limit_broadcasting
from onnxwalk.ops.shared.cost import CHEAP, elementwise, wide_copies
from onnxwalk.ops.shared.gradients import limited_broadcasting_vjp, reduce_to
from onnxwalk.ops.shared.numeric import (
    check_same_dtype,
    dtype_limits,
    float_power,
    in_float32,
    result_like,
    wide,
)


@op("Add", since=7)
def add(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a + b. Spec: Add-7, -13, -14."""
    check_same_dtype(a, b)
    return np.add(a, b, out=out)


add.bind(binary_binder(np.add))


@add.vjp
def vjp_of_add(dy, *, a_shape, b_shape, wanted):
    want_a, want_b = wanted
    da = reduce_to(dy, a_shape) if want_a else None
    db = reduce_to(dy, b_shape) if want_b else None
    return da, db


vjp_of_add.bind(bind_add_gradient)


@op("Sub", since=7)
def sub(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a - b. Spec: Sub-7, -13, -14."""
    check_same_dtype(a, b)
    return np.subtract(a, b, out=out)


sub.bind(binary_binder(np.subtract))


@sub.vjp
def vjp_of_sub(dy, *, a_shape, b_shape, wanted):
    want_a, want_b = wanted
    da = reduce_to(dy, a_shape) if want_a else None
    db = -reduce_to(dy, b_shape) if want_b else None
    return da, db


@op("Mul", since=7)
def mul(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a·b. Spec: Mul-7, -13, -14."""
    check_same_dtype(a, b)
    return np.multiply(a, b, out=out)


mul.bind(binary_binder(np.multiply))


@mul.vjp
def vjp_of_mul(dy, a, b, *, a_shape, b_shape, wanted):
    want_a, want_b = wanted
    da = reduce_to(dy * b, a_shape) if want_a else None
    db = reduce_to(dy * a, b_shape) if want_b else None
    return da, db


vjp_of_mul.only_read_for(a="b", b="a")


@op("Div", since=7)
def div(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a / b; of integers, cut towards zero. Spec: Div-7, -13, -14."""
    check_same_dtype(a, b)
    if a.dtype.kind not in "iu":
        return np.divide(a, b, out=out)
    _check_divisor(b, "Div")
    quotient = np.floor_divide(a, b, out=out)
    if a.dtype.kind == "i":  # floor is one too low where the quotient is negative and inexact
        inexact = quotient * b != a
        quotient = np.add(quotient, inexact & ((a < 0) != (b < 0)), out=out, dtype=a.dtype)
    return quotient


div.bind(binary_binder(np.divide, kinds="f"))


@div.vjp
def vjp_of_div(dy, a, b, *, wanted):
    want_a, want_b = wanted
    da = reduce_to(dy / b, a.shape) if want_a else None
    db = reduce_to(-dy * a / b / b, b.shape) if want_b else None
    return da, db


@op("Mod", since=10, until=28)
def mod_10(a: np.ndarray, b: np.ndarray, *, fmod: int = 0) -> np.ndarray:
    """The remainder of a / b with the sign of b, or with fmod=1 of a (C's fmod).

    Without fmod only integers are allowed. Spec: Mod-10, -13.
    """
    if fmod == 0 and a.dtype.kind not in "iu":
        raise ValueError(f"Mod of {a.dtype} needs fmod=1 before opset 28")
    return mod(a, b, fmod=fmod)


@op("Mod", since=28)
@in_float32
def mod(a: np.ndarray, b: np.ndarray, *, fmod: int = 0) -> np.ndarray:
    """a - floor(a/b)·b, or with fmod=1 a - trunc(a/b)·b. Spec: Mod-28."""
    check_same_dtype(a, b)
    if fmod not in (0, 1):
        raise ValueError(f"fmod of Mod should be 0 or 1, got {fmod}")
    if a.dtype.kind in "iu":
        _check_divisor(b, "Mod")
    return np.fmod(a, b) if fmod else np.remainder(a, b)


@mod.vjp
@mod_10.vjp
def vjp_of_mod(dy, a, b, *, fmod, wanted):
    """1 and, between the jumps, minus the quotient that is cut off."""
    want_a, want_b = wanted
    quotient = np.trunc(a / b) if fmod else np.floor(a / b)
    da = reduce_to(dy, a.shape) if want_a else None
    db = reduce_to(-dy * quotient, b.shape) if want_b else None
    return da, db


def _check_divisor(divisor: np.ndarray, operator: str) -> None:
    # The spec says nothing of integers, ONNX Runtime's process dies, and NumPy returns 0.
    if not np.all(divisor):
        raise ValueError(f"{operator} by zero is undefined for {divisor.dtype}")


@div.cost
def cost_of_div(a: np.ndarray, b: np.ndarray, **_: Any) -> Cost:
    """Integers need the quotient, its product with b to compare with a, and four masks."""
    if a.dtype.kind in "iu":
        return elementwise(2 + 4 / a.dtype.itemsize, per_element=200)(a, b)
    return elementwise()(a, b)


# a remainder is computed bit by bit
mod.cost(elementwise(widened=True, per_element=900))
mod_10.cost(elementwise(widened=True, per_element=900))
declare(add, sub, mul, cost=elementwise(per_element=CHEAP))


@op("Pow", since=7)
def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x to the power y, in the dtype of x; y may be of another dtype from opset 12 on.

    Integers to an integer power wrap; to a negative or fractional power they are cut to integers.
    Spec: Pow-7, -12, -13, -15.
    """
    if x.dtype.kind in "iu":
        return _integer_power(x, y)
    base, exponent = wide(x), wide(y)
    if exponent.size == 1 and exponent.ndim <= base.ndim and exponent.item() in (2, 3):
        # the powers that models use most: as products they are ONNX Runtime's to the last bit
        result = np.square(base)
        if exponent.item() == 3:
            result *= base
    else:
        result = float_power(base, exponent)
    return np.asarray(result).astype(x.dtype, copy=False)


power.bind(bind_power)


@power.vjp
def vjp_of_power(dz, x, y, *, z, x_dtype, y_dtype, wanted):
    """y·x^(y-1) and z·ln x. Where x is 0 or less the power has no gradient by y; that of x⁰ by x is
    0."""
    want_x, want_y = wanted
    dz, x, y, z = map(wide, (dz, x, y, z))
    dx = dy = None
    if want_x:
        slope = np.where(y == 0, 0, y * float_power(x, np.where(y == 0, 1, y - 1)))
        dx = reduce_to(dz * slope, x.shape).astype(x_dtype, copy=False)
    if want_y:
        logarithm = np.log(np.where(x > 0, x, 1))
        dy = reduce_to(dz * z * logarithm, y.shape).astype(y_dtype, copy=False)
    return dx, dy


def _integer_power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if y.dtype.kind not in "iu":
        return float_power(x.astype(np.float64), wide(y)).astype(x.dtype)
    if np.any((x == 0) & (y < 0)):
        raise ValueError(f"0 to a negative power is undefined for {x.dtype}")
    # 1/xⁿ of an integer is 0 but for 1 and -1, whose powers only depend on n being odd.
    # uint64 wraps like every shorter integer does, and holds every exponent.
    exponent = np.where(y < 0, y & 1, y).astype(np.uint64)
    positive = np.power(x.astype(np.uint64), exponent).astype(x.dtype)
    return np.where((y < 0) & (x != 1) & (x != -1), x.dtype.type(0), positive)


@power.cost
def cost_of_power(x: np.ndarray, y: np.ndarray, **_: Any) -> Cost:
    """Integers are raised to powers in 64 bits."""
    count = size(broadcast([x.shape, y.shape]))
    if x.dtype.kind in "iu":
        return Cost(count * (24 + 2 * x.dtype.itemsize), 150 * count)
    longest = max(x.dtype.itemsize, y.dtype.itemsize, 4)
    back = 0 if x.dtype.itemsize == longest else x.dtype.itemsize
    # squares and cubes are products; other powers are slow near the ends of the range
    each = 30 if y.size == 1 and y.item() in (2, 3) else 300
    return Cost(wide_copies(x, y) + count * (longest + back), each * count)


# Before opset 7 only b was broadcast, and only with broadcast=1.
for _name, _function, _cost, _vjp in (
    ("Add", add, elementwise(per_element=CHEAP), vjp_of_add),
    ("Sub", sub, elementwise(per_element=CHEAP), vjp_of_sub),
    ("Mul", mul, elementwise(per_element=CHEAP), vjp_of_mul),
    ("Div", div, cost_of_div, vjp_of_div),
):
    _older = op(_name, since=1, hints=CONSUMED_INPUTS)(limit_broadcasting(_function))
    op(_name, since=6)(_older)
    _older.vjp(limited_broadcasting_vjp(_vjp))
    declare(_older, cost=_cost, batch_axis=batch.elementwise)
power_1 = op("Pow", since=1)(limit_broadcasting(power))
declare(power_1, cost=cost_of_power, batch_axis=batch.elementwise)


@power_1.vjp
def vjp_of_power_1(dz, a, b, *, z, axis, broadcast, a_dtype, wanted):
    aligned = align_shape(a, b, axis, broadcast)
    types = {"x_dtype": a_dtype, "y_dtype": a_dtype}
    da, db = vjp_of_power(dz, a, aligned, z=z, wanted=wanted, **types)
    return da, None if db is None else db.reshape(b.shape)


# -------------------------------------------------------------------------------------------- Clip


@op("Clip", since=11)
def clip(
    input: np.ndarray,
    min: np.ndarray | None = None,
    max: np.ndarray | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """minimum(max, maximum(input, min)): where min > max, everything is max.

    Without min or max the limit is the dtype's lowest or highest finite value, so that infinities
    are clipped, too. Spec: Clip-11, -12, -13.
    """
    lowest, highest = dtype_limits(input.dtype)
    low = _check_limit(min, "min", input, lowest)
    high = _check_limit(max, "max", input, highest)
    if input.dtype.kind != "V":
        return np.clip(input, low, high, out=out)
    y = np.maximum(input, low, out=result_like(input, out))  # ml_dtypes has no clip
    return np.minimum(y, high, out=y)


clip.bind(bind_clip)


def _check_limit(limit: np.ndarray | None, name: str, x: np.ndarray, default: object) -> np.ndarray:
    if limit is None:
        return np.asarray(default, x.dtype)
    if limit.size != 1:
        raise ValueError(f"{name} of Clip should be a scalar, got shape {limit.shape}")
    check_same_dtype(x, limit)
    return limit.reshape(())


@clip.vjp
def vjp_of_clip(dy, input, min=None, max=None, *, wanted):
    """1 between the limits and at them; a limit has the gradient of what it is the result of. Where
    min > max, everything is max."""
    lowest, highest = dtype_limits(input.dtype)
    low = lowest if min is None else min.reshape(())
    high = highest if max is None else max.reshape(())
    above, below = input > high, (input < low) & (low <= high)
    above |= low > high
    d_input = np.where(above | below, 0, dy)
    d_min = None if min is None else np.where(below, dy, 0).sum().reshape(min.shape)
    d_max = None if max is None else np.where(above, dy, 0).sum().reshape(max.shape)
    return d_input, d_min, d_max


@op("Clip", since=6, until=11)
@in_float32
def clip_6(
    input: np.ndarray,
    *,
    max: float = 3.4028234663852886e38,
    min: float = -3.4028234663852886e38,
) -> np.ndarray:
    """minimum(max, maximum(input, min)). Spec: Clip-1, -6."""
    return np.clip(input, input.dtype.type(min), input.dtype.type(max))


clip_6.bind(bind_clip_6)


@op("Clip", since=1, hints=CONSUMED_INPUTS)
def clip_1(input: np.ndarray, *, max: float | None = None, min: float | None = None) -> np.ndarray:
    """minimum(max, maximum(input, min)).

    Without min or max the limit is the dtype's lowest or highest finite value. Spec: Clip-1.
    """
    lowest, highest = dtype_limits(input.dtype)
    low, high = lowest if min is None else min, highest if max is None else max
    return np.clip(input, input.dtype.type(low), input.dtype.type(high))


@clip_6.vjp
@clip_1.vjp
def vjp_of_clip_1(dy, input, *, min, max):
    lowest, highest = dtype_limits(input.dtype)
    low, high = lowest if min is None else min, highest if max is None else max
    return np.where((low <= input) & (input <= high), dy, 0)


clip.cost(elementwise(per_element=CHEAP))
clip_6.cost(elementwise(widened=True, per_element=CHEAP))
clip_1.cost(elementwise(per_element=CHEAP))


# ----------------------------------------------------------------------------------- bits


@op("BitShift", since=11)
def bit_shift(x: np.ndarray, y: np.ndarray, *, direction: str) -> np.ndarray:
    """x shifted by y bits, to the "LEFT" or the "RIGHT" (then the sign is kept).

    All bits are shifted out when y is negative or not below the number of bits.
    Spec: BitShift-11 (unsigned), -28 (signed).
    """
    check_same_dtype(x, y)
    if direction == "LEFT":
        return np.left_shift(x, y)
    if direction == "RIGHT":
        return np.right_shift(x, y)
    raise ValueError(f"direction of BitShift should be 'LEFT' or 'RIGHT', got {direction!r}")


@op("BitwiseAnd", since=18)
def bitwise_and(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The bits set in both a and b. Spec: BitwiseAnd-18."""
    check_same_dtype(a, b)
    return np.bitwise_and(a, b, out=out)


@op("BitwiseOr", since=18)
def bitwise_or(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The bits set in a or b or both. Spec: BitwiseOr-18."""
    check_same_dtype(a, b)
    return np.bitwise_or(a, b, out=out)


@op("BitwiseXor", since=18)
def bitwise_xor(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The bits set in one of a and b. Spec: BitwiseXor-18."""
    check_same_dtype(a, b)
    return np.bitwise_xor(a, b, out=out)


@op("BitwiseNot", since=18)
def bitwise_not(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Every bit of x inverted. Spec: BitwiseNot-18."""
    return np.invert(x, out=out)


for _function in (bit_shift, bitwise_and, bitwise_or, bitwise_xor, bitwise_not):
    _function.cost(elementwise(per_element=CHEAP))


declare(
    add, sub, mul, div, power, mod, mod_10, clip,
    clip_6, clip_1, bit_shift, bitwise_and, bitwise_or, bitwise_xor, bitwise_not,
    batch_axis=batch.elementwise,
)  # fmt: skip
declare(
    bit_shift, bitwise_and, bitwise_or, bitwise_xor, bitwise_not, vjp=no_gradient
)  # fmt: skip
bit_shift.choices({"direction": "LEFT RIGHT"})
