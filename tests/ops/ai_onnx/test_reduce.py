import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.dense_strategies import arrays, check_with_onnxruntime, modestly, shapes
from tests.support.harness import Case, assert_same, check, run_directly, run_onnxwalk

INF, NAN = np.inf, np.nan
BF16 = ml_dtypes.bfloat16
#: what each reduction makes of [[1, 2], [-3, 4]] over axis 1, and of nothing
REDUCTIONS = {
    "ReduceSum": ([3, 1], 0),
    "ReduceMean": ([1.5, 0.5], NAN),
    "ReduceMax": ([2, 4], -INF),
    "ReduceMin": ([1, -3], INF),
    "ReduceProd": ([2, -12], 1),
    "ReduceL1": ([3, 7], 0),
    "ReduceL2": ([5**0.5, 5], 0),
    "ReduceLogSum": ([np.log(3), 0], -INF),
    "ReduceLogSumExp": ([2 + np.log(1 + np.exp(-1)), 4 + np.log(1 + np.exp(-7))], -INF),
    "ReduceSumSquare": ([5, 25], 0),
}
#: and of the single numbers -1 and 4 when no axis is reduced
OF_ONE = {
    "ReduceL1": [1, 4],
    "ReduceL2": [1, 4],
    "ReduceLogSum": [NAN, np.log(4)],
    "ReduceSumSquare": [1, 16],
}


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def input_since(name):
    return 13 if name == "ReduceSum" else 18


def reduction(name, opset, x, axes, note="", expected=None, **attributes):
    """A case with its axes as an input or attribute, as this opset requires."""
    if opset >= input_since(name):
        axes = [] if axes is None else [np.array(axes, np.int64)]
        return Case(name, opset, [x, *axes], attributes, expected, note=note)
    if axes is not None:
        attributes["axes"] = axes
    return Case(name, opset, [x], attributes, expected, note=note)


X = f([[1, 2], [-3, 4]])
BY_HAND = [
    *(
        reduction(name, opset, X.astype(t), [1], np.dtype(t).name, [f(y, t)], keepdims=0)
        for name, (y, _) in REDUCTIONS.items()
        for t, opset in ((np.float32, 7), (np.float32, 18), (np.float64, 13), (np.float16, 18))
    ),
    # over nothing, and not: of shape (0, 2) over axis 0, then over axis 1
    *(
        reduction(name, 18, np.zeros((0, 2), np.float32), [axis], f"empty {axis}", [expected])
        for name, (_, y) in REDUCTIONS.items()
        for axis, expected in ((0, f([[y, y]])), (1, np.zeros((0, 1), np.float32)))
    ),
    # "composite-reduction operators will still perform the non-reduction steps"; ONNX Runtime
    # 1.32 hands back the input of ReduceL1 and ReduceL2 as it is
    *(
        reduction(
            name,
            18,
            f([-1, 4]),
            axes,
            "no axes",
            [f(OF_ONE.get(name, [-1, 4]))],
            noop_with_empty_axes=1,
        )
        for name in REDUCTIONS
        for axes in (None, [])
    ),
    *(
        reduction(name, opset, f(3), None, "scalar", [f(np.log(3) if name.endswith("Sum")
                                                      and "Log" in name else 3)])
        for name in sorted(set(REDUCTIONS) - {"ReduceSumSquare"})
        for opset in (7, 18)
    ),
    Case("ReduceSum", 13, [f([2000] * 3, np.int32), f([], np.int64)], {}, [f([6000], np.int32)]),
    Case("ReduceSum", 13, [f([2**31 - 1, 1], np.int32)], {}, [f([-(2**31)], np.int32)]),
    Case("ReduceSum", 13, [f([1] * 5000, BF16)], {}, [f([5000], BF16)]),
    Case("ReduceSum", 13, [f([1] * 5000, np.float16)], {}, [f([5000], np.float16)]),
    Case("ReduceMean", 18, [f([60000] * 8, np.float16)], {}, [f([60000], np.float16)]),
    Case("ReduceMean", 18, [f([-7, 2], np.int32)], {}, [f([-2], np.int32)]),
    Case("ReduceMean", 18, [f([2**31 - 1] * 4, np.int32)], {}, [f([2**31 - 1], np.int32)]),
    Case("ReduceMax", 20, [f([[0, 1], [0, 0]], bool), f([1], np.int64)], {}, [f([[1], [0]], bool)]),
    Case("ReduceMin", 20, [f([[0, 1], [1, 1]], bool), f([1], np.int64)], {}, [f([[0], [1]], bool)]),
    Case("ReduceMax", 18, [np.zeros((0,), np.int8)], {}, [f([-128], np.int8)]),
    Case("ReduceMin", 18, [np.zeros((0,), np.uint8)], {}, [f([255], np.uint8)]),
    Case("ReduceMax", 20, [np.zeros((0,), bool)], {}, [f([0], bool)]),
    Case("ReduceMax", 18, [np.zeros((0,), BF16)], {}, [f([-INF], BF16)]),
    # ONNX Runtime 1.32 passes over a nan that is not the first element
    Case("ReduceMax", 18, [f([1, NAN, 2])], {}, [f([NAN])]),
    Case("ReduceL2", 18, [f([-7, 2], np.int32)], {}, [f([7], np.int32)]),
    Case("ReduceL2", 18, [f([300, 400], np.float16)], {}, [f([500], np.float16)]),
    Case("ReduceLogSum", 18, [f([4, 20], np.int32)], {}, [f([3], np.int32)]),
    # ln(e + 5) = 2.04, where ONNX Runtime 1.32 adds integers and says 1
    Case("ReduceLogSumExp", 18, [f([1, 0, 0, 0, 0, 0], np.int32)], {}, [f([2], np.int32)]),
    Case("ReduceLogSumExp", 18, [f([1000, 1000])], {}, [f([1000 + np.log(2)])]),
    Case("ReduceLogSumExp", 18, [f([-INF, -INF])], {}, [f([-INF])]),
    Case("ReduceLogSumExp", 18, [f([INF, 1])], {}, [f([INF])]),
    Case("ArgMax", 7, [f([[1, 3, 3], [4, 2, 4]])], {"axis": 1}, [np.array([[1], [0]])]),
    Case("ArgMax", 12, [f([[1, 3, 3], [4, 2, 4]])],
         {"axis": -1, "select_last_index": 1, "keepdims": 0}, [np.array([2, 2])]),
    Case("ArgMax", 13, [f([[1, 3, 3], [4, 2, 4]], BF16)], {}, [np.array([[1, 0, 1]])]),
    Case("ArgMin", 7, [f([[1, 3, 1], [4, 2, 2]], np.uint8)], {"axis": 1}, [np.array([[0], [1]])]),
    Case("ArgMin", 12, [f([[1, 3, 1]])], {"axis": 1, "select_last_index": 1}, [np.array([[2]])]),
    Case("ArgMin", 13, [f([[1, 3, 1], [4, 2, 2]])],
         {"axis": 1, "select_last_index": 1}, [np.array([[2], [2]])]),
    Case("CumSum", 11, [f([1, 2, 3]), np.array(0)], {}, [f([1, 3, 6])]),
    Case("CumSum", 11, [f([1, 2, 3]), np.array(0)], {"exclusive": 1}, [f([0, 1, 3])]),
    Case("CumSum", 14, [f([1, 2, 3]), np.array(-1)], {"reverse": 1}, [f([6, 5, 3])]),
    Case("CumSum", 14, [f([1, 2, 3], np.int32), np.array(0)], {"exclusive": 1, "reverse": 1},
         [f([5, 3, 0], np.int32)]),
    Case("CumSum", 14, [f([[1, 2], [3, 4]]), np.array(0, np.int32)], {}, [f([[1, 2], [4, 6]])]),
    Case("CumSum", 14, [f([1] * 3000, np.float16), np.array(0)], {},
         [np.arange(1, 3001).astype(np.float16)]),
    Case("CumProd", 26, [f([1, 2, 3]), np.array(0)], {}, [f([1, 2, 6])]),
    Case("CumProd", 26, [f([1, 2, 3]), np.array(0)], {"exclusive": 1}, [f([1, 1, 2])]),
    Case("CumProd", 26, [f([1, 2, 3]), np.array(0)], {"reverse": 1}, [f([6, 6, 3])]),
    Case("CumProd", 26, [f([1, 2, 3], BF16), np.array(0)], {"exclusive": 1, "reverse": 1},
         [f([6, 3, 1], BF16)]),
]  # fmt: skip
X3 = np.abs(f(np.arange(24).reshape(2, 3, 4) % 7 + 0.5))
BY_ORT = [
    *(
        reduction(name, opset, X3, axes, "", None, keepdims=keepdims)
        for name in REDUCTIONS
        for opset in (7, 11, 13, 18)
        for axes, keepdims in (([1], 1), ([-1, 0], 0), (None, 1))
        if opset >= 11 or axes != [-1, 0]
    ),
    *(Case(name, opset, [X3], {"axis": 1}) for name in ("ArgMax", "ArgMin") for opset in (7, 13)),
    Case("CumSum", 11, [X3, np.array(1)]),
]
CASES = BY_HAND + BY_ORT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@modestly
@given(
    name=st.sampled_from(sorted(REDUCTIONS)),
    opset=st.sampled_from([11, 13, 18]),
    dtype=st.sampled_from([np.float32, np.float64, np.int32, np.int64]),
    keepdims=st.integers(0, 1),
    shape=shapes.filter(lambda s: 0 not in s),  # of nothing: see BY_HAND
    data=st.data(),
)
def test_reduction(name, opset, dtype, keepdims, shape, data):
    if name == "ReduceLogSumExp" and np.dtype(dtype).kind == "i":
        # ONNX Runtime adds up the exponentials as integers; the spec's function body casts the
        # data to double. See BY_HAND.
        dtype = np.float64
    x = data.draw(arrays(dtype, shape, special=False, largest=4))
    if "LogSum" in name:
        x = np.abs(x)  # the logarithm of a sum near 0 is all rounding error
    if name == "ReduceLogSum" and np.dtype(dtype).kind == "i":
        x = x + x.dtype.type(1)  # ln 0 is no integer
    if name == "ReduceProd":  # the spec leaves open what a product beyond the integers is
        assume(np.abs(x).clip(1).prod(dtype=np.float64) < 2**31)
    some_axes = st.lists(
        st.integers(-len(shape), len(shape) - 1), unique_by=lambda a: a % len(shape), min_size=1
    )
    axes = data.draw(st.none() | some_axes if shape else st.none())
    check_with_onnxruntime(reduction(name, opset, x, axes, keepdims=keepdims))


@modestly
@given(
    name=st.sampled_from(["ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"]),
    data=st.data(),
)
def test_reduction_of_nan_and_infinity(name, data):
    shape = data.draw(shapes.filter(lambda s: len(s) > 0 and 0 not in s))
    x = data.draw(arrays(np.float32, shape))
    check_with_onnxruntime(reduction(name, 18, x, [data.draw(st.integers(0, x.ndim - 1))]))


@modestly
@given(
    name=st.sampled_from(["ArgMax", "ArgMin"]),
    dtype=st.sampled_from([np.float32, np.int32, np.uint8]),
    attributes=st.fixed_dictionaries(
        {"keepdims": st.integers(0, 1), "select_last_index": st.integers(0, 1)}
    ),
    data=st.data(),
)
def test_arg(name, dtype, attributes, data):
    shape = data.draw(shapes.filter(lambda s: len(s) > 0 and 0 not in s))
    x = data.draw(arrays(dtype, shape, largest=3, special=False))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    check_with_onnxruntime(Case(name, 13, [x], {"axis": axis, **attributes}))


@modestly
@given(
    dtype=st.sampled_from([np.float32, np.float64, np.int32, np.int64]),
    attributes=st.fixed_dictionaries(
        {"exclusive": st.integers(0, 1), "reverse": st.integers(0, 1)}
    ),
    data=st.data(),
)
def test_cumulative(dtype, attributes, data):
    x = data.draw(arrays(dtype, shapes.filter(lambda s: len(s) > 0), largest=4, special=False))
    axis = np.array(data.draw(st.integers(-x.ndim, x.ndim - 1)))
    check_with_onnxruntime(Case("CumSum", 14, [x, axis], attributes))
    # there is no CumProd in ONNX Runtime 1.32: Π x = exp Σ ln x
    positive = np.abs(x).astype(np.float64) + 1
    sums = run_directly(Case("CumSum", 14, [np.log(positive), axis], attributes))[0]
    products = run_directly(Case("CumProd", 26, [positive, axis], attributes))[0]
    assert_same(products, np.exp(sums))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (reduction("ReduceSum", 13, X, [2]), "axis 2 is out of range for rank 2"),
        (reduction("ReduceSum", 11, X, [0, -2]), "twice"),
        (Case("ReduceMean", 18, [np.zeros((0,), np.int32)]), "undefined for int32"),
        (Case("ArgMax", 13, [f(3)]), "out of range for rank 0"),
        (Case("ArgMax", 13, [np.zeros((0, 2), np.float32)]), "is empty"),
        (Case("CumSum", 14, [X, np.array(2)]), "out of range"),
        (Case("CumSum", 14, [X, np.array([0, 1])]), "axis should be a scalar, got shape"),
    ],
    ids=str,
)
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


def test_no_warning_escapes():
    x = f([[1e38, 1e38, -1], [INF, -INF, NAN]])
    with np.errstate(all="raise"):
        for name in REDUCTIONS:
            run_onnxwalk(reduction(name, 18, x, [1]))
            run_onnxwalk(reduction(name, 18, f([6e4, 6e4], np.float16), [0]))
            run_onnxwalk(reduction(name, 18, x[:, :0], [1]))
        run_onnxwalk(Case("ArgMax", 13, [x], {"axis": 1}))
        run_onnxwalk(Case("CumSum", 14, [x, np.array(1)]))
        run_onnxwalk(Case("CumProd", 26, [x, np.array(1)]))


@pytest.mark.parametrize("shape, axis", [((100_000, 2), 0), ((2, 100_003, 3), -2)])
def test_long_sums_along_slow_axes_keep_their_digits(shape, axis):
    # added one after the other, 100,000 times 0.1 is 0.01 % off
    x = np.full(shape, 0.1, np.float32)
    case = Case("ReduceSum", 13, [x, np.array([axis])], {"keepdims": 0})
    (y,) = run_directly(case)
    np.testing.assert_allclose(y, x.astype(np.float64).sum(axis), rtol=2e-6)
