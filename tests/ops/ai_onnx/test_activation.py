import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwalk.ops import registry
from onnxwalk.ops.schema.types import signature
from tests.support.dense_strategies import arrays, check_with_onnxruntime, modestly, shapes
from tests.support.harness import Case, assert_same, check, run_directly, run_onnxwalk

E = np.e
X = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def unary(name, opset, x, y, dtype=np.float32, **attributes):
    return Case(name, opset, [f(x, dtype)], attributes, [f(y, dtype)])


# What must come out was worked out from the formula of the spec.
BY_HAND = [
    unary("Relu", 6, [-1, 0, 2], [0, 0, 2]),
    unary("Relu", 14, [-1, 0, 2], [0, 0, 2], np.int8),
    unary("Relu", 13, [-1, 0, 2], [0, 0, 2], ml_dtypes.bfloat16),
    unary("Relu", 14, [np.nan, -np.inf, np.inf], [np.nan, 0, np.inf]),
    unary("LeakyRelu", 6, [-2, 0, 2], [-0.02, 0, 2]),
    unary("LeakyRelu", 16, [-2, 0, 2], [-6, 0, 2], alpha=3.0),
    unary("LeakyRelu", 16, [-2, 0, np.inf, np.nan], [2, 0, np.inf, np.nan], alpha=-1.0),
    unary("LeakyRelu", 16, [-2, 0, 2, np.inf, np.nan], [0, 0, 2, np.inf, np.nan], alpha=0.0),
    unary("LeakyRelu", 16, [-2, 0, 2], [np.nan, 0, 2], alpha=np.nan),
    unary("LeakyRelu", 16, [-2, 0, 2], [-np.inf, 0, 2], alpha=np.inf),
    unary("LeakyRelu", 16, [-2, 3], [-0.5, 3], ml_dtypes.bfloat16, alpha=0.25),
    Case("PRelu", 7, [f([[-1, 2], [-3, 4]]), f([10, 20])], {}, [f([[-10, 2], [-30, 4]])]),
    Case("PRelu", 16, [f([-1, 2]), f([10, 20])], {}, [f([-10, 2])]),
    Case("PRelu", 16, [f([[[-1, 2], [-3, -4]]]), f([10, 20])], {}, [f([[[-10, 2], [-30, -80]]])]),
    Case(
        "PRelu",
        16,
        [f([[[[-1, -2], [-3, -4]], [[-5, -6], [-7, -8]]]]), f([[[1]], [[-2]]])],
        {},
        [f([[[[-1, -2], [-3, -4]], [[10, 12], [14, 16]]]])],
    ),
    Case("PRelu", 9, [np.array([-1, 2]), np.array([3])], {}, [np.array([-3, 2])]),
    unary("Elu", 6, [-1, 0, 2], [1 / E - 1, 0, 2]),
    unary("Elu", 22, [-np.inf, np.inf, np.nan], [-2, np.inf, np.nan], alpha=2.0),
    unary("Selu", 6, [-1, 0, 2], [6 * (1 / E - 1), 0, 4], alpha=3.0, gamma=2.0),
    unary("Celu", 12, [-2, 0, 2], [2 * (1 / E - 1), 0, 2], alpha=2.0),
    unary("Celu", 28, [-np.inf, 0, 2], [-1, 0, 2], np.float16),
    unary("ThresholdedRelu", 10, [-1, 1, 1.5, np.nan], [0, 0, 1.5, 0]),
    unary("ThresholdedRelu", 22, [-1, 1, 2.5], [0, 0, 2.5], np.float16, alpha=2.0),
    unary("Sigmoid", 6, [-np.inf, 0, np.inf, np.nan], [0, 0.5, 1, np.nan]),
    unary("Sigmoid", 13, [-np.inf, 0, np.inf], [0, 0.5, 1], ml_dtypes.bfloat16),
    unary("HardSigmoid", 6, [-10, 0, 1, 10], [0, 0.5, 0.7, 1]),
    unary("HardSigmoid", 22, [-10, 0, 1, 10], [0, 0.25, 0.75, 1], alpha=0.5, beta=0.25),
    unary("HardSwish", 14, [-4, -3, 0, 1, 3, 4], [0, 0, 0, 2 / 3, 3, 4]),
    unary("Tanh", 6, [-np.inf, 0, np.inf], [-1, 0, 1]),
    unary("Softplus", 1, [-np.inf, 0, 1000], [0, np.log(2), 1000]),
    unary("Softsign", 1, [-3, 0, 1], [-0.75, 0, 0.5]),
    unary("Mish", 18, [0, 1000], [0, 1000]),
    unary("Gelu", 20, [-np.inf, 0, 1, 50], [np.nan, 0, 0.8413447, 50]),
    unary("Gelu", 20, [-2, 0, 1], [-0.04540231, 0, 0.841192], approximate="tanh"),
    unary("Swish", 24, [0, 1, 200], [0, E**2 / (E**2 + 1), 200], alpha=2.0),
    unary("Swish", 24, [0, 1, 200], [0, E / (E + 1), 200]),
    unary("Softmax", 13, [[0, np.log(3)], [5, 5]], [[0.25, 0.75], [0.5, 0.5]]),
    unary("Softmax", 13, [[0, 5], [np.log(3), 5]], [[0.25, 0.5], [0.75, 0.5]], axis=0),
    unary("Softmax", 13, [[1000, -1000]], [[1, 0]], ml_dtypes.bfloat16),
    # flattened to one row of four
    unary("Softmax", 1, [[0, 0], [0, 0]], [[0.25] * 2] * 2, axis=0),
    unary("Softmax", 11, [[[0, 0], [0, 0]]], [[[0.25] * 2] * 2]),
    unary("LogSoftmax", 13, [[0, np.log(3)]], [[np.log(0.25), np.log(0.75)]]),
    unary("LogSoftmax", 13, [[0, -1000]], [[0, -1000]]),
    unary("LogSoftmax", 1, [[0, 0], [0, 0]], [[-np.log(4)] * 2] * 2, axis=0),
    unary("Hardmax", 13, [[1, 3, 3], [4, 2, 1]], [[0, 1, 0], [1, 0, 0]]),
    unary("Hardmax", 13, [[1, 3, 3], [4, 2, 1]], [[0, 1, 1], [1, 0, 0]], np.float64, axis=0),
    unary("Hardmax", 1, [[1, 3, 3], [4, 2, 1]], [[0, 0, 0], [1, 0, 0]], axis=0),
    unary("Hardmax", 11, [[[1, 3], [3, 2]]], [[[0, 1], [0, 0]]]),
    unary("Shrink", 9, [-2, -1, 0, 1, 2], [-1.5, 0, 0, 0, 1.5], bias=0.5, lambd=1.5),
    unary("Shrink", 9, [-2, -1, 0, 1, 2], [-1, 0, 0, 0, 1], np.int32, bias=1.0, lambd=1.5),
]

ELEMENTWISE = {
    "Relu": 6,
    "LeakyRelu": 6,
    "Elu": 6,
    "Selu": 6,
    "Celu": 12,
    "ThresholdedRelu": 10,
    "Sigmoid": 6,
    "HardSigmoid": 6,
    "HardSwish": 14,
    "Tanh": 6,
    "Softplus": 1,
    "Softsign": 1,
    "Mish": 18,
    "Gelu": 20,
    "Shrink": 9,
}
BY_ORT = [Case(name, max(since, 7), [f(X)]) for name, since in ELEMENTWISE.items()] + [
    Case(name, opset, [f(np.arange(24).reshape(2, 3, 4) % 7)], {"axis": axis})
    for name in ("Softmax", "LogSoftmax", "Hardmax")
    for opset, axis in ((7, 1), (7, 2), (11, -2), (13, -2), (13, 0))
]
CASES = BY_HAND + BY_ORT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("name", ELEMENTWISE)
@modestly
@given(data=st.data())
def test_elementwise(name, data):
    dtypes = {
        "Celu": [np.float32],
        "Relu": [np.float32, np.float64, np.int8, np.int32],
        "Shrink": [np.float32, np.float16, np.int16, np.uint8],
    }.get(name, [np.float32, np.float64, np.float16])
    x = data.draw(arrays(data.draw(st.sampled_from(dtypes)), special=False, largest=8))
    opset = {"Elu": 22, "Relu": 14}.get(name, max(ELEMENTWISE[name], 7))
    # ONNX Runtime's float16 kernels round after each step, hence two units in the last place;
    # its float32 Sigmoid and Tanh are rational approximations, good to 1e-6.
    short = x.dtype == np.float16
    check_with_onnxruntime(
        Case(name, opset, [x], rtol=2e-3 if short else 1e-5, atol=2e-3 if short else 1e-6)
    )


@modestly
@given(
    name=st.sampled_from(["Softmax", "LogSoftmax"]),
    opset=st.sampled_from([7, 11, 13]),
    dtype=st.sampled_from([np.float32, np.float64]),
    data=st.data(),
)
def test_softmax(name, opset, dtype, data):
    shape = data.draw(shapes.filter(lambda s: len(s) > 0))
    axis = data.draw(st.integers(0 if opset < 11 else -len(shape), len(shape) - 1))
    x = data.draw(arrays(dtype, shape, special=False))
    check_with_onnxruntime(Case(name, opset, [x], {"axis": axis}))


@modestly
@given(x=arrays(np.float32, special=False), opset=st.sampled_from([11, 13]), data=st.data())
def test_hardmax(x, opset, data):
    if x.ndim == 0:
        with pytest.raises(ValueError, match="out of range"):
            run_directly(Case("Hardmax", opset, [x], {"axis": 0}))
        return
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    check_with_onnxruntime(Case("Hardmax", opset, [x], {"axis": axis}))


@modestly
@given(x=arrays(np.float32), slope=arrays(np.float32))
def test_prelu(x, slope):
    try:
        fits = np.broadcast_shapes(x.shape, slope.shape) == x.shape
    except ValueError:
        fits = False
    if fits:
        check_with_onnxruntime(Case("PRelu", 16, [x, slope]))
    else:
        with pytest.raises(ValueError, match="broadcast"):
            run_directly(Case("PRelu", 16, [x, slope]))


def test_sigmoid_keeps_the_digits_of_small_results():
    x = np.array([-10, -20, -50, -80], np.float32)
    (y,) = run_directly(Case("Sigmoid", 13, [x]))
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=3e-7)


def test_16_bits_are_rounded_once():
    x = np.linspace(-6, 6, 1001).astype(np.float16)
    for name, since in ELEMENTWISE.items():
        exact = run_directly(Case(name, max(since, 7), [x.astype(np.float64)]))[0]
        short = run_directly(Case(name, max(since, 7), [x]))[0]
        assert short.dtype == np.float16
        # One rounding to 11 bits; below 2⁻¹⁴ the spacing is 2⁻²⁴. Left of 0, Gelu's 1 + erf
        # cancels: its error is half a float32 unit of 1, times x.
        atol = 2**-25 + (6 * 2**-24 if name == "Gelu" else 1e-9)
        np.testing.assert_allclose(short, exact, rtol=2**-11 + 1e-6, atol=atol)


@pytest.mark.parametrize("name", ["Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "Softmax"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_out_is_written(name, dtype):
    x = f([X, X], dtype)
    function = registry.lookup("", name, 22).function
    out = np.full_like(x, 7)
    assert function(x, out=out) is out
    assert_same(out, function(x))


@pytest.mark.parametrize("name", ["Elu", "Gelu", "Mish", "Softplus", "Swish"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_blocks_fit_together(name, dtype):
    x = np.linspace(-5, 5, 60000, dtype=dtype).reshape(20, 30, 100)  # several blocks
    whole = np.concatenate([run_directly(Case(name, 24, [row]))[0] for row in x]).reshape(x.shape)
    for view in (
        lambda a: a,
        lambda a: a.transpose(2, 0, 1),
        lambda a: a[::-1, :, ::2],
        lambda a: np.broadcast_to(a[:, :1], a.shape),
    ):
        (y,) = run_directly(Case(name, 24, [view(x)]))
        # 1e-6: vector and scalar loops of NumPy's exp differ in the last place
        assert_same(y, view(whole), rtol=1e-6 if dtype is np.float32 else 1e-3)


def test_what_is_refused():
    with pytest.raises(ValueError, match="axis 2 is out of range for rank 2"):
        run_directly(Case("Softmax", 13, [f([[1]])], {"axis": 2}))
    with pytest.raises(ValueError, match="axis 1 is out of range for rank 1"):
        run_directly(Case("Softmax", 11, [f([1])]))
    with pytest.raises(ValueError, match="approximate"):
        run_directly(Case("Gelu", 20, [f([1])], {"approximate": "sigmoid"}))
    with pytest.raises(ValueError, match="alpha"):
        run_directly(Case("Celu", 12, [f([1])], {"alpha": 0.0}))


def test_no_warning_escapes():
    x = f([-np.inf, -1e30, -0.0, 1e30, np.inf, np.nan])
    short = f([-np.inf, -6e4, -0.0, 6e4, np.inf, np.nan], np.float16)
    with np.errstate(all="raise"):
        for name in [*ELEMENTWISE, "Swish", "Softmax", "LogSoftmax", "Hardmax"]:
            run_onnxwalk(Case(name, 24, [x]))
            if "float16" in signature("", name, 24).inputs[0].allowed:
                run_onnxwalk(Case(name, 24, [short]))
