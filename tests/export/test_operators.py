"""The table of TensorFlow operations, and those that are refused or mapped by us.

The table is written by a command, which takes long::

    python -m onnxwalk.export operators -o docs/TF_OPERATORS.md
"""

from pathlib import Path

import numpy as np
import pytest

from tests.export.helpers import check, converted

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")
import tensorflow as tf

from onnxwalk.export import ExportError
from onnxwalk.export.conversion.handlers import ADVICE, operation_handlers
from onnxwalk.export.conversion.refused import INEXACT, UNMAPPED
from onnxwalk.export.coverage import layer_cases, tensorflow_cases
from onnxwalk.export.coverage.operators import find_operations
from onnxwalk.export.coverage.operators_table import find_origin, format_table, read_table
from onnxwalk.export.quiet import quiet

OPERATIONS, FUNCTIONS = read_table(
    (Path(__file__).parents[2] / "docs" / "TF_OPERATORS.md").read_text("utf-8")
)
CASES = tensorflow_cases.cases()


@pytest.mark.parametrize("kind", sorted(OPERATIONS))
def test_the_table_says_whose_handler_it_is(kind):
    assert OPERATIONS[kind] == find_origin(kind)


def test_every_function_is_right_or_refused():
    assert set(FUNCTIONS) == {case.layer for case in CASES}
    assert not [name for name, result in FUNCTIONS.items() if "WRONG" in result]


def test_the_table_has_the_operations_of_a_sample():
    layers = [cases[len(cases) // 2] for cases in layer_cases.all_cases().values()][::4]
    with quiet():
        for case in (*layers, *CASES[::6]):
            assert find_operations(case.build) <= set(OPERATIONS), (case.layer, case.label)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tf.image.adjust_saturation", "AdjustSaturation .*: convert colours"),
        ("tf.random.normal", "RandomStandardNormal .*: it draws random numbers"),
        ("tf.numpy_function", "PyFunc .*: it calls Python"),
        ("tf.scan", "TensorList.*: a loop that collects tensors"),
        ("tf.image.ssim", "ShapeN .*: tf.image.ssim has it, which rounding alone decides"),
        ("tf.nn.max_pool_with_argmax", "MaxPoolWithArgmax .*: use tf.nn.max_pool2d"),
    ],
)
def test_refusals(name, words):
    (case,) = (case for case in CASES if case.layer == name)
    with pytest.raises(ExportError, match=words) as caught:
        converted(case.build())
    assert "\n" not in str(caught.value)


def test_what_is_refused_has_a_reason():
    assert set(INEXACT) <= set(operation_handlers())
    assert not set(UNMAPPED) & (set(operation_handlers()) - {"PyFunc"})
    assert all(ADVICE[kind] for kind in (*INEXACT, *UNMAPPED))


def test_norms_and_rests():
    x = np.float32([[3, 4, -12], [np.nan, 1, 2]])

    def function(x):
        layer = tensorflow_cases.as_layer
        return [layer(lambda x: tf.math.reduce_euclidean_norm(x, -1))(x), layer(tf.nn.l2_loss)(x)]

    check(function, [x[:1]], [np.float32([13]), np.float32(84.5)])
    whole = np.int32([[-(2**31), -7, 7]])
    rests = np.int32([[-2, -1, 1]])
    check(tensorflow_cases.as_layer(lambda x: tf.truncatemod(x, 6)), [whole], rests)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("sign", [1, -1])
def test_extremes_of_segments(dtype, sign):
    """As TensorFlow: the numbers after a segment's last NaN, NaN if there are none."""
    nan, inf = (np.nan, np.inf) if dtype != "int32" else (7, 9)
    column = np.array([nan, 1, 1, nan, nan, 2, nan, 0, -inf, inf, 5, 3], dtype) * sign
    ids = [0, 0, 1, 1, 2, 3, 3, 3, 5, 6, -1, 1]
    extreme = tf.math.unsorted_segment_max if sign > 0 else tf.math.unsorted_segment_min
    function = tensorflow_cases.as_layer(lambda x: extreme(tf.transpose(x), ids, 8))
    x = np.stack([column, column[::-1]])
    with np.errstate(all="ignore"):
        expected = extreme(x.T, ids, 8).numpy()
    if dtype != "int32":
        assert np.isnan(expected[2, 0]) and expected[3, 0] == 0 and abs(expected[7, 0]) > 6e4
    check(function, [x], expected, 18)


@pytest.mark.parametrize("k", [-2, 0, 3])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_set_diag(k, dtype):
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    length = min(3 + min(k, 0), 4 - max(k, 0))
    function = tensorflow_cases.as_layer(
        lambda x: tf.linalg.set_diag(x, 100 + x[:, 0, :length], k=k)
    )
    expected = x.copy()
    for i in range(length):
        expected[:, i - min(k, 0), i + max(k, 0)] = 100 + x[:, 0, i]
    check(function, [x], expected)


def test_the_determinant_of_infinities():
    x = np.random.default_rng(0).standard_normal((64, 4, 4)).astype(np.float32)
    x[:32, 1, 2], x[16:, 3, 0], x[60:, 0, 0] = np.inf, -np.inf, np.nan
    expected = tf.linalg.det(x).numpy()
    finite = np.isfinite(expected)
    assert 0 < np.isnan(expected).sum() < 60 and not finite.any()
    check(tensorflow_cases.as_layer(tf.linalg.det), [x], expected)


def test_rows_are_kept():
    text = format_table({"Relu": {"layers": 3, "functions": 0, "tf": 1, "applications": 0}}, {})
    assert "| Relu | ours | 3 |  | 1 |  |  |" in text
    assert "| Relu | ours | 3 |" in format_table({}, {}, text)
