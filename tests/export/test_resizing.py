"""Resizing of pictures: which pixels are read, and what becomes of integers."""

import subprocess
import sys

import numpy as np
import pytest

from tests.export.helpers import converted, run_onnxruntime, run_onnxwalk

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")
import keras
from keras import layers as L

from onnxwalk.export import to_onnx

INF, NAN = np.inf, np.nan


def like_predict(layer, images, shape=None):
    """Both engines give what ``predict`` gives, NaN and infinities in the same places."""
    x = keras.Input(shape or images.shape[1:], dtype=images.dtype.name, name="x")
    model = keras.Model(x, layer(x))
    expected = model.predict(images, verbose=0)
    proto, _ = converted(model)
    for run in (run_onnxruntime, run_onnxwalk):
        (found,) = run(proto, {"x": images})
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4, err_msg=run.__name__)
    return expected


def pictures(value):
    images = np.random.default_rng(0).uniform(0, 255, (2, 5, 7, 2)).astype("float32")
    images[0, 2, 3, 0] = images[1, 0, 0, 1] = images[1, -1, -1, 0] = value
    return images


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(
    "options",
    [
        {"interpolation": "bilinear"},
        {"interpolation": "bicubic"},
        {"interpolation": "area"},
        {"interpolation": "bilinear", "antialias": True},
        {"interpolation": "lanczos3"},
    ],
    ids=str,
)
def test_only_the_pixels_around_are_read(options, value):
    expected = like_predict(L.Resizing(3, 14, **options), pictures(value))
    assert 0 < np.isfinite(expected).mean() < 1


@pytest.mark.parametrize("value", [NAN, INF])
def test_pixels_around_in_images_of_open_size(value):
    like_predict(L.Resizing(9, 4), pictures(value), (None, None, 2))
    like_predict(L.UpSampling2D(2, interpolation="bilinear"), pictures(value), (None, None, 2))


def test_the_same_size_changes_nothing():
    expected = like_predict(L.Resizing(5, 7), pictures(INF))
    np.testing.assert_array_equal(expected, pictures(INF))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integers_become_fractions_as_in_predict(dtype):
    images = np.arange(2 * 5 * 7 * 3).reshape(2, 5, 7, 3).astype(dtype)
    for shape in ((5, 7, 3), (None, None, 3)):
        expected = like_predict(L.Resizing(3, 4), images, shape)
        assert expected.dtype == np.float32 and (expected % 1).any()


def test_upsampling_rounds_integers():
    images = np.arange(2 * 5 * 7 * 3).reshape(2, 5, 7, 3).astype("uint8")
    for shape in ((5, 7, 3), (None, None, 3)):
        layer = L.UpSampling2D(2, interpolation="bilinear")
        assert like_predict(layer, images, shape).dtype == np.uint8


@pytest.mark.parametrize("size", [(3, 4), (12, 16), (3, 16), (12, 4)])
def test_crops_of_images_of_open_size(size):
    """Keras resizes images that are smaller than the crop; a trace doesn't know which are."""
    for sides in ((5, 7), (20, 30)):
        images = np.random.default_rng(0).uniform(0, 255, (2, *sides, 3)).astype("float32")
        expected = like_predict(L.CenterCrop(*size), images, (None, None, 3))
        assert expected.shape == (2, *size, 3)


def test_compare_says_equal(tmp_path):
    x = keras.Input((9, 9, 3), dtype="uint8", name="x")
    model = keras.Model(x, L.Resizing(4, 5)(x))
    model.save(tmp_path / "m.keras")
    to_onnx(model, tmp_path / "m.onnx")
    files = [str(tmp_path / name) for name in ("m.onnx", "m.keras")]
    command = [sys.executable, "-m", "onnxwalk", "compare", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "equal within the tolerance" in done.stdout
