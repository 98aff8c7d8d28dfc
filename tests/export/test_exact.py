"""What Keras computes exactly, the file computes exactly: choices, comparisons, order, division.

The expected values are NumPy's or Python's, and Keras has to agree with them first.
"""

import numpy as np
import pytest

from tests.export.helpers import check, converted, operators, run_onnxruntime, run_onnxwalk

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")
import keras
from keras import ops

INF, NAN = np.inf, np.nan
STAMP = 1_700_000_000  # seconds since 1970: float32 knows them to 128 s


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (lambda x: ops.where(x > 20, x, ops.log1p(ops.exp(x))), [0, 100], [np.log(2), 100]),
        (lambda x: ops.where(x > 0, ops.log(x), 0.0), [-2, 4], [0, np.log(4)]),
        (lambda x: ops.where(ops.not_equal(x, 0), 1 / x, 0.0), [0, 4], [0, 0.25]),
        (lambda x: ops.where(ops.isfinite(x), x, 0.0), [NAN, -INF], [0, 0]),
        (ops.nan_to_num, [NAN, INF], [0, np.finfo(np.float32).max]),
        (keras.layers.ReLU(threshold=1.0), [NAN, 2], [0, 2]),
        (keras.layers.ELU(alpha=0.5), [INF, 1], [INF, 1]),
        (ops.sinc, [0, 0.5], [1, 2 / np.pi]),
    ],
    ids=["softplus", "log", "reciprocal", "isfinite", "nan_to_num", "relu", "elu", "sinc"],
)
@pytest.mark.parametrize("opset", [13, 18])
def test_the_branch_not_chosen_does_not_count(function, given, expected, opset):
    proto = check(function, [np.float32([given])], np.float32([expected]), opset)
    assert operators(proto)["Where"]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float64", "float16"])
def test_choices_of_every_type(dtype):
    x, y = np.array([[0, 1, 1]], dtype), np.array([[1, 0, 1]], dtype)
    chosen = np.array([[True, False, True]])
    check(ops.where, [chosen, x, y], np.where(chosen, x, y))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int8", -128, 127),
        ("uint8", 254, 255),
        ("int16", -32768, 32767),
        ("int32", STAMP, STAMP + 60),
        ("int32", -(2**31), 2**31 - 1),
        ("int64", 2**53, 2**53 + 1),
        ("uint32", 2**32 - 2, 2**32 - 1),
        ("float64", 1.0, 1.0 + 1e-12),
        ("float16", 1.0, 1.001),
    ],
)
@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (ops.less, [True, False, False]),
        (ops.less_equal, [True, True, False]),
        (ops.greater, [False, False, True]),
        (ops.greater_equal, [False, True, True]),
        (ops.equal, [False, True, False]),
        (ops.not_equal, [True, False, True]),
    ],
)
def test_comparisons(dtype, low, high, compare, expected):
    x, y = np.array([[low, low, high]], dtype), np.array([[high, low, low]], dtype)
    check(compare, [x, y], np.array([expected]))


def test_comparisons_with_nan():
    x = np.float32([[NAN, 1, NAN]])
    y = np.float32([[1, NAN, NAN]])
    for compare in (ops.less, ops.less_equal, ops.greater, ops.greater_equal, ops.equal):
        check(compare, [x, y], np.array([[False] * 3]))
    check(ops.not_equal, [x, y], np.array([[True] * 3]))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int32", [16_777_217, 2_147_483_647, -16_777_217, 16_777_219]),
        ("uint32", [16_777_217, 4_294_967_295, 5, 16_777_219]),
        ("int64", [2**53 + 1, 2**53, -(2**53) - 1, 16_777_217]),
        ("float64", [1 + 1e-12, 1.0, 1e300, -1e300]),
    ],
)
def test_order(dtype, values):
    x = np.array([values], dtype)
    check(lambda x: ops.top_k(x, 2)[0], [x], np.sort(x)[:, :1:-1])
    check(lambda x: ops.sort(x, axis=-1), [x], np.sort(x))
    check(lambda x: ops.argsort(x, axis=-1), [x], np.argsort(x, kind="stable"))


@pytest.mark.parametrize(
    ("dtype", "xs", "ys"),
    [
        ("int8", [-101, -128, 101, 50, -7, 7], [100, 7, -100, 7, 7, -7]),
        ("int16", [-30_001, -32_768, 30_001, 50, 0, 1], [30_000, 7, -30_000, 7, 3, -1]),
        ("int32", [-(2**31), 2_000_000_001, -1, 1], [7, -2_000_000_000, 2**31 - 1, -(2**31)]),
        ("int64", [-(2**63), 2**62 + 1, -1, 1], [7, -(2**62), 2**63 - 1, -(2**63)]),
        ("uint8", [255, 254, 7, 0], [2, 255, 7, 3]),
    ],
)
def test_divisions_of_integers(dtype, xs, ys):
    x, y = np.array([xs], dtype), np.array([ys], dtype)
    # ONNX Runtime has no Mod of some of these types
    quotients = np.array([[a // b for a, b in zip(xs, ys, strict=True)]], dtype)
    check(ops.floor_divide, [x, y], quotients)
    rests = np.array([[a % b for a, b in zip(xs, ys, strict=True)]], dtype)
    check(ops.mod, [x, y], rests)


def test_rests_of_tiny_numbers():
    """The product of rest and divisor, whose sign would do, is 0 for small ones."""
    x, y = np.float32([[1e-30, -1e-30, 7, -7]]), np.float32([[-3e-30, 3e-30, -5, 5]])
    check(ops.mod, [x, y], np.float32([[-2e-30, 2e-30, -3, 3]]))


def test_outputs_whose_rank_tensorflow_lost():
    weights = np.float32([1, 2, 3, 4])
    x = np.float32([[0, 1, -1, 2], [0, 0, 3, -5]])
    tensor = ops.convert_to_tensor(weights)
    expected = np.average(x, axis=-1, weights=weights)
    check(lambda x: ops.average(x, axis=-1, weights=tensor), [x], expected)
    check(lambda x: ops.inner(x, tensor), [x], x @ weights)


@pytest.mark.parametrize("size", [(17, 9), (3, 5), (1, 1)])
def test_nearest_pixels_of_images_of_any_size(size):
    """tf2onnx writes a coordinate mode for it that opset 13 took out."""
    x = keras.Input((None, None, 2), name="x")
    resizing = keras.layers.Resizing(*size, interpolation="nearest")
    model = keras.Model(x, resizing(x))
    proto, _ = converted(model)
    for shape in ((5, 6), (17, 9), (32, 31), (1, 1), (100, 3)):
        images = np.random.default_rng(0).random((2, *shape, 2), np.float32)
        for run in (run_onnxruntime, run_onnxwalk):
            np.testing.assert_array_equal(run(proto, {"x": images})[0], np.asarray(model(images)))


def test_nan_is_in_the_last_bucket():
    x = np.float32([[NAN, -INF, INF, 1, 0.5, -0.0]])
    expected = np.int64([[3, 0, 3, 2, 1, 1]])  # of the boundaries 0, 1 and 2
    check(keras.layers.Discretization([0.0, 1.0, 2.0]), [x], expected)
    check(lambda x: ops.digitize(x, np.float32([0, 1, 2])), [x], expected.astype(np.int32))


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (lambda x: x * ops.cast(x > 0, x.dtype), [NAN, -INF, INF, 3.0], [NAN, NAN, INF, 3.0]),
        (lambda x: x * ops.cast(x > 2, x.dtype), [-5, 2, 3, 2**24 + 1], [0, 0, 3, 2**24 + 1]),
        (lambda x: ops.maximum(x, 2 * x), [-5, 2, 3, 2**24 + 1], [-5, 4, 6, 2**25 + 2]),
    ],
    ids=["floats", "integers", "maximum"],
)
def test_products_and_maxima_stay_what_they_are(function, given, expected):
    """tf2onnx writes ThresholdedRelu and LeakyRelu: other values of NaN, and no integers."""
    x = np.array([given], "float32" if isinstance(given[-1], float) else "int32")
    check(function, [x], np.array([expected], x.dtype))


@pytest.mark.parametrize("opset", [13, 18])
def test_logarithms_and_exponentials_near_zero(opset):
    """Of 1e-20 a sum with 1 keeps nothing."""
    x = keras.Input((None,), name="x")
    proto, _ = converted(keras.Model(x, [ops.log1p(x), ops.expm1(x)]), opset=opset)
    given = np.array([[1e-20, -3e-8, 6e-8, 1e-4, 0.3, -0.999, 5, -100, 80]], np.float32)
    for run in (run_onnxwalk, run_onnxruntime):
        logs, exponentials = run(proto, {"x": given})
        wide = given.astype(np.float64)
        np.testing.assert_allclose(logs[0, :7], np.log1p(wide[0, :7]), rtol=4e-7)
        np.testing.assert_allclose(exponentials, np.expm1(wide), rtol=4e-7)
    special = np.array([[0.0, -0.0, np.inf, -np.inf, -1, np.nan]], np.float32)
    logs, exponentials = run_onnxwalk(proto, {"x": special})
    np.testing.assert_array_equal(logs, [[0, -0.0, np.inf, np.nan, -np.inf, np.nan]])
    np.testing.assert_allclose(exponentials, np.expm1(special), rtol=4e-7)
    assert np.signbit(logs[0, 1]) and np.signbit(exponentials[0, 1])


@pytest.mark.parametrize("mode", ["constant", "reflect", "symmetric"])
@pytest.mark.parametrize(
    ("dtype", "far"),
    [
        ("bool", 1), ("int8", -128), ("uint8", 255), ("int16", -32768), ("uint16", 65535),
        ("int32", 2**31 - 1), ("uint32", 2**32 - 2), ("int64", 2**53 + 1), ("float64", 1 + 1e-12),
        ("float16", 6e4),
    ],
)  # fmt: skip
def test_borders_keep_the_type(dtype, far, mode):
    x = np.array([[far, 0, 1, far]], dtype)
    width = [(0, 0), (2, 3)]
    check(lambda t: ops.pad(t, width, mode=mode), [x], np.pad(x, width, mode=mode))


def test_borders_of_rows_of_any_length():
    x, width = np.arange(5, dtype=np.int8)[None], [(0, 0), (3, 4)]
    expected = np.pad(x, width, mode="symmetric")
    check(lambda t: ops.pad(t, width, mode="symmetric"), [x], expected, 13, shapes=[(None,)])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 6, 7])
def test_associative_scans(steps, reverse):
    x = np.arange(3 * steps, dtype=np.int32).reshape(1, 3, steps)
    sums = np.cumsum(x[..., ::-1], -1)[..., ::-1] if reverse else np.cumsum(x, -1)
    check(
        lambda t: ops.associative_scan(lambda a, b: a + b, t, reverse=reverse, axis=2),
        [x],
        sums.astype(np.int32),
    )
