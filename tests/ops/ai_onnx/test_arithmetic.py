import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import onnxwalk
from onnxwalk.ops import registry
from tests.support.dense_strategies import (
    FLOATS,
    INTEGERS,
    arrays,
    check_with_onnxruntime,
    modestly,
    shapes,
)
from tests.support.harness import (
    Case,
    assert_same,
    check,
    one_node_model,
    run_directly,
    run_onnxwalk,
)

BF16 = ml_dtypes.bfloat16
INF, NAN = np.inf, np.nan


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def by_hand(name, opset, inputs, y, dtype=np.float32, **attributes):
    return Case(name, opset, [f(x, dtype) for x in inputs], attributes, [f(y, dtype)])


def i32(*values):
    return np.array(values, np.int32)


BY_HAND = [
    by_hand("Add", 7, [[[1, 2]], [[10], [20]]], [[11, 12], [21, 22]]),
    by_hand("Add", 14, [[200], [100]], [44], np.uint8),
    by_hand("Add", 13, [[1], [2]], [3], BF16),
    by_hand("Sub", 7, [[1, 2], 3], [-2, -1]),
    by_hand("Sub", 14, [[-128], [1]], [127], np.int8),
    by_hand("Mul", 7, [[1, 2], [3, INF]], [3, INF]),
    by_hand("Mul", 7, [[2**30], [4]], [0], np.int32),
    by_hand("Div", 7, [[1, 0, 3], [2, 0, 0]], [0.5, NAN, INF]),
    by_hand("Div", 7, [[-7, 7, -7, 7, -6], [2, -2, -2, 2, 2]], [-3, -3, 3, 3, -3], np.int64),
    by_hand("Div", 14, [[200], [7]], [28], np.uint8),
    by_hand("Div", 14, [[-128], [-1]], [-128], np.int8),
    by_hand("Mod", 10, [[-7, 7, -7, 7], [3, -3, -3, 3]], [2, -2, -1, 1], np.int32),
    by_hand("Mod", 13, [[-7, 7, -7, 7], [3, -3, -3, 3]], [-1, 1, -1, 1], np.int32, fmod=1),
    by_hand("Mod", 13, [[-7.5, 7.5], [3, -3]], [-1.5, 1.5], fmod=1),
    by_hand("Mod", 13, [[-7.5, 7.5], [3, -3]], [-1.5, 1.5], BF16, fmod=1),
    by_hand("Mod", 28, [[-7, 7], [3, -3]], [2, -2], np.int32),
    # the special cases that the spec lists
    by_hand("Mod", 28, [[-7.5, 7.5, 0, INF, 1, 5, -5], [3, -3, 2, 3, 0, INF, INF]],
            [1.5, -1.5, 0, NAN, NAN, 5, INF]),
    by_hand("Mod", 28, [[INF, 1, 5, -5], [3, 0, INF, INF]], [NAN, NAN, 5, -5], fmod=1),
    by_hand("Pow", 7, [[2, 3, 0], [3, -1, 0]], [8, 1 / 3, 1]),
    Case("Pow", 12, [i32(2, 3, -2), np.array([3, 2, 3])], {}, [i32(8, 9, -8)]),
    # cut to an integer, as a cast would
    Case("Pow", 12, [i32(2, 1, -1, -1), np.array([-1, -5, -2, -3])], {}, [i32(0, 1, 1, -1)]),
    Case("Pow", 12, [i32(2, 9), f([0.5, 0.5])], {}, [i32(1, 3)]),
    Case("Pow", 12, [i32(3), np.array([2**33], np.uint64)], {}, [i32(pow(3, 2**33, 2**32) - 2**32)
         if pow(3, 2**33, 2**32) >= 2**31 else i32(pow(3, 2**33, 2**32))]),
    Case("Pow", 12, [f([2, 9]), i32(3, 2)], {}, [f([8, 81])]),
    Case("Pow", 15, [f([2, 9], BF16), f([3, 0.5], BF16)], {}, [f([8, 3], BF16)]),
    Case("Pow", 12, [f([2, 3], np.float16), np.array(2, np.float64)], {}, [f([4, 9], np.float16)]),
    by_hand("Max", 6, [[1, 5], [4, 2], [3, NAN]], [4, NAN]),
    by_hand("Max", 12, [[1, 5], 3], [3, 5], np.uint16),
    by_hand("Max", 13, [[1, 5]], [1, 5], BF16),
    by_hand("Min", 6, [[1, 5], [4, 2], [3, NAN]], [1, NAN]),
    by_hand("Min", 8, [[[1], [5]], [4, 2]], [[1, 1], [4, 2]]),
    by_hand("Sum", 6, [[1, 2], [3, 4], [5, 6]], [9, 12]),
    by_hand("Sum", 13, [[2048], [1], [1]], [2050], np.float16),  # float16 knows no 2049
    by_hand("Mean", 6, [[1, 2], [3, 4], [5, 9]], [3, 5]),
    by_hand("Mean", 13, [[60000], [60000]], [60000], np.float16),
    Case("Clip", 6, [f([-INF, -1, NAN, 3, INF])]),
    by_hand("Clip", 6, [[-INF, -1, NAN, 3]], [1, 1, NAN, 1], min=2.0, max=1.0),
    by_hand("Clip", 6, [[-INF, 3, 1e300]], [-3.4028234663852886e38, 3, 3.4028234663852886e38],
            np.float64),
    by_hand("Clip", 6, [[-2, 0, 2, NAN]], [-1, 0, 1, NAN], min=-1.0, max=1.0),
    by_hand("Clip", 11, [[-2, 0, 2, NAN], -1, 1], [-1, 0, 1, NAN]),
    # "They default to numeric_limits::lowest() and numeric_limits::max()": finite ones
    by_hand("Clip", 11, [[-INF, 0, INF]], [-3.4028235e38, 0, 3.4028235e38]),
    by_hand("Clip", 13, [[-2, 0, 7], 1], [1, 1, 7], BF16),
    Case("Clip", 12, [i32(-5, 5), None, i32(3).reshape(())], {}, [i32(-5, 3)]),
    # "When 'min' is greater than 'max', the clip operator sets all the values to 'max'"
    by_hand("Clip", 13, [[-5, 2, 5], 3, 1], [1, 1, 1]),
    by_hand("BitShift", 11, [[1, 2], [1, 2]], [2, 8], np.uint8, direction="LEFT"),
    by_hand("BitShift", 11, [[128, 255], [7, 9]], [1, 0], np.uint8, direction="RIGHT"),
    # BitShift-28: "-1 for a right shift on a negative X … and 0 in every other case"
    by_hand("BitShift", 28, [[-8, -8, -8, 8], [1, 99, -1, 99]], [-4, -1, -1, 0], np.int32,
            direction="RIGHT"),
    by_hand("BitShift", 28, [[-8, -8, -8, 64], [1, 99, -1, 1]], [-16, 0, 0, -128], np.int8,
            direction="LEFT"),
    by_hand("BitwiseAnd", 18, [[12, -1], [10, 5]], [8, 5], np.int16),
    by_hand("BitwiseOr", 18, [[12, 0], [10, 5]], [14, 5], np.uint64),
    by_hand("BitwiseXor", 18, [[12, -1], [10, 5]], [6, -6], np.int64),
    by_hand("BitwiseNot", 18, [[0, 12]], [255, 243], np.uint8),
]  # fmt: skip
A, B = f([[1, -2, 3.5]]), f([[2], [-3]])
BY_ORT = [
    *(Case(name, opset, [A, B]) for name in ("Add", "Sub", "Mul", "Div") for opset in (7, 13, 14)),
    *(Case(name, 7, [A, A]) for name in ("Max", "Min", "Sum", "Mean")),
    *(Case(name, opset, [A, B]) for name in ("Max", "Min", "Sum", "Mean") for opset in (8, 13)),
    *(Case("Mod", opset, [A, B], {"fmod": 1}) for opset in (10, 13)),
    *(Case("Pow", opset, [np.abs(A), B]) for opset in (7, 12, 13, 15)),
    Case("Clip", 7, [A], {"min": -1.0, "max": 1.0}),
    Case("Clip", 12, [A, f(-1), f(1)]),
]
CASES = BY_HAND + BY_ORT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@st.composite
def broadcastable(draw, dtype, count, **keywords):
    """Arrays whose shapes are one shape with axes left out or set to 1."""
    shape = draw(shapes)
    inputs = []
    for _ in range(count):
        kept = shape[draw(st.integers(0, len(shape))) :]
        own = tuple(draw(st.sampled_from([n, 1])) for n in kept)
        inputs.append(draw(arrays(dtype, own, **keywords)))
    return inputs


@modestly
@given(
    name=st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    dtype=st.sampled_from([*FLOATS, *INTEGERS]),
    data=st.data(),
)
def test_arithmetic(name, dtype, data):
    a, b = data.draw(broadcastable(dtype, 2))
    if name == "Div" and np.dtype(dtype).kind in "iu":
        b = b + (b == 0).astype(dtype)
    check_with_onnxruntime(Case(name, 14, [a, b]))


@modestly
@given(dtype=st.sampled_from([*FLOATS, *INTEGERS]), fmod=st.sampled_from([0, 1]), data=st.data())
def test_mod(dtype, fmod, data):
    a, b = data.draw(broadcastable(dtype, 2))
    if np.dtype(dtype).kind == "f":
        fmod = 1
    else:
        b = b + (b == 0).astype(dtype)
    check_with_onnxruntime(Case("Mod", 13, [a, b], {"fmod": fmod}))


@modestly
@given(
    base=st.sampled_from([*FLOATS, np.int32, np.int64]),
    exponent=st.sampled_from([*FLOATS, np.int32, np.int64]),
    data=st.data(),
)
def test_pow(base, exponent, data):
    integers = np.dtype(base).kind == "i"
    # a result that does not fit into the integer is the machine's choice, and 0 to a negative
    # power is refused (see below)
    x = data.draw(arrays(base, (3, 1), largest=9, special=not integers))
    y = data.draw(arrays(exponent, (4,), largest=9, special=not integers))
    if integers:
        x, y = np.abs(x) + x.dtype.type(1), np.abs(y)
    check_with_onnxruntime(Case("Pow", 15, [x, y]))


@modestly
@given(
    name=st.sampled_from(["Max", "Min", "Sum", "Mean"]),
    dtype=st.sampled_from([*FLOATS, np.int32, np.int64, np.uint32, np.uint64]),
    count=st.integers(1, 4),
    data=st.data(),
)
def test_variadic(name, dtype, count, data):
    if name in ("Sum", "Mean"):
        dtype = np.float32
    check_with_onnxruntime(Case(name, 13, data.draw(broadcastable(dtype, count))))


@modestly
@given(dtype=st.sampled_from([*FLOATS, np.int8, np.int32, np.uint64]), data=st.data())
def test_clip(dtype, data):
    x = data.draw(arrays(dtype))
    low, high = (data.draw(st.none() | arrays(dtype, (), special=False)) for _ in range(2))
    check_with_onnxruntime(Case("Clip", 13, [x, low, high]))


@modestly
@given(
    name=st.sampled_from(["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"]),
    dtype=st.sampled_from(INTEGERS),
    data=st.data(),
)
def test_bits(name, dtype, data):
    count = 1 if name == "BitwiseNot" else 2
    check_with_onnxruntime(Case(name, 18, data.draw(broadcastable(dtype, count))))


@modestly
@given(
    dtype=st.sampled_from([np.uint8, np.uint32, np.uint64]),
    direction=st.sampled_from(["LEFT", "RIGHT"]),
    data=st.data(),
)
def test_bit_shift(dtype, direction, data):
    x, y = data.draw(broadcastable(dtype, 2))
    y = y % np.array(8 * np.dtype(dtype).itemsize, dtype)  # beyond, C++ leaves it undefined
    check_with_onnxruntime(Case("BitShift", 11, [x, y], {"direction": direction}))


def test_mod_of_zero_has_the_divisors_sign():
    (y,) = run_directly(Case("Mod", 28, [f([0, -0.0]), f([-2, 2])]))
    assert np.signbit(y).tolist() == [True, False]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("Add", 14, [f([1, 2]), f([1, 2, 3])]), "could not be broadcast"),
        (Case("Add", 14, [f([1]), i32(1)]), "different dtypes: float32 and int32"),
        (Case("Max", 13, [f([1]), i32(1)]), "different dtypes"),
        (Case("Sum", 13, []), "at least one input"),
        (Case("Div", 14, [i32(1), i32(0)]), "Div by zero is undefined for int32"),
        (Case("Mod", 13, [i32(1), i32(0)]), "Mod by zero is undefined for int32"),
        (Case("Mod", 13, [f([1]), f([1])]), "fmod=1"),
        (Case("Mod", 28, [f([1]), f([1])], {"fmod": 2}), "fmod of Mod should be 0 or 1, got 2"),
        (Case("Pow", 15, [i32(0), i32(-1)]), "negative power"),
        (Case("Clip", 13, [f([1]), f([1, 2])]), "min of Clip"),
        (Case("Clip", 13, [f([1]), i32(1)]), "different dtypes"),
        (Case("BitShift", 11, [i32(1), i32(1)], {"direction": "UP"}), "direction"),
    ],
    ids=str,
)
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


@pytest.mark.parametrize("name", ["Add", "Sub", "Mul", "Div", "BitwiseAnd"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8])
def test_out_is_written(name, dtype):
    if name == "BitwiseAnd" and dtype is np.float32:
        return
    function = registry.lookup("", name, 18).function
    a, b = f([[9, 4]], dtype), f([[2], [3]], dtype)
    out = np.empty((2, 2), dtype)
    assert function(a, b, out=out) is out
    assert_same(out, function(a, b))


def test_no_warning_escapes():
    extremes = f([3e38, -3e38, 0, INF, NAN, 1e-40])
    pairs = [extremes[:, None], extremes]
    integers = [f([[-(2**31)], [2**31 - 1]], np.int32), f([-1, 3, 2**31 - 1], np.int32)]
    with np.errstate(all="raise"):
        for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "Sum", "Mean", "Pow"):
            run_onnxwalk(Case(name, 28, pairs))
        for name in ("Add", "Sub", "Mul", "Div", "Mod"):
            run_onnxwalk(Case(name, 28, integers))
        run_onnxwalk(Case("Clip", 13, [extremes, f(-1), f(1)]))


@pytest.mark.parametrize("power", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_squares_and_cubes_are_those_of_onnx_runtime_to_the_last_bit(dtype, power):
    rng = np.random.default_rng(power)
    x = rng.normal(size=(3, 70, 500)) * rng.choice([1e-3, 1, 1e4, 1e30], 500)
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    x[0, 0, :5] = np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).max
    for exponent in (f(power, dtype), f([power], np.float64), np.array(power)):
        check(Case("Pow", 15, [x, exponent], rtol=0, atol=0))


def test_a_cube_that_overwrites_its_input():
    x = np.random.default_rng(0).normal(size=(2, 300, 200)).astype(np.float32)
    case = Case("Pow", 15, [x, f(3)])
    nodes = one_node_model(case)
    nodes.graph.node.insert(0, helper.make_node("Neg", ["x0"], ["negative"]))
    nodes.graph.node[1].input[0] = "negative"
    nodes.graph.initializer.append(numpy_helper.from_array(f(3), "x1"))
    del nodes.graph.input[1]
    (y,) = onnxwalk.load(nodes).run(None, {"x0": x})
    np.testing.assert_array_equal(y, -x * -x * -x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 1), (2, 5)])
def test_roots_as_powers_are_those_of_c(dtype, shape):
    """pow(-infinity, 0.5) is infinity and pow(-0, 0.5) is 0, however the exponents broadcast:
    NumPy takes the square root where one exponent is for a run of values."""
    x = np.array([[-np.inf, -0.0, np.inf, np.nan, 4]] * 2, dtype)
    case = Case("Pow", 15, [x, np.full(shape, 0.5, dtype)])
    (y,) = run_directly(case)
    np.testing.assert_array_equal(y, np.array([[np.inf, 0, np.inf, np.nan, 2]] * 2, dtype))
    assert not np.signbit(y[:, 1]).any()
    check(case)
