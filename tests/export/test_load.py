"""Every kind of file that Keras writes, and every way in which one can be wrong."""

import sys
import zipfile

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import h5py
import keras

from onnxwalk.export import ExportError, to_onnx
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.load import load_model
from onnxwalk.export.study.assignment import cnn
from tests.export.helpers import run_onnxruntime

X = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)


def build():
    return cnn((16,), 3)


def build_larger():
    return cnn((16, 32), 3)


def build_other():
    return cnn((32,), 3)


def build_nothing():
    return None


def build_unbuilt():
    return keras.Sequential([keras.layers.Dense(2)])


def build_broken():
    raise RuntimeError("first line\nsecond line")


@pytest.fixture(scope="module")
def model():
    return randomize(build())


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    model.save(path / "m.keras")
    model.save(path / "m.h5")
    model.save_weights(path / "m.weights.h5")
    (path / "m.anything").write_bytes((path / "m.keras").read_bytes())
    (path / "weights_of.h5").write_bytes((path / "m.weights.h5").read_bytes())
    return path


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("m.keras", None),
        ("m.h5", None),
        ("m.anything", None),
        ("m.weights.h5", build),
        ("weights_of.h5", build),
        ("m.keras", build),
        ("m.h5", build),
        ("m.weights.h5", "arch_of_test:build"),
    ],
)
def test_formats(model, folder, name, architecture, monkeypatch):
    (folder / "arch_of_test.py").write_text(
        "from onnxwalk.export.study.assignment import cnn\ndef build():\n    return cnn((16,), 3)\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(folder)])
    proto = to_onnx(folder / name, architecture=architecture)
    (actual,) = run_onnxruntime(proto, {"image": X})
    np.testing.assert_allclose(actual, model(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "architecture", "message"),
    [
        ("absent.keras", None, "no such file: .*absent.keras"),
        (".", None, "is a folder"),
        (
            "m.weights.h5",
            None,
            "m.weights.h5 contains only weights: name the function that builds the model",
        ),
        ("m.weights.h5", "nowhere:build", "architecture nowhere:build: No module named 'nowhere'"),
        ("m.weights.h5", "keras:build", "keras has no build"),
        ("m.weights.h5", "keras", "'keras' must have the form module:function"),
        ("m.weights.h5", "keras:__version__", "is not a function"),
        ("m.weights.h5", build_broken, "architecture build_broken failed: first line$"),
        ("m.weights.h5", build_nothing, "returned NoneType, not a keras.Model"),
        ("m.weights.h5", build_unbuilt, "returned a model without an Input layer"),
        ("m.weights.h5", build_other, "the weights in m.weights.h5 don't fit the architecture"),
        ("m.weights.h5", build_larger, "the weights in m.weights.h5 don't fit the architecture"),
        ("m.keras", build_other, "the weights in m.keras don't fit the architecture"),
        ("m.h5", build_other, "the weights in m.h5 don't fit the architecture"),
    ],
)
def test_errors(folder, name, architecture, message):
    with pytest.raises(ExportError, match=message) as caught:
        load_model(folder / name, architecture)
    assert "\n" not in str(caught.value)


def test_weights_that_find_no_place(tmp_path):
    build_larger().save_weights(tmp_path / "large.weights.h5")

    def part():  # the first layers of the larger model, so that Keras finds all it looks for
        model = build_larger()
        return keras.Model(model.inputs, model.layers[0](model.inputs[0]))

    with pytest.raises(ExportError, match="don't fit the architecture"):
        load_model(tmp_path / "large.weights.h5", part)


def test_not_keras(tmp_path):
    (tmp_path / "text.keras").write_text("hello")
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("a.txt", "hello")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.attrs["a"] = 1
    for name in ("text.keras", "zip.keras", "data.h5"):
        with pytest.raises(ExportError, match=f"{name} is not a Keras file"):
            load_model(tmp_path / name)
    with pytest.raises(ExportError, match=r"expected a keras\.Model or a path, got int"):
        load_model(3)


def test_custom_objects(tmp_path):
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    path = tmp_path / "custom.keras"
    x = keras.Input((3,))
    keras.Model(x, Twice()(x)).save(path)
    with pytest.raises(ExportError, match="custom class Twice: pass architecture") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)

    path = tmp_path / "lambda.keras"
    keras.Model(x, keras.layers.Lambda(lambda t: 2 * t)(x)).save(path)
    with pytest.raises(ExportError, match="Python code"):
        load_model(path)


def test_unbuilt():
    with pytest.raises(ExportError, match="is not built: give it an Input layer"):
        to_onnx(build_unbuilt())


def test_truncated(folder, tmp_path):
    for name in ("m.keras", "m.h5"):
        data = (folder / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(ExportError) as caught:
            load_model(tmp_path / name)
        assert "\n" not in str(caught.value)
