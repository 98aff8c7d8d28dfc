"""Operators that make tensors. The random ones are checked where chance has no say, and by their
statistics; no two implementations draw the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops import registry
from onnxwalk.ops.contract.dtypes import numpy_dtype
from tests.support.harness import Case, check, run_directly

F = np.float32
BFLOAT16 = numpy_dtype(16)
X = np.arange(6, dtype=F).reshape(2, 3)


def ints(*values):
    return np.array(values, np.int64)


def scalars(*values, dtype=F):
    return [np.array(value, dtype) for value in values]


DENSE = np.array([[0, 5, 0], [0, 0, 7]], F)

CONSTANTS = [
    Case("Constant", 7, [], {"value": X}),
    Case("Constant", 11, [], {"value": X}),
    Case("Constant", 11, [], {"sparse_value": DENSE}, [DENSE]),
    Case("Constant", 12, [], {"sparse_value": DENSE}, [DENSE]),
    Case("Constant", 12, [], {"value_int": 3}),
    Case("Constant", 12, [], {"value_ints": [3, -4]}),
    Case("Constant", 12, [], {"value_ints": []}, [ints()]),
    Case("Constant", 13, [], {"value_float": 0.1}),
    Case("Constant", 13, [], {"value_floats": [0.1, 2.0]}),
    Case("Constant", 13, [], {"value_string": "ab"}, [np.array("ab", object)]),
    Case("Constant", 13, [], {"value_strings": ["ab", "c"]}, [np.array(["ab", "c"], object)]),
    Case("ConstantOfShape", 9, [ints(2, 3)]),
    Case("ConstantOfShape", 9, [ints(2, 0)], {"value": np.array([7])}),
    Case("ConstantOfShape", 9, [ints()], {"value": np.array([True])}),
    Case(
        "ConstantOfShape",
        20,
        [ints(2)],
        {"value": np.array([3], BFLOAT16)},
        [np.array([3, 3], BFLOAT16)],
    ),
    Case("EyeLike", 9, [X]),
    Case("EyeLike", 9, [X], {"k": 1, "dtype": 7}),
    Case("EyeLike", 9, [X.T], {"k": -2, "dtype": 11}),
    Case("EyeLike", 22, [X], {"k": 9, "dtype": 16}, [np.zeros((2, 3), BFLOAT16)]),
    Case("Range", 11, scalars(3, 9, 3)),
    Case("Range", 11, scalars(10, 4, -2, dtype=np.int32)),
    Case("Range", 11, scalars(10, 4, 2, dtype=np.int16), note="nothing"),
    Case("Range", 11, scalars(-7, 8, 4, dtype=np.int64)),
    Case("Range", 11, scalars(0.1, 1.0, 0.1)),
    Case("Range", 11, scalars(0, -1, -0.3, dtype=np.float64)),
    # float16 has no odd numbers beyond 2048: i = 2049 would be 2048 before 1 is added, were it not
    # for the stash
    Case(
        "Range",
        27,
        scalars(1, 2052, 1, dtype=np.float16),
        {},
        [np.arange(1, 2052).astype(np.float16)],
    ),
    Case(
        "Range",
        27,
        [np.array(v, BFLOAT16) for v in (0, 2, 0.5)],
        {},
        [np.array([0, 0.5, 1, 1.5], BFLOAT16)],
    ),
    Case("Range", 27, scalars(1, 4, 1, dtype=np.int64), {}, [ints(1, 2, 3)]),
]

OFF_ON = np.array([2, 5], F)
ONE_HOT = [
    # OneHot-9: an index outside [0, depth) is all off; ONNX Runtime reads it as OneHot-11
    Case("OneHot", 9, [ints(-1, 0, 2, 3), np.array(3), OFF_ON], {},
         [np.array([[2, 2, 2], [5, 2, 2], [2, 2, 5], [2, 2, 2]], F)]),
    Case("OneHot", 9, [ints(1, 2), np.array([3]), OFF_ON], {"axis": 0}),
    Case("OneHot", 11, [ints(-1, 0, 2, 3, -4), np.array(3), OFF_ON]),
    Case("OneHot", 11, [ints(1, 2, 0).reshape(3, 1), np.array(4), np.array([0, 1])], {"axis": 1}),
    Case("OneHot", 11, [ints(1, 2), np.array(3), OFF_ON], {"axis": -2}),
    Case("OneHot", 11, [np.array(1), np.array(3), OFF_ON], {}, [np.array([2, 5, 2], F)]),
    Case("OneHot", 11, [np.array([1.7, -0.5], F), np.array(2.0, F), np.array(["-", "x"], object)],
         {}, [np.array([["-", "x"], ["x", "-"]], object)]),
]  # fmt: skip

INF = np.inf
LOGITS = np.array([[-INF, 0, -INF], [0, -INF, -INF], [-INF, -INF, -5]], F)
CERTAIN = [
    Case("RandomNormal", 7, [], {"shape": [2, 3], "mean": 2.5, "scale": 0.0},
         [np.full((2, 3), 2.5, F)]),
    Case("RandomNormal", 22, [], {"shape": [2], "mean": 1.0, "scale": 0.0, "dtype": 16},
         [np.ones(2, BFLOAT16)]),
    Case("RandomNormalLike", 7, [X.astype(np.float16)], {"mean": 1.0, "scale": 0.0},
         [np.ones((2, 3), np.float16)]),
    Case("RandomUniform", 7, [], {"shape": [], "low": 3.0, "high": 3.0, "dtype": 11},
         [np.array(3.0)]),
    Case("RandomUniformLike", 7, [X.astype(int)], {"low": 3.0, "high": 3.0, "dtype": 1},
         [np.full((2, 3), 3, F)]),
    Case("Bernoulli", 15, [np.array([0, 1, 1], F)], {}, [np.array([0, 1, 1], F)]),
    Case("Bernoulli", 15, [np.array(1, F)], {"dtype": 9}, [np.array(True)]),
    Case("Multinomial", 7, [LOGITS], {"sample_size": 4},
         [np.repeat(np.array([[1], [0], [2]], np.int32), 4, axis=1)]),
    Case("Multinomial", 22, [LOGITS], {"dtype": 7}, [ints(1, 0, 2).reshape(3, 1)]),
]  # fmt: skip

CASES = CONSTANTS + ONE_HOT + CERTAIN


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


def test_stash_type_is_the_type_that_is_reckoned_in():
    limits = scalars(1, 2052, 1, dtype=np.float16)
    (stashed,) = run_directly(Case("Range", 27, limits))
    (narrow,) = run_directly(Case("Range", 27, limits, {"stash_type": 10}))
    assert stashed.dtype == narrow.dtype == np.float16
    assert stashed[2049] == 2050 and narrow[2049] == 2048


@pytest.mark.parametrize(
    "operator, opset, inputs, attributes, message",
    [
        ("Constant", 13, [], {}, "exactly one"),
        ("Constant", 13, [], {"value_int": 1, "value_float": 2.0}, "exactly one"),
        ("ConstantOfShape", 9, [ints(-1)], {}, "negative"),
        ("EyeLike", 9, [X[0]], {}, "matrix"),
        ("Range", 11, scalars(1, 2, 0), {}, "delta"),
        ("Range", 11, scalars(1, INF, 1), {}, "is undefined"),
        ("OneHot", 11, [ints(1), np.array(-1), OFF_ON], {}, "depth"),
        ("OneHot", 11, [ints(1), np.array(1), OFF_ON], {"axis": 2}, "out of range"),
        ("RandomNormal", 7, [], {"shape": [1], "dtype": 7}, "int64"),
        ("RandomNormalLike", 7, [ints(1)], {}, "int64"),
        ("Multinomial", 7, [np.full((1, 2), -INF, F)], {}, "-inf"),
        ("Multinomial", 7, [X[0]], {}, "batch"),
        ("Constant", 7, [], {"value": [b"\xff"]}, "value should be a tensor, got list"),
        ("Constant", 12, [], {"sparse_value": 1}, "sparse_value should be a tensor, got int"),
        ("Constant", 12, [], {"value_strings": [b"\xff"]}, "not valid UTF-8"),
    ],
)
def test_invalid_input_is_refused(operator, opset, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, opset, inputs, attributes))


def draw(operator, *inputs, rng, opset=15, **attributes):
    return registry.lookup("", operator, opset).function(*inputs, rng=rng, **attributes)


def test_a_seed_gives_the_same_numbers_whatever_the_session_drew_before():
    for operator, inputs, attributes in [
        ("RandomNormal", (), {"shape": [8]}),
        ("RandomUniform", (), {"shape": [8]}),
        ("RandomNormalLike", (X,), {}),
        ("RandomUniformLike", (X,), {}),
        ("Bernoulli", (np.full(64, 0.5, F),), {}),
        ("Multinomial", (np.zeros((1, 9), F),), {"sample_size": 32}),
    ]:
        rng = np.random.default_rng(1)
        seeded = [draw(operator, *inputs, rng=rng, seed=s, **attributes) for s in (2.0, 2.0, 2.5)]
        np.testing.assert_array_equal(seeded[0], seeded[1])
        assert (seeded[0] != seeded[2]).any(), operator
        free = [draw(operator, *inputs, rng=rng, **attributes) for _ in range(2)]
        assert (free[0] != free[1]).any(), operator


def test_the_numbers_have_the_distribution_asked_for():
    rng = np.random.default_rng(0)
    n = 100_000  # a mean is then within 5 standard errors, about 0.016 standard deviations
    normal = draw("RandomNormal", shape=[n], mean=3.0, scale=2.0, rng=rng)
    assert normal.dtype == F and abs(normal.mean() - 3) < 0.04 and abs(normal.std() - 2) < 0.04
    uniform = draw("RandomUniform", shape=[n], low=-1.0, high=5.0, rng=rng)
    assert -1 <= uniform.min() < -0.99 and 4.99 < uniform.max() <= 5
    assert abs(uniform.mean() - 2) < 0.03
    ones = draw("Bernoulli", np.full(n, 0.3, F), rng=rng)
    assert set(np.unique(ones)) == {0, 1} and abs(ones.mean() - 0.3) < 0.01
    weights = np.array([[1, 2, 3, 4], [4, 0, 4, 2]], F)
    with np.errstate(divide="ignore"):
        logits = np.log(weights) + 7  # unnormalised
    picked = draw("Multinomial", logits, sample_size=n, rng=rng)
    for row, row_weights in zip(picked, weights, strict=True):
        counts = np.bincount(row, minlength=4) / n
        np.testing.assert_allclose(counts, row_weights / 10, atol=0.01)


@st.composite
def ranges(draw):
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int16, np.int32, np.int64]))
    numbers = st.integers(-50, 50)
    start, limit, delta = draw(numbers), draw(numbers), draw(numbers.filter(bool))
    if np.dtype(dtype).kind == "f":
        start, limit, delta = start / 8, limit / 8, delta / 8
    return Case("Range", 11, scalars(start, limit, delta, dtype=dtype))


@st.composite
def one_hots(draw):
    shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    depth = draw(st.integers(1, 4))
    count = int(np.prod(shape))
    indices = draw(st.lists(st.integers(-6, 6), min_size=count, max_size=count))
    x = np.array(indices, np.int64).reshape(shape)
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return Case("OneHot", 11, [x, np.array(depth), OFF_ON], {"axis": axis})


@settings(deadline=None, max_examples=100)
@given(st.one_of(ranges(), one_hots()))
def test_agrees_with_onnxruntime(case):
    check(case)
