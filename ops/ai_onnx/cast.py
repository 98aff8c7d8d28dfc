"""Cast, CastLike and BitCast: every element type to every other.

NumPy converts between its own types as ONNX asks. This file does the rest: strings, and the
small floats of ``ml_dtypes``, which can clamp to their largest value instead of overflowing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, element_type, numpy_dtype
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.copies import bind_cast
from onnxwalk.ops.shared import batch, flops, types
from onnxwalk.ops.shared.cost import PER_STRING, rounding, strings_in

_FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")


@op("Cast", since=6, without=["saturate", "round_mode"])
@op("Cast", since=24)
def cast(input, *, to, saturate=1, round_mode="up"):
    """Each element as the type ``to``. Spec: Cast-6, Cast-9, Cast-13, Cast-24.

    float to integer drops the fraction; integer to a smaller integer drops the high bits; anything
    but 0 is True. A string is read as a number, and a number written without an exponent.
    float8: round to nearest even; what is too large becomes the largest value if ``saturate``, else
    infinity or, where the type has none, NaN.
    float8e8m0: a power of two, rounded ``up``, ``down`` or to the ``nearest``.
    """
    return convert(input, numpy_dtype(to), saturate=saturate, round_mode=round_mode)


cast.bind(bind_cast)


@op("Cast", since=19, without=["round_mode"])
def cast_19(input, *, to, saturate=1, round_mode="up"):
    """Cast when infinity became NaN in the fnuz types, ``saturate`` or not. Spec: Cast-19."""
    return convert(input, numpy_dtype(to), saturate=saturate, infinity_is_nan=True)


cast_19.bind(bind_cast)


@op("Cast", since=1)
def cast_1(input, *, to):
    """Cast with the type by its name in ``TensorProto.DataType``, as "FLOAT". Spec: Cast-1."""
    for code, element in ELEMENT_TYPES.items():
        if element.name == to.lower():
            return convert(input, numpy_dtype(code))
    raise ValueError(f"Cast to {to!r}, which is not a tensor element type of ONNX")


@op("CastLike", since=15, without=["saturate", "round_mode"])
@op("CastLike", since=24)
def cast_like(input, target_type, *, saturate=1, round_mode="up"):
    """Cast to the type of another tensor. Spec: CastLike-15, CastLike-24."""
    return convert(input, target_type.dtype, saturate=saturate, round_mode=round_mode)


@op("CastLike", since=19, without=["round_mode"])
def cast_like_19(input, target_type, *, saturate=1, round_mode="up"):
    """CastLike with the infinities of Cast-19. Spec: CastLike-19."""
    return convert(input, target_type.dtype, saturate=saturate, infinity_is_nan=True)


@cast.vjp
@cast_19.vjp
@cast_1.vjp
@cast_like.vjp
@cast_like_19.vjp
def vjp_of_cast(dy, *, input_dtype):
    return dy.astype(input_dtype, copy=False)


declare(cast_like, cast_like_19, no_gradient_of="target_type")


@op("BitCast", since=26)
def bit_cast(input, *, to):
    """The same bits read as another type of the same width: a view. Spec: BitCast-26."""
    source, target = element_type(input.dtype), ELEMENT_TYPES.get(to)
    dtype = numpy_dtype(to)
    assert target is not None
    if source.bits != target.bits or not source.bits:
        raise ValueError(f"can't read the bits of {source.name} as {target.name}")
    if target.name == "bool":
        # NumPy's bools are 0 and 1; other bytes would be True in some places, False in others
        return np.asarray(input.view(np.uint8) != 0)
    return input.view(dtype)


def convert(
    x: np.ndarray,
    dtype: np.dtype,
    *,
    saturate: int = 1,
    round_mode: str = "up",
    infinity_is_nan: bool = False,
) -> np.ndarray:
    """``x`` as another element type, by the rules of Cast.

    ``infinity_is_nan``: infinity becomes NaN in the two fnuz types even when saturating.
    """
    source, target = element_type(x.dtype), element_type(dtype)
    if source is target:
        return x
    if "complex" in source.name or "complex" in target.name:
        raise ValueError(f"ONNX has no cast from {source.name} to {target.name}")
    if source.in_ml_dtypes:
        x = x.astype(np.float32)  # exact: it has every value of the small types
    # floats overflow to infinity; a float out of an integer's range is undefined
    if target.name == "string":
        return _map_elements(_formatter(x.dtype), x, np.dtype(object))
    if source.name == "string":
        x = _parse_strings(x, dtype)
    if target.name == "float8e8m0":
        return _to_power_of_two(x, dtype, saturate, round_mode)
    if target.name in _FLOAT8:
        fnuz_infinity = infinity_is_nan and target.name.endswith("fnuz")
        return _to_float8(x, dtype, bool(saturate), fnuz_infinity)
    if target.in_ml_dtypes and x.dtype == np.float64:
        x = _round_to_odd_float32(x)
    return x.astype(dtype)


def cost_of_convert(x: np.ndarray, dtype: np.dtype) -> Cost:
    """The result, and the temporary arrays of ``convert``."""
    source, target = element_type(x.dtype), element_type(dtype)
    if source is target:
        return Cost(0)
    widened = 4 if source.in_ml_dtypes else 0
    if target.name == "string":
        # an object, two pointers to it, and its text, without exponent even for doubles
        text = _LONGEST_TEXT.get(source.name, 24)
        return Cost((widened + PER_STRING + 16 + text) * x.size, 10_000 * x.size)
    work = (30 + rounding(dtype) + (150 if target.name.startswith(("int", "uint")) else 0)) * x.size
    if source.name == "string":
        found = strings_in(x)
        widened = PER_STRING + 16
        work += 3000 * x.size + 30 * sum(map(len, found))
    double = x.dtype == np.float64 or source.name == "string"
    steps = 20 if target.in_ml_dtypes and double else 0  # by way of float32
    if target.name == "float8e8m0":
        steps = 36
    elif target.name in _FLOAT8:
        steps += 24 if double else 16
    return Cost((widened + steps + dtype.itemsize) * x.size, work + 10 * steps * x.size)


#: of floats, whose digits may begin far behind the point
_LONGEST_TEXT = {"double": 360, "float": 64, "bfloat16": 64}


@cast.cost
@cast_19.cost
def cost_of_cast(input: np.ndarray, *, to: int, **_: Any) -> Cost:
    return cost_of_convert(input, numpy_dtype(to))


@cast_1.cost
def cost_of_cast_1(input: np.ndarray, *, to: str) -> Cost:
    (code,) = (code for code, element in ELEMENT_TYPES.items() if element.name == to.lower())
    return cost_of_convert(input, numpy_dtype(code))


@cast_like.cost
@cast_like_19.cost
def cost_of_cast_like(input: np.ndarray, target_type: np.ndarray, **_: Any) -> Cost:
    return cost_of_convert(input, target_type.dtype)


bit_cast.cost(lambda input, *, to: Cost(input.nbytes, 5 * input.size))


# --- small floats ---------------------------------------------------------------------------------


def _to_float8(x: np.ndarray, dtype: np.dtype, saturate: bool, infinity_is_nan: bool) -> np.ndarray:
    import ml_dtypes

    y = (_round_to_odd_float32(x) if x.dtype == np.float64 else x).astype(dtype)
    if saturate:
        # ml_dtypes overflows as ONNX does without ``saturate``: to infinity or NaN
        overflowed = ~np.isfinite(y.astype(np.float32)) & ~np.isnan(x)
        if infinity_is_nan:
            overflowed &= ~np.isinf(x)
        largest = np.float32(ml_dtypes.finfo(dtype).max)
        y[overflowed] = np.copysign(largest, x[overflowed]).astype(dtype)
    return y


def _round_to_odd_float32(x: np.ndarray) -> np.ndarray:
    """float64 as a float32 from which a still smaller float is rounded correctly.

    ``ml_dtypes`` goes through float32, and to round twice to nearest is to round wrongly just above
    a midpoint. What float32 can't hold is cut off here and leaves its trace in the last bit.
    """
    y = x.astype(np.float32)
    inexact = (y != x) & ~np.isnan(x)
    bits = y.view(np.uint32)
    bits = bits - (inexact & (abs(y) > abs(x))) | inexact
    return np.asarray(bits, np.uint32).view(np.float32)


def _to_power_of_two(x: np.ndarray, dtype: np.dtype, saturate: int, round_mode: str) -> np.ndarray:
    """float8e8m0: one byte, the exponent plus 127; 255 is NaN; there is no sign and no zero.

    The spec leaves negative numbers undefined: they become NaN here, and -0 is treated as 0.
    """
    x = x.astype(np.float64)
    fraction, exponent = np.frexp(x)  # x = 2·fraction · 2^(exponent-1), 1 <= 2·fraction < 2
    if round_mode == "up":
        exponent = exponent - (fraction == 0.5)
    elif round_mode == "nearest":  # halfway between two powers of two is up
        exponent = exponent - (fraction < 0.75)
    elif round_mode == "down":
        exponent = exponent - 1
    else:
        raise ValueError(f"round_mode {round_mode!r} should be 'up', 'down' or 'nearest'")
    exponent = np.where(np.isinf(x), 1024, np.where(x == 0, -1024, exponent))
    code = (exponent.clip(-127, 127) + 127).astype(np.uint8)
    nan = np.isnan(x) | (x < 0)
    if not saturate:
        nan |= (x > 2.0**127) | (x < 2.0**-127)
    return np.where(nan, np.uint8(255), code).view(dtype)


# --- strings --------------------------------------------------------------------------------------


def _map_elements(function, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``function`` applied to every element, the only way for strings."""
    result = np.empty(x.shape, dtype)
    result.reshape(-1)[:] = [function(value) for value in x.reshape(-1)]
    return result


def _formatter(dtype: np.dtype):
    """The function that writes a number of this type as text."""
    if dtype.kind == "f":
        return _format_float
    return lambda value: str(int(value))  # of a bool too: 1 or 0, as ONNX Runtime writes it


def _format_float(value: np.floating) -> str:
    """The shortest decimal notation that reads back as the same number, without exponent."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "INF" if value > 0 else "-INF"
    return np.format_float_positional(value, trim="-")


def _parse_strings(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The numbers in strings, in a NumPy type that can be cast to ``dtype``."""
    if dtype == np.bool_:
        return _map_elements(_parse_bool, x, np.dtype(bool))
    element = element_type(dtype)
    if "int" not in element.name:
        return _map_elements(_parse_float, x, np.dtype(np.float64))
    wide = np.dtype(np.uint64 if element.name == "uint64" else np.int64)
    try:
        return _map_elements(_parse_int, x, wide)
    except OverflowError:
        raise ValueError(f"the integer in a string is too large for {wide}") from None


def _parse_float(text: str) -> float:
    """Read plain or scientific notation; INF, +INF, -INF and NaN in any case."""
    try:
        if "_" not in text:  # which Python would accept
            return float(text)
    except ValueError:
        pass
    raise ValueError(f"can't cast {text!r} to a number")


def _parse_int(text: str) -> int:
    """Read an integer, or a decimal number without its fraction ("100.5" is 100)."""
    try:
        if "_" not in text:
            return int(text)
    except ValueError:
        pass
    number = _parse_float(text)
    if not np.isfinite(number):
        raise ValueError(f"can't cast {text!r} to an integer")
    return int(number)


def _parse_bool(text: str) -> bool:
    """Read a number (true unless it is 0), or "true" or "false" in any case."""
    word = text.strip().lower()
    return word == "true" or (word != "false" and _parse_float(text) != 0)


declare(
    cast, cast_19, cast_1, cast_like, cast_like_19,
    flops=flops.zero, choices={"round_mode": "up down nearest"},
)  # fmt: skip
declare(cast, cast_19, cast_1, batch_axis=batch.elementwise)
declare(cast, cast_19, bit_cast, output_type=types.from_attribute("to"))
cast_1.output_type(lambda first, *, to, **_: to.lower())
bit_cast.vjp(no_gradient)
