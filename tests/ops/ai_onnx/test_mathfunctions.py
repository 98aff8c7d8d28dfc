import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwalk.ops import registry
from tests.support.dense_strategies import arrays, check_with_onnxruntime, modestly
from tests.support.harness import Case, assert_same, check, run_directly, run_onnxwalk

INF, NAN = np.inf, np.nan
LOW, HIGH = -np.finfo(np.float32).max, np.finfo(np.float32).max
# name: first version, x, f(x), both worked out without NumPy
FUNCTIONS = {
    "Neg": (6, [-1, 0, INF], [1, -0.0, -INF]),
    "Abs": (6, [-1, 0, -INF], [1, 0, INF]),
    "Sign": (9, [-2, 0, INF], [-1, 0, 1]),
    "Reciprocal": (6, [4, INF, 0], [0.25, 0, INF]),
    "Sqrt": (6, [4, INF, -1], [2, INF, NAN]),
    "Exp": (6, [-INF, 0, 1, 1000], [0, 1, math.e, INF]),
    "Log": (6, [0, 1, math.e, -1], [-INF, 0, 1, NAN]),
    "Ceil": (6, [-1.5, 1.2, INF], [-1, 2, INF]),
    "Floor": (6, [-1.5, 1.2, INF], [-2, 1, INF]),
    "Round": (11, [0.9, 2.5, 2.3, 1.5, -4.5], [1, 2, 2, 2, -4]),
    "Erf": (9, [-INF, -0.5, 0, 2, INF], [-1, math.erf(-0.5), 0, math.erf(2), 1]),
    "Sin": (7, [0, 1, INF], [0, math.sin(1), NAN]),
    "Cos": (7, [0, 1, INF], [1, math.cos(1), NAN]),
    "Tan": (7, [0, 1, INF], [0, math.tan(1), NAN]),
    "Asin": (7, [0, 1, 2], [0, math.pi / 2, NAN]),
    "Acos": (7, [0, 1, 2], [math.pi / 2, 0, NAN]),
    "Atan": (7, [0, 1, INF], [0, math.pi / 4, math.pi / 2]),
    "Sinh": (9, [0, 1, 1000], [0, math.sinh(1), INF]),
    "Cosh": (9, [0, 1, 1000], [1, math.cosh(1), INF]),
    "Asinh": (9, [0, 1, -INF], [0, math.asinh(1), -INF]),
    "Acosh": (9, [1, 2, 0], [0, math.acosh(2), NAN]),
    "Atanh": (9, [0, 0.5, 1], [0, math.atanh(0.5), INF]),
}


def f(values, dtype=np.float32):
    return np.array(values, dtype)


BY_HAND = [
    *(
        Case(name, opset, [f(x, dtype)], {}, [f(y, dtype)], rtol=rtol, note=np.dtype(dtype).name)
        for name, (since, x, y) in FUNCTIONS.items()
        for dtype, opset, rtol in (
            (np.float32, since, 1e-6),
            (np.float64, since, 1e-14),
            (np.float16, since, 1e-3),
            (ml_dtypes.bfloat16, 22, 1e-2),
        )
    ),
    Case("Neg", 6, [f([-128, 1], np.int8)], {}, [f([-128, -1], np.int8)]),
    Case("Abs", 13, [f([-5, 5], np.int16)], {}, [f([5, 5], np.int16)]),
    Case("Sign", 13, [f([0, 5], np.uint8)], {}, [f([0, 1], np.uint8)]),
    Case("Sign", 13, [f([-7, 0, 5], np.int64)], {}, [f([-1, 0, 1], np.int64)]),
    # 0.84 and 0.99999… cut to integers, as a cast would
    Case("Erf", 9, [f([-9, 0, 1, 9], np.int32)], {}, [f([-1, 0, 0, 1], np.int32)]),
]
BY_ORT = [
    Case(name, max(since, opset), [f([[-2, -0.75, 0.25, 1]])])
    for name, (since, _, _) in FUNCTIONS.items()
    for opset in (7, 13, 22)
]
CASES = BY_HAND + BY_ORT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("name", FUNCTIONS)
@modestly
@given(dtype=st.sampled_from([np.float32, np.float64]), data=st.data())
def test_function(name, dtype, data):
    check_with_onnxruntime(Case(name, 22, [data.draw(arrays(dtype, largest=8))]))


@modestly
@given(
    name=st.sampled_from(["Neg", "Abs", "Sign"]),
    dtype=st.sampled_from([np.int8, np.int32, np.int64]),
    data=st.data(),
)
def test_integers(name, dtype, data):
    check_with_onnxruntime(Case(name, 13, [data.draw(arrays(dtype))]))


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1e-7), (np.float64, 1e-15)])
def test_erf_is_accurate(dtype, error):
    x = np.concatenate([np.linspace(-7, 7, 70001), np.logspace(-30, 1, 3001)]).astype(dtype)
    exact = np.array([math.erf(v) for v in x.tolist()])
    (y,) = run_directly(Case("Erf", 13, [x]))
    assert y.dtype == dtype
    assert np.max(np.abs(y - exact)) < error
    assert np.max(np.abs(y - exact) / np.maximum(np.abs(exact), 1e-300)) < 2 * error
    assert np.signbit(run_directly(Case("Erf", 13, [f([-0.0], dtype)]))[0]).all()


def test_erf_of_any_layout():
    x = np.linspace(-3, 3, 60000, dtype=np.float32).reshape(200, 300)  # several blocks
    (y,) = run_directly(Case("Erf", 13, [x]))
    for view in (lambda a: a.T, lambda a: a[::-2, 1::3], lambda a: a[:0], lambda a: a[7, 7, ...]):
        assert_same(run_directly(Case("Erf", 13, [view(x)]))[0], view(y), rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"Erf"}))
def test_out_is_written(name):
    x = f([0.25, 1])
    out = np.empty_like(x)
    function = registry.lookup("", name, 22).function
    assert function(x, out=out) is out
    assert_same(out, function(x))


def test_no_warning_escapes():
    extremes = [LOW, -2, -0.0, 0, 1, HIGH, INF, -INF, NAN]
    with np.errstate(all="raise"):
        for name in FUNCTIONS:
            run_onnxwalk(Case(name, 22, [f(extremes)]))
            run_onnxwalk(Case(name, 22, [f([-6e4, -2, 0, 1, 6e4, INF, NAN], np.float16)]))
            run_onnxwalk(Case(name, 22, [f([-6e4, -2, 0, 1, 6e4, INF, NAN], ml_dtypes.bfloat16)]))
