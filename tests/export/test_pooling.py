"""Pooling: what TensorFlow does with NaN, infinities and integers."""

import numpy as np
import pytest

from tests.export.helpers import check, converted, run_onnxruntime, run_onnxwalk

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")
import keras
import ml_dtypes
from keras import layers as L
from keras import ops

INF, NAN = np.inf, np.nan


def along(values, rank, dtype):
    """(1, 1 …, values, 1), of ``rank`` spatial axes."""
    return np.array(values).reshape(1, *(1,) * (rank - 1), -1, 1).astype(dtype)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "bfloat16"])
def test_the_largest_number_of_a_window(dtype, rank):
    if rank == 3 and dtype in ("float16", "float64"):
        pytest.skip("TensorFlow has no MaxPool3D of this type")
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    lowest = -INF if dtype == "bfloat16" else np.finfo(kind).min
    values = [NAN, NAN, NAN, -INF, -INF, -INF, 1, NAN, -INF, NAN, -INF, NAN, INF, NAN, 2, 5, 3, NAN]
    expected = along([lowest, lowest, 1, lowest, INF, 5], rank, kind)
    size = 3 if rank == 1 else (1,) * (rank - 1) + (3,)
    layers = [
        getattr(L, f"MaxPooling{rank}D")(size, strides=size, padding=padding, dtype=dtype)
        for padding in ("valid", "same")
    ]
    check(
        lambda x: [layer(x) for layer in layers],
        [along(values, rank, kind)],
        [expected] * 2,
        # ONNX Runtime has no bfloat16
        engines=(run_onnxwalk,) if dtype == "bfloat16" else (run_onnxruntime, run_onnxwalk),
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64"])
def test_integers_to_both_ends(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    values = [low, low, low, high - 1, high, low, 7, high - 1, high - 2]
    check(
        lambda x, y: [ops.max_pool(x, 3), ops.max_pool(y, (1, 3))],
        [along(values, rank, dtype) for rank in (1, 2)],
        [along([low, high, high - 1], rank, dtype) for rank in (1, 2)],
    )


@pytest.mark.parametrize("shape", [(7, 6, 3), (None, None, 3)], ids=["known", "open"])
@pytest.mark.parametrize("opset", [13, 18])
def test_windows_of_int64(shape, opset):
    x = np.random.default_rng(0).integers(-(2**62), 2**62, (2, 7, 6, 3))
    windows = [(2, 1), (3, 2), (2, 3), (1, 2), ((3, 1), 1)]

    def function(x):
        return [ops.max_pool(x, *w, padding) for w in windows for padding in ("valid", "same")]

    check(function, [x], [np.asarray(y) for y in function(x)], opset, shapes=[shape])


def test_convolution_and_pooling_in_one():
    """NaN and infinity at the input go through both nodes as through the one that is made of them,
    with a kernel that is computed by way of products of sums, too."""
    x = np.random.default_rng(0).normal(size=(4, 20, 20, 8)).astype("float32")
    x[0, 3, 4], x[1, 5, 5, 0], x[2, 5, 5, 1], x[3] = NAN, INF, -INF, NAN
    given = keras.Input(x.shape[1:])
    convolution = L.Conv2D(8, 3, activation="relu", bias_initializer="ones")
    model = keras.Model(given, L.MaxPooling2D()(convolution(given)))
    expected = np.asarray(model(x))
    assert (expected[3] == np.finfo("float32").min).all() and np.isinf(expected[1]).any()
    proto, _ = converted(model)
    for options in ({}, {"optimize": False}):
        (found,) = run_onnxwalk(proto, {given.name: x}, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_global_maxima_keep_nan():
    x = np.float32([[[1, NAN], [-INF, 2]], [[-INF, -INF], [-INF, INF]]])
    # ONNX Runtime's ReduceMax passes over a NaN that isn't the first
    check(L.GlobalMaxPooling1D(), [x], np.float32([[1, NAN], [-INF, INF]]))


def test_means_of_infinities():
    x = np.float32([[[INF], [1], [-INF], [INF], [NAN], [1], [-INF], [5]]])
    check(L.AveragePooling1D(2), [x], np.float32([[[INF], [NAN], [NAN], [-INF]]]))


@pytest.mark.parametrize(("size", "strides"), [(2, 1), (2, 2), (3, 2)])
def test_a_window_larger_than_an_open_size(size, strides):
    x = np.ones((2, 1, 3), "float32")
    expected = np.zeros((2, 0, 3), "float32")
    pool = L.AveragePooling1D(size, strides=strides)
    # ONNX Runtime rounds -1 / 2 towards 0, and gives one window
    engines = (run_onnxwalk,) if (size, strides) == (2, 2) else (run_onnxruntime, run_onnxwalk)
    check(pool, [x], expected, shapes=[(None, 3)], engines=engines)
