import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dense_strategies import (
    FLOATS,
    INTEGERS,
    arrays,
    check_with_onnxruntime,
    modestly,
)
from tests.support.harness import Case, check, run_directly

INF, NAN = np.inf, np.nan
F, T = False, True


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def strings(*values):
    return np.array(values, object)


A, B = [1, 2, 3, NAN], [2, 2, 2, NAN]
P, Q = f([F, F, T, T], bool), f([F, T, F, T], bool)
BY_HAND = [
    Case("Equal", 7, [f([1, 2], np.int32), f([2], np.int32)], {}, [f([F, T], bool)]),
    Case("Equal", 11, [f(A), f(B)], {}, [f([F, T, F, F], bool)]),
    Case("Equal", 19, [strings("a", "ö"), strings("b", "ö")], {}, [f([F, T], bool)]),
    Case("Equal", 13, [f([1, 2], ml_dtypes.bfloat16)] * 2, {}, [f([T, T], bool)]),
    Case("Greater", 7, [f(A), f(B)], {}, [f([F, F, T, F], bool)]),
    Case("Less", 7, [f(A), f(B)], {}, [f([T, F, F, F], bool)]),
    Case("GreaterOrEqual", 12, [f(A), f(B)], {}, [f([F, T, T, F], bool)]),
    Case("LessOrEqual", 16, [f(A), f(B)], {}, [f([T, T, F, F], bool)]),
    # above 2⁵³, where float64 cannot tell them apart
    Case("Less", 13, [f([2**53], np.int64), f([2**53 + 1], np.int64)], {}, [f([T], bool)]),
    Case("And", 7, [P, Q], {}, [f([F, F, F, T], bool)]),
    Case("Or", 7, [P, Q], {}, [f([F, T, T, T], bool)]),
    Case("Xor", 7, [P, Q], {}, [f([F, T, T, F], bool)]),
    Case("Not", 7, [Q], {}, [f([T, F, T, F], bool)]),
    Case("IsNaN", 9, [f([1, NAN, INF])], {}, [f([F, T, F], bool)]),
    Case("IsNaN", 20, [f([1, NAN], ml_dtypes.float8_e4m3fn)], {}, [f([F, T], bool)]),
    Case("IsInf", 10, [f([1, NAN, INF, -INF])], {}, [f([F, F, T, T], bool)]),
    Case("IsInf", 10, [f([INF, -INF])], {"detect_negative": 0}, [f([T, F], bool)]),
    Case("IsInf", 20, [f([INF, -INF])], {"detect_positive": 0}, [f([F, T], bool)]),
    Case("IsInf", 20, [f([INF, -INF, 1], ml_dtypes.float8_e5m2)], {}, [f([T, T, F], bool)]),
    Case("IsInf", 20, [f([1, -1], ml_dtypes.float8_e4m3fnuz)], {}, [f([F, F], bool)]),
    Case("Where", 9, [f([[T], [F]], bool), f([1, 2]), f(3)], {}, [f([[1, 2], [3, 3]])]),
    Case("Where", 9, [f([T, F], bool), strings("a", "b"), strings("c")], {}, [strings("a", "c")]),
    Case("Where", 16, [f([T, F], bool)] + [f([1, 2], ml_dtypes.bfloat16)] * 2, {},
         [f([1, 2], ml_dtypes.bfloat16)]),
]  # fmt: skip
BY_ORT = [
    *(Case(name, opset, [f(A), f(B)]) for name in ("Greater", "Less") for opset in (7, 9, 13)),
    *(Case(n, o, [f(A), f(B)]) for n in ("GreaterOrEqual", "LessOrEqual") for o in (12, 16)),
    *(Case(name, 7, [P, Q]) for name in ("And", "Or", "Xor", "Equal")),
    Case("Equal", 19, [strings("a", "ö"), strings("b", "ö")]),
    Case("Equal", 13, [f(A), f(B)]),
    Case("Not", 7, [P]),
    Case("IsNaN", 13, [f(A)]),
    Case("IsInf", 10, [f([INF, -INF, 1, NAN])]),
    Case("Where", 16, [P, f(A), f(B)]),
]
CASES = BY_HAND + BY_ORT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@modestly
@given(
    name=st.sampled_from(["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"]),
    dtype=st.sampled_from([*FLOATS, *INTEGERS]),
    data=st.data(),
)
def test_comparison(name, dtype, data):
    a = data.draw(arrays(dtype, largest=3))
    b = data.draw(arrays(dtype, a.shape[1:] if a.ndim else (2,), largest=3))
    check_with_onnxruntime(Case(name, 16, [a, b]))


@modestly
@given(name=st.sampled_from(["And", "Or", "Xor", "Equal", "Not"]), data=st.data())
def test_logic(name, data):
    a = data.draw(arrays(bool))
    inputs = [a] if name == "Not" else [a, data.draw(arrays(bool, a.shape[1:]))]
    check_with_onnxruntime(Case(name, 16, inputs))


@modestly
@given(dtype=st.sampled_from([np.float32, np.float64]), data=st.data())
def test_nan_and_infinity(dtype, data):
    x = data.draw(arrays(dtype))
    check_with_onnxruntime(Case("IsNaN", 13, [x]))
    flags = {
        "detect_negative": data.draw(st.integers(0, 1)),
        "detect_positive": data.draw(st.integers(0, 1)),
    }
    check_with_onnxruntime(Case("IsInf", 10, [x], flags))


@modestly
@given(dtype=st.sampled_from([np.float32, np.int64, np.uint8]), data=st.data())
def test_where(dtype, data):
    condition = data.draw(arrays(bool))
    x = data.draw(arrays(dtype, condition.shape))
    y = data.draw(arrays(dtype, condition.shape[1:]))
    check_with_onnxruntime(Case("Where", 16, [condition, x, y]))


def test_what_is_refused():
    for name in ("Equal", "Less", "GreaterOrEqual"):
        with pytest.raises(ValueError, match="different dtypes"):
            run_directly(Case(name, 16, [f([1]), f([1], np.int32)]))
    with pytest.raises(ValueError, match="different dtypes"):
        run_directly(Case("Where", 16, [f([True], bool), f([1]), f([1], np.int32)]))
    with pytest.raises(ValueError, match="broadcast"):
        run_directly(Case("Equal", 16, [f([1, 2]), f([1, 2, 3])]))


def test_no_warning_escapes():
    x = f([NAN, INF, -INF, 0])
    with np.errstate(all="raise"):
        for name in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
            run_directly(Case(name, 16, [x, x[::-1]]))
        run_directly(Case("IsNaN", 20, [x]))
        run_directly(Case("IsInf", 20, [x]))
