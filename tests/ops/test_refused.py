"""What NumPy would read in a way of its own, or trip over, is refused in words of ours."""

import numpy as np
import pytest

from onnxwalk.ops import registry

MS = "com.microsoft"
HUGE = 1 << 62
X = np.ones((1, 2, 4, 4), np.float32)
ROIS = np.array([[0, 0, 1, 1]], np.float32)
FLOAT = np.array(1, np.float32)


def ints(*values):
    return np.array(values, np.int64)


GRAMS = {
    "max_gram_length": 1, "max_skip_count": 0, "min_gram_length": 1, "mode": "TF",
    "ngram_counts": [0], "ngram_indexes": [0, 1], "pool_int64s": [1, 2],
}  # fmt: skip

#: domain, operator, opset, inputs, attributes, and a part of what is said
REFUSED = [
    ("", "ConstantOfShape", 9, [np.ones(1000, np.int64)], {}, "at most 64 axes"),
    ("", "Tile", 13, [X, np.ones(1000, np.int64)], {}, "at most 64 axes"),
    ("", "ReduceSum", 13, [X, np.zeros(1000, np.int64)], {}, "at most 64 axes"),
    ("", "OneHot", 11, [ints(0), np.array(np.inf, np.float32), X[0, 0, 0, :2]], {}, "integer"),
    ("", "OneHot", 11, [ints(0), np.array(-1e30, np.float32), X[0, 0, 0, :2]], {}, "depth"),
    ("", "Range", 11, [FLOAT * 0, FLOAT, FLOAT * 1e-45], {}, "too long"),
    ("", "Split", 1, [X[0, 0], np.array([np.inf, 1], np.float32)], {"n_outputs": 2}, "integers"),
    ("", "HannWindow", 17, [np.array(-3)], {}, "-3 of a window should not be negative"),
    ("", "Resize", 19, [X, None, np.array([1, 1, 3e38, 1], np.float32)], {}, "too long"),
    ("", "Attention", 23, [X, X, X], {"softmax_precision": 7}, "should be a floating-point type"),
    ("", "Attention", 24, [X, X[0, 0, 0], X, X], {}, "rank 3 or 4"),
    ("", "BatchNormalization", 15, [FLOAT, *[X[0, 0, 0, :1]] * 4], {}, "no channels"),
    ("", "DeformConv", 22, [X, X[:, :, :1, :1], X, None, None], {"group": 0}, "should divide"),
    ("", "AffineGrid", 20, [np.ones((1, 2, 3), np.float32), ints(1, 1, -2, 2)], {}, "incompatible"),
    ("ai.onnx.preview.training", "Momentum", 1, [np.array(1j), ints(1)[0], *[X] * 3],
     {"alpha": 0.1, "beta": 0.1, "mode": "standard", "norm_coefficient": 0.0}, "real number"),
    ("", "RoiAlign", 16, [X, ROIS * np.nan, ints(0)], {}, "finite"),
    ("", "RoiAlign", 16, [X, ROIS, ints(0)], {"spatial_scale": float("inf")}, "finite"),
    ("", "RoiAlign", 16, [X[:, :, :0], ROIS, ints(0)], {}, "no pixels"),
    ("", "RoiAlign", 16, [X, ROIS, np.array(0)], {}, "should be"),
    ("", "RoiAlign", 16, [X, ROIS, ints(0)], {"output_width": 0}, "at least 1"),
    ("", "QLinearConv", 10, [X, FLOAT, FLOAT, FLOAT, *[FLOAT] * 4], {}, "spatial axis"),
    ("", "Gemm", 11, [X[0, 0], X[0, 0], X[0, 0, 0, :3]], {"beta": 0.0}, "shape"),
    ("", "ConvTranspose", 1, [X, X], {"auto_pad": "SAME", "output_shape": [9, 9]}, "auto_pad"),
    ("", "TfIdfVectorizer", 9, [ints(1)], {**GRAMS, "min_gram_length": -HUGE}, "at least 1"),
    ("", "TfIdfVectorizer", 9, [ints(1)], {**GRAMS, "ngram_indexes": [-1, 0]}, "at least 1"),
    ("ai.onnx.ml", "Imputer", 1, [np.ones((1, 1), np.int32)],
     {"imputed_value_int64s": [HUGE]}, "out of range for int32"),
    ("ai.onnx.preview", "FlexAttention", 1, [X[..., :0], X[..., :0], X], {}, "incompatible"),
    ("ai.onnx.preview.training", "Adagrad", 1, [FLOAT, -FLOAT.astype(np.int64), X, X, X],
     {"decay_factor": 1.0}, "infinite"),
    ("ai.onnx.preview.training", "Adam", 1, [FLOAT, FLOAT.astype(np.int64), X, X, X, X],
     {"alpha": 1.0}, "infinite"),
    (MS, "BiasSplitGelu", 1, [FLOAT, X[0, 0, 0]], {}, "even size"),
    (MS, "CropAndResize", 1, [X, ROIS, ints(0), ints(-2, 3)], {}, "a height and a width"),
    (MS, "CropAndResize", 1, [X, ROIS * np.nan, ints(0), ints(2, 3)], {}, "finite"),
    (MS, "CropAndResize", 1, [X[:0], ROIS, ints(0), ints(2, 3)], {}, "batch_indices"),
    (MS, "GatherBlockQuantized", 1, [np.ones((4, 16), np.uint8), ints(3), X[0, 0, :2, :1]], {},
     "are incompatible"),
    (MS, "QLinearReduceMean", 1, [np.ones((0, 2), np.uint8), FLOAT, np.uint8(0), FLOAT,
     np.uint8(0)], {"axes": [0], "keepdims": 1}, "no elements"),
    (MS, "RotaryEmbedding", 1, [X, ints(0), X[0, 0, :, :0], X[0, 0, :, :0]], {}, "cos_cache"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("domain", "name", "opset", "inputs", "attributes", "said"),
    REFUSED,
    ids=[f"{case[1]}-{i}" for i, case in enumerate(REFUSED)],
)
def test_refused(domain, name, opset, inputs, attributes, said):
    with pytest.raises(ValueError, match=said):
        registry.lookup(domain, name, opset).function(*inputs, **attributes)


def test_means_of_something_for_no_rows_are_no_rows():
    mean = registry.lookup(MS, "QLinearReduceMean", 1).function
    zero = np.uint8(0)
    y = mean(np.ones((0, 2), np.uint8), FLOAT, zero, FLOAT, zero, axes=[1], keepdims=1)
    assert y.shape == (0, 1) and y.dtype == np.uint8


def test_one_window_may_have_any_stride():
    kernel = np.ones((1, 2, 4, 4), np.int8)
    x = X.astype(np.int8)
    conv = registry.lookup("", "ConvInteger", 10).function
    assert conv(x, kernel, strides=[HUGE, 1]).item() == 32


def test_a_diagonal_far_outside():
    eye = registry.lookup("", "EyeLike", 9).function
    trilu = registry.lookup("", "Trilu", 14).function
    x = np.ones((2, 3), np.float32)
    for k in (HUGE, -HUGE, 3, -2):
        assert not eye(x, k=k).any()
    np.testing.assert_array_equal(eye(x, k=-1), np.eye(2, 3, -1, np.float32))
    np.testing.assert_array_equal(eye(x, k=2), np.eye(2, 3, 2, np.float32))
    for k in (HUGE, -HUGE, 1, -1, 0):
        bounded = max(-9, min(k, 9))
        np.testing.assert_array_equal(trilu(x, np.array(k)), np.triu(x, bounded))
        np.testing.assert_array_equal(trilu(x, np.array(k), upper=0), np.tril(x, bounded))
