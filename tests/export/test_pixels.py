"""What a file says of the pixels that it expects."""

import keras
import numpy as np
import pytest
from keras import layers

import onnxwalk
from onnxwalk.export import to_onnx
from onnxwalk.interpreter.pixels import Expected, stored_pixels


def after(*first, channels=3, shape=None):
    """A network of pictures that begins with these layers."""
    return keras.Sequential(
        [
            keras.Input(shape or (8, 8, channels)),
            *first,
            layers.Conv2D(2, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def stored(model):
    proto = to_onnx(model, verify=False)
    session = onnxwalk.load(proto)
    return stored_pixels(session.model.metadata), proto


MEAN, VARIANCE = np.array([123.7, 116.3, 103.5]), np.array([58.4, 57.1, 57.4]) ** 2
OF_ONE = {"mean": MEAN / 255, "variance": VARIANCE / 255**2}


@pytest.mark.parametrize(
    "first",
    [
        [layers.Rescaling(1 / 255)],
        [layers.Rescaling(1 / 127.5, offset=-1)],
        [layers.Normalization(mean=MEAN, variance=VARIANCE)],
        [layers.Rescaling(1 / 255), layers.Normalization(**OF_ONE)],
        [layers.Resizing(6, 6), layers.Rescaling(1 / 255)],
        [layers.Rescaling([1, 1, 1], offset=list(-MEAN))],
    ],
    ids=["0 to 1", "-1 to 1", "deviations", "both", "resized", "means"],
)  # fmt: skip
def test_pixels_from_0_to_255(first):
    found, proto = stored(after(*first))
    assert found == Expected(0, 255, False, "as the file's metadata say")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata["Image.BitmapPixelFormat"] == "Rgb8"
    (given,) = proto.graph.input
    assert given.type.denotation == "IMAGE"
    assert [dim.denotation for dim in given.type.tensor_type.shape.dim] == [
        "DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL",
    ]  # fmt: skip


def test_pixels_from_0_to_1():
    found, _ = stored(after(layers.Normalization(**OF_ONE)))
    assert (found.low, found.high) == (0, 1)


def test_gray():
    _, proto = stored(after(layers.Rescaling(1 / 255), channels=1))
    assert {e.value for e in proto.metadata_props} >= {"Gray8", "NominalRange_0_255"}


@pytest.mark.parametrize(
    "model",
    [
        lambda: after(),
        lambda: after(layers.Rescaling(1 / 255), channels=5),
        lambda: after(layers.Rescaling(0.5)),
        lambda: after(layers.Rescaling(1 / 255), layers.Rescaling(255.0)),
    ],
    ids=["nothing in front", "no colours", "half", "undone"],
)
def test_nothing_is_said_where_nothing_is_known(model):
    found, proto = stored(model())
    assert found is None and not proto.graph.input[0].type.denotation
