"""Cast, CastLike and BitCast: every pair of element types, and the tables of the spec."""

import warnings

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, element_type, numpy_dtype
from tests.support.harness import Case, check, run_directly

F = np.float32
INF, NAN = np.inf, np.nan
CODE = {element.name: code for code, element in ELEMENT_TYPES.items()}
SPECIAL = np.array([0, -0.0, NAN, INF, -INF, 1e6, -1e6], F)


def to(name, **more):
    return {"to": CODE[name], **more}


def text(*values):
    return np.array(values, object)


def small(name, *values):
    """float8 values as float32, computed by ml_dtypes; ``largest`` are exact in float32."""
    return np.array(values, F).astype(numpy_dtype(CODE[name]))


NUMBERS = np.array([-2.7, -1.5, -0.5, 0, 0.4, 1.9, 100.6], F)
CASES = [
    Case("Cast", 1, [NUMBERS], {"to": "INT32"}, [np.array([-2, -1, 0, 0, 0, 1, 100], np.int32)]),
    *(
        Case("Cast", opset, [NUMBERS], to(name), note=name)
        for opset, name in [(7, "int32"), (9, "double"), (13, "int8"), (19, "float16")]
    ),
    Case("Cast", 13, [np.array([200, -129, 36], np.int16)], to("int8"), note="high bits go"),
    Case("Cast", 13, [np.array([200], np.int16)], to("int8"), [np.array([-56], np.int8)]),
    Case("Cast", 13, [np.array([0, -0.0, 36, 0.1, NAN], F)], to("bool")),
    Case("Cast", 13, [np.array([1e6, -1e6, 65504], F)], to("float16"), note="to infinity"),
    Case("Cast", 13, [np.array(3.9, F)], to("int64"), note="rank 0"),
    Case("Cast", 13, [np.zeros((0, 2), F)], to("string"), note="empty"),
    # Cast-9: "plain (e.g., "3.14" and "1000") and scientific numeric representations (e.g., "1e-5"
    # and "1E8")", and INF, +INF, -INF, NaN in any case
    Case("Cast", 9, [text("3.14", "1000", "1e-5", "1E8", " 7 ")], to("float")),
    Case("Cast", 9, [text("INF", "+inf", "-Inf", "nAn", "-0")], to("double")),
    Case("Cast", 13, [text("1000", "-7", "100.5")], to("int64")),
    Case("Cast", 13, [text("300")], to("int8"), note="high bits go"),
    Case("Cast", 13, [text(str(2**64 - 1))], to("uint64")),
    Case("Cast", 13, [text("0", "1", "2.5")], to("bool")),
    Case("Cast", 13, [text("True", "FALSE")], to("bool"), [np.array([True, False])]),
    Case("Cast", 13, [np.array("5", object)], to("float"), note="rank 0"),
    Case("Cast", 13, [text("1e999")], to("float"), [np.array([INF], F)]),
    # "plain floating-point representation (such as "314.15926") would be used";
    # ONNX Runtime writes 1e+20 and 1e-07, and 0.099975586 for the float16 0.1
    Case(
        "Cast",
        13,
        [np.array([314.15926, 1e20, 1e-7, 1, -0.0], np.float64)],
        to("string"),
        [text("314.15926", "100000000000000000000", "0.0000001", "1", "-0")],
    ),
    Case("Cast", 13, [np.array([0.1], np.float16)], to("string"), [text("0.1")]),
    Case("Cast", 13, [np.array([1, 0.1, -2.5, NAN, INF, -INF], F)], to("string")),
    Case("Cast", 13, [np.array([-5, 7])], to("string")),
    Case("Cast", 13, [np.array([True, False])], to("string")),
    Case("Cast", 13, [np.array(5, np.int8)], to("string"), [np.array("5", object)]),
    # the two tables of Cast-19 …
    Case(
        "Cast",
        19,
        [SPECIAL],
        to("float8e4m3fn"),
        [small("float8e4m3fn", 0, -0.0, NAN, 448, -448, 448, -448)],
    ),
    Case(
        "Cast",
        19,
        [SPECIAL],
        to("float8e4m3fnuz"),
        [small("float8e4m3fnuz", 0, 0, NAN, NAN, NAN, 240, -240)],
    ),
    Case(
        "Cast",
        19,
        [SPECIAL],
        to("float8e5m2"),
        [small("float8e5m2", 0, -0.0, NAN, 57344, -57344, 57344, -57344)],
    ),
    Case(
        "Cast",
        19,
        [SPECIAL],
        to("float8e5m2fnuz", saturate=0),
        [small("float8e5m2fnuz", 0, 0, NAN, NAN, NAN, NAN, NAN)],
    ),
    Case(
        "Cast",
        19,
        [SPECIAL],
        to("float8e5m2", saturate=0),
        [small("float8e5m2", 0, -0.0, NAN, INF, -INF, INF, -INF)],
    ),
    # … and what Cast-24 changed: infinity saturates in the fnuz types too
    Case(
        "Cast",
        24,
        [SPECIAL],
        to("float8e5m2fnuz"),
        [small("float8e5m2fnuz", 0, 0, NAN, 57344, -57344, 57344, -57344)],
    ),
    # round to nearest, ties to even; 464 is halfway between 448 and what would be 480
    Case(
        "Cast",
        24,
        [np.array([1.0625, 1.1875, 464, 465], F)],
        to("float8e4m3fn", saturate=0),
        [small("float8e4m3fn", 1, 1.25, 448, NAN)],
    ),
    # float8e8m0: a power of two; 2**-127 is its smallest, and what 0 becomes
    *(
        Case(
            "Cast",
            24,
            [np.array([1, 1.25, 1.5, 1.75, 2, 0, 3e38, 1e-45, INF, NAN], np.float64)],
            to("float8e8m0", round_mode=mode),
            [np.array([*rounded, 0, *ends, 254, 255], np.uint8).view(numpy_dtype(24))],
            note=mode,
        )
        for mode, rounded, ends in [
            ("up", [127, 128, 128, 128, 128], [254, 0]),
            ("down", [127, 127, 127, 127, 128], [254, 0]),
            ("nearest", [127, 127, 128, 128, 128], [254, 0]),
        ]
    ),
    Case(
        "Cast",
        24,
        [np.array([3, 0, 1e39, 1e-39, INF, NAN])],
        to("float8e8m0", round_mode="nearest", saturate=0),
        [np.array([129, 255, 255, 255, 255, 255], np.uint8).view(numpy_dtype(24))],
    ),
    Case(
        "Cast",
        21,
        [np.array([200, -1, 7, 8], np.int32)],
        to("int4"),
        [np.array([-8, -1, 7, -8], numpy_dtype(22))],
    ),
    Case("Cast", 21, [np.array([3.7, -3.7], F)], to("int4"), [np.array([3, -3], numpy_dtype(22))]),
    Case("CastLike", 15, [NUMBERS, np.zeros(1, np.int16)]),
    Case("CastLike", 15, [NUMBERS[:2], text("")], {}, [text("-2.7", "-1.5")]),
    Case(
        "CastLike",
        19,
        [SPECIAL, small("float8e4m3fnuz", 1)],
        {},
        [small("float8e4m3fnuz", 0, 0, NAN, NAN, NAN, 240, -240)],
    ),
    Case(
        "CastLike",
        24,
        [SPECIAL[3:5], small("float8e4m3fnuz", 1)],
        {},
        [small("float8e4m3fnuz", 240, -240)],
    ),
    Case(
        "BitCast", 26, [np.array([1, -2], F)], to("uint32"), [np.uint32([0x3F800000, 0xC0000000])]
    ),
    Case("BitCast", 26, [np.array(-1, np.int16)], to("uint16"), [np.array(65535, np.uint16)]),
    Case("BitCast", 26, [np.array([0, 3], np.int8)], to("bool"), [np.array([False, True])]),
    Case(
        "BitCast",
        26,
        [np.array([-1, 7], numpy_dtype(22))],
        to("uint4"),
        [np.array([15, 7], numpy_dtype(21))],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("source", [c for c in ELEMENT_TYPES if c not in (14, 15)])
@pytest.mark.parametrize("target", [c for c in ELEMENT_TYPES if c not in (14, 15)])
def test_one_survives_between_every_two_types(source, target):
    """1 is a number that every type has: its value must survive, without a warning."""
    one = {8: text("1"), 9: np.array([True])}.get(source)
    if one is None:
        one = np.array([1], F).astype(numpy_dtype(source))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = run_directly(Case("Cast", 25, [one], {"to": target}))
    assert element_type(result.dtype).code == target
    if numpy_dtype(target) == ml_dtypes.int2:
        assert int(result[0]) == 1
    else:
        assert float(result[0]) == 1


@pytest.mark.parametrize("target", [c for c in ELEMENT_TYPES if c not in (8, 14, 15)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_warning_escapes(target, dtype):
    values = np.array([NAN, INF, -INF, -1, 60000, 0, -0.0, 1e-7], dtype)
    for x in (values, values[0], values.reshape(2, 4).T):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (result,) = run_directly(Case("Cast", 25, [np.asarray(x)], {"to": target}))
        assert isinstance(result, np.ndarray) and result.shape == x.shape


@pytest.mark.parametrize("name", ["bfloat16", "float8e4m3fn", "float8e5m2", "float4e2m1"])
def test_double_is_rounded_once(name):
    """Just above the middle between 1 and its successor: to the successor, though float32 can't
    tell the number from the middle."""
    dtype = numpy_dtype(CODE[name])
    successor = 1 + float(ml_dtypes.finfo(dtype).eps)
    middle = (1 + successor) / 2
    x = np.array([middle + 1e-12, -middle - 1e-12, middle, middle - 1e-12])
    (result,) = run_directly(Case("Cast", 23, [x], to(name)))
    np.testing.assert_array_equal(result.astype(np.float64), [successor, -successor, 1, 1])


@pytest.mark.parametrize(
    "value, target",
    [
        ("Hello World!", "float"),
        ("", "int32"),
        ("1_0", "float"),
        ("inf", "int8"),
        ("yes", "bool"),
        ("9" * 30, "int64"),
        ("-1", "uint64"),
    ],
)
def test_what_is_no_number_is_refused(value, target):
    with pytest.raises(ValueError):
        run_directly(Case("Cast", 13, [text(value)], to(target)))


def test_invalid_types_are_refused():
    with pytest.raises(ValueError, match="complex64"):
        run_directly(Case("Cast", 13, [np.zeros(1, np.complex64)], to("float")))
    with pytest.raises(ValueError, match="99"):
        run_directly(Case("Cast", 13, [NUMBERS], {"to": 99}))
    with pytest.raises(ValueError, match="round_mode"):
        run_directly(Case("Cast", 24, [NUMBERS], to("float8e8m0", round_mode="odd")))
    with pytest.raises(ValueError, match="bits"):
        run_directly(Case("BitCast", 26, [NUMBERS], to("int64")))
    with pytest.raises(ValueError, match="not a tensor element type"):
        run_directly(Case("Cast", 1, [NUMBERS], {"to": "REAL"}))


def test_strings_read_back_as_the_same_numbers():
    rng = np.random.default_rng(0)
    for dtype in (np.float16, np.float32, np.float64):
        x = (rng.standard_normal(200) * 10.0 ** rng.integers(-4, 4, 200)).astype(dtype)
        (written,) = run_directly(Case("Cast", 13, [x], to("string")))
        (read,) = run_directly(Case("Cast", 13, [written], {"to": element_type(x.dtype).code}))
        np.testing.assert_array_equal(read, x)


PLAIN = [np.float16, np.float32, np.float64, np.bool_]
PLAIN += [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@st.composite
def casts(draw):
    source, target = draw(st.sampled_from(PLAIN)), np.dtype(draw(st.sampled_from(PLAIN)))
    elements = None
    if np.dtype(source).kind == "f":
        # out of an integer's range is undefined
        low, high = (0, 100) if target.kind == "u" else (-100, 100)
        width = np.dtype(source).itemsize * 8
        elements = st.floats(low, high, width=width, allow_subnormal=False)
    x = draw(hnp.arrays(source, hnp.array_shapes(min_dims=0, min_side=0), elements=elements))
    if x.ndim and draw(st.booleans()):
        x = x[..., ::-1].T
    return Case("Cast", 13, [x], {"to": element_type(target).code})


@settings(deadline=None, max_examples=100)
@given(casts())
def test_agrees_with_onnxruntime(case):
    check(case)
