"""Functions of one element, or of two, at a time."""

from __future__ import annotations

import keras

from onnxwalk.export.coverage.function_cases import (
    FLOATS,
    INTS,
    NUMBERS,
    TYPES,
    FunctionCase,
    Given,
    calls,
)
from onnxwalk.export.coverage.function_cases.values import (
    DIVISORS,
    MILD,
    PLAIN,
    Values,
    between,
)

_UNIT = Given(values=Values(-1, 1))
_ONE = Given()
_TWO = (_ONE, _ONE)
_BROADCAST = (_ONE, Given((1, 3)))


def cases() -> list[FunctionCase]:
    return [*_of_one(), *_of_two(), *_of_bits(), *_choices(), *_casts(), *_activations()]


def _of_one() -> list[FunctionCase]:
    return [
        *calls("abs absolute ceil conj conjugate copy fabs floor imag isfinite isinf isnan "
               "isneginf isposinf isreal logical_not negative real sign signbit square trunc",
               dtypes=TYPES),
        *calls("angle cbrt cos cosh deg2rad erf exp exp2 expm1 log log10 log1p log2 "
               "rad2deg reciprocal rsqrt sin sinc sinh sqrt tan tanh arcsinh arctan", dtypes=TYPES),
        *calls("arccos arcsin arctanh arccosh erfinv erfc", dtypes=TYPES, given=[_UNIT]),
        *calls("i0", dtypes=TYPES, given=[Given(values=MILD)]),
        *calls("round", {}, {"decimals": 2}, {"decimals": -1}, dtypes=TYPES),
        *calls("nan_to_num", {}, {"nan": 1.5, "posinf": 7.0, "neginf": -7.0}, dtypes=TYPES),
        *calls("stop_gradient", dtypes=TYPES),
    ]  # fmt: skip


def _of_two() -> list[FunctionCase]:
    few = ("float32", "int32", "int64", "float16")
    return [
        *calls("add subtract multiply maximum minimum fmax fmin", dtypes=TYPES, given=_TWO),
        *calls("add subtract multiply maximum minimum power divide logical_and equal",
               dtypes=few, given=_BROADCAST, note="broadcast"),
        *calls("add multiply maximum less divide", dtypes=["int8", "uint8", "bfloat16", "float64"],
               given=[_ONE, Given(dtype="int32")], note="with int32"),
        *calls("add multiply maximum less divide", dtypes=["int8", "int64", "bool", "float64"],
               given=[_ONE, Given(dtype="float16")], note="with float16"),
        *calls("divide true_divide divide_no_nan arctan2 hypot logaddexp logaddexp2 heaviside",
               dtypes=TYPES, given=_TWO),
        *calls("nextafter", dtypes=TYPES, given=_TWO),
        *calls("ldexp", dtypes=FLOATS, given=[_ONE, Given(dtype="int32", values=between(-9, 9))]),
        *calls("floor_divide mod fmod", dtypes=FLOATS,
               given=[Given(values=MILD), Given(values=Values(1, 5, kinds="mild"))]),
        *calls("floor_divide mod fmod", dtypes=INTS, given=[_ONE, Given(values=DIVISORS)]),
        *calls("power", dtypes=FLOATS, given=_TWO),
        *calls("power", dtypes=INTS, given=[_ONE, Given(values=between(0, 9))]),
        *calls("power", ("with a number", lambda f, x: [f(x, 2), f(x, 0.5), f(x, -1.0), f(x, 3)]),
               dtypes=FLOATS),
        *calls("gcd lcm", dtypes=INTS, given=[_ONE, Given(values=DIVISORS)]),
        *calls("equal not_equal greater greater_equal less less_equal", dtypes=TYPES, given=_TWO),
        *calls("logical_and logical_or logical_xor", dtypes=TYPES, given=_TWO),
        *calls("isclose", {}, {"equal_nan": True}, {"rtol": 0.5, "atol": 1.0}, dtypes=TYPES,
               given=_TWO),
        *calls("allclose", {}, {"equal_nan": True}, dtypes=TYPES, given=_TWO),
    ]  # fmt: skip


def _of_bits() -> list[FunctionCase]:
    shifts = (Given(), Given(values=Values(0, 6, kinds="none")))
    return [
        *calls("bitwise_and bitwise_or bitwise_xor", dtypes=(*INTS, "bool"), given=_TWO),
        *calls("bitwise_not bitwise_invert", dtypes=(*INTS, "bool")),
        *calls("bitwise_left_shift bitwise_right_shift left_shift right_shift", dtypes=INTS,
               given=shifts),
        *calls("view", {"dtype": "int32"}, dtypes=("float32", "int32", "uint32")),
        *calls("view", {"dtype": "float16"}, dtypes=("int16", "float16")),
    ]  # fmt: skip


def _choices() -> list[FunctionCase]:
    bools = Given(dtype="bool", values=PLAIN)
    return [
        *calls("where", dtypes=TYPES, given=[bools, *_TWO]),
        *calls("where", ("a number", lambda f, x: f(x > 1, x, 0)), dtypes=TYPES),
        *calls("where", ("one argument", lambda f, x: f(x)), dtypes=("bool", "float32")),
        *calls("select", ("two", lambda f, a, b, x, y: f([a, b], [x, y], 7)), dtypes=TYPES,
               given=[bools, bools, *_TWO]),
        *calls("clip", {"x_min": -1, "x_max": 2}, {"x_min": 2, "x_max": -1},
               {"x_min": -0.5, "x_max": 1.5}, dtypes=TYPES),
        *calls("threshold activations.threshold", {"threshold": 0.5, "default_value": 7.0},
               dtypes=FLOATS),
        *calls("isin", {}, {"invert": True}, dtypes=TYPES, given=[_ONE, Given((4,))]),
        *calls("digitize", ("bins", lambda f, x: f(x, [-1.0, 0.0, 2.5])), dtypes=NUMBERS),
        *calls("searchsorted", *(
            (f"side={side}", lambda f, x, side=side: f(
                keras.ops.cast([-2.5, 0.0, 1.0, 1.0, 3.0], x.dtype), x[:, 0, 0], side=side))
            for side in ("left", "right")), dtypes=FLOATS, few=FLOATS),
        *calls("searchsorted", ("ints", lambda f, x: f(
            keras.ops.cast([-3, 0, 1, 1, 3], x.dtype), x[:, 0, 0])),
               dtypes=("int32", "int64")),
    ]  # fmt: skip


def _casts() -> list[FunctionCase]:
    """What TensorFlow makes of floats beyond a short integer type depends on the place of a number
    in the array: its vector instructions saturate, the others cut bits off."""

    def given(dtype: str) -> list[Given]:
        exact = dtype in INTS and dtype not in ("int32", "int64")
        low = 0 if dtype.startswith("uint") else -4
        return [Given(values=Values(low, nan=not exact, within=dtype if exact else None))]

    def saturating(dtype: str) -> list[Given]:
        """Keras clips to the largest of the type, in floats that may round it up."""
        exact = dtype in ("int16", "uint16", "uint32")
        return [Given(values=Values(nan=False, within=dtype if exact else None))]

    found = [
        case
        for dtype in TYPES
        for case in (
            *calls("cast", {"dtype": dtype}, dtypes=FLOATS, given=given(dtype)),
            *calls("cast", {"dtype": dtype}, dtypes=(*INTS, "bool")),
            *calls("saturate_cast", {"dtype": dtype}, dtypes=TYPES,
                   given=saturating(dtype)),
        )
    ]  # fmt: skip
    return [*found, *calls("convert_to_tensor array", {}, {"dtype": "float32"}, dtypes=TYPES)]


def _activations() -> list[FunctionCase]:
    names = (
        "celu elu gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu "
        "log_sigmoid relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus "
        "sparse_sigmoid squareplus swish tanh_shrink"
    )
    both = names + " " + " ".join(f"activations.{name}" for name in names.split())
    alphas = "celu elu activations.celu activations.elu"
    shrinks = "hard_shrink soft_shrink activations.hard_shrink activations.soft_shrink"
    along = "log_softmax softmax activations.log_softmax activations.softmax"
    rows = [Given((2, 4), values=MILD)]
    ordered = [Given((2, 4), values=Values(kinds="mild", nan=False))]
    return [
        *calls(both + " activations.linear activations.exponential activations.mish "
               "activations.tanh", dtypes=TYPES),
        *calls(alphas, {"alpha": 0.3}, dtypes=FLOATS),
        *calls("gelu activations.gelu", {"approximate": True}, {"approximate": False},
               dtypes=FLOATS),
        *calls(shrinks, {"threshold": 1.0}, dtypes=FLOATS),
        *calls("leaky_relu activations.leaky_relu", {"negative_slope": 0.01}, dtypes=FLOATS),
        *calls("squareplus activations.squareplus", {"b": 1.0}, dtypes=FLOATS),
        *calls("activations.relu", {"negative_slope": 0.1}, {"max_value": 2.0}, {"threshold": 1.0},
               {"negative_slope": 0.1, "max_value": 3.0, "threshold": 0.5}, dtypes=FLOATS),
        *calls(along, {}, {"axis": 1}, dtypes=FLOATS, few=FLOATS, given=rows),
        *calls("sparsemax activations.sparsemax", {}, {"axis": 1}, dtypes=FLOATS, few=FLOATS,
               given=ordered),
        *calls("softmax", {"axis": (1, 2)}, {"axis": None}, dtypes=["float32"], given=rows),
        *calls("glu activations.glu", {}, {"axis": 1}, dtypes=FLOATS, given=[Given((2, 4))]),
    ]  # fmt: skip
