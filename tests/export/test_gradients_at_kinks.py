"""Gradients of exported files at kinks and ties are those of the Keras models."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
from keras import layers as L
from keras import ops

import onnxwalk
from onnxwalk.export import to_onnx
from tests.programs.gradients.judge import file_gradients, in_float64
from tests.programs.gradients.tape import Model

X = np.array([[-6, -4, -3, -2.5, -2, -1, -0.5, 0, 0.5, 1, 2, 2.5, 3, 4, 5, 6, 7, 20]])
PICTURE = (-1, 6, 3, 1)
FUNCTIONS = {
    **{
        name: lambda x, name=name: L.Activation(name)(x)
        for name in "relu relu6 hard_sigmoid hard_silu hard_tanh leaky_relu elu selu celu softsign "
        "hard_shrink soft_shrink squareplus sparsemax sparse_plus sparse_sigmoid".split()
    },
    "ReLU to 6": lambda x: L.ReLU(max_value=6)(x),
    "ReLU to 6, below": lambda x: L.ReLU(max_value=6, negative_slope=0.5)(x),
    "ReLU to 6, from 1": lambda x: L.ReLU(max_value=6, threshold=1)(x),
    "ReLU to 3": lambda x: L.ReLU(max_value=3)(x),
    "ReLU from 1, below": lambda x: L.ReLU(threshold=1, negative_slope=0.5)(x),
    "PReLU": lambda x: L.PReLU("ones")(x),
    "maximum": lambda x: ops.maximum(x, 2.0),
    "minimum": lambda x: ops.minimum(2.0, x),
    "clip": lambda x: ops.clip(x, -2, 3),
    "max": lambda x: ops.max(ops.abs(x), axis=-1),
    "sort": lambda x: ops.sort(ops.abs(x), axis=-1),
    "three": lambda x: L.Maximum()([ops.abs(x), x, ops.relu(x)]),
    "MaxPooling2D": lambda x: L.MaxPooling2D(3, 2, padding="same")(
        ops.reshape(ops.relu(x), PICTURE)
    ),
    "GlobalMaxPooling2D": lambda x: L.GlobalMaxPooling2D()(ops.reshape(ops.abs(x), PICTURE)),
    # what isn't chosen has an infinite slope
    "root of what is chosen": lambda x: ops.where(x > 0, ops.sqrt(ops.relu(x)), x),
    "1 / x of what is chosen": lambda x: ops.where(x > 0, ops.rsqrt(ops.relu(x)), x),
    "the norm of 0": lambda x: L.UnitNormalization()(x * 0),
    "log1p": lambda x: ops.log1p(ops.relu(x)),
    "arctan2": lambda x: ops.arctan2(x, x + 1),
    "hypot": lambda x: ops.hypot(x, x),
    "divide_no_nan": lambda x: ops.divide_no_nan(x * x, ops.relu(x)),
}
#: a Clip in the usual file, which has a slope of 1 at its limits
CLIPPED = {"relu6", "hard_sigmoid", "hard_silu", "ReLU to 6", "ReLU to 6, below"}


@pytest.fixture(scope="module")
def all_functions():
    """One model with an output for each of them, its file to be trained, and its usual file."""
    with in_float64():
        x = keras.Input((18,), dtype="float64", name="x")
        built = keras.Model(x, [function(x) for function in FUNCTIONS.values()])
        sessions = [
            onnxwalk.load(to_onnx(built, trainable=trainable, verify=False))
            for trainable in (True, False)
        ]
        return Model(built, {"x": X}), *sessions


@pytest.mark.parametrize("name", FUNCTIONS)
def test_kinks_are_those_of_keras(name, all_functions):
    model, to_be_trained, usual = all_functions
    check_kinks(name, model, to_be_trained)
    if name not in CLIPPED:
        check_kinks(name, model, usual)


def check_kinks(name, model, session):
    seeds = [s if n == name else None for n, s in zip(FUNCTIONS, model.seeds, strict=True)]
    found, expected = file_gradients(session, model.feeds, seeds), model.gradients(seeds)
    if "x" not in found:  # no slope anywhere
        found = {"x": np.zeros_like(X)}
    for key, gradient in found.items():
        truth = expected.get(key, np.zeros_like(gradient))
        atol = 1e-7 * np.abs(truth).max()  # ONNX's attributes are float32
        np.testing.assert_allclose(gradient, truth, rtol=1e-7, atol=atol)


def test_angles_are_those_of_every_quarter():
    y, x = np.meshgrid(
        [-np.inf, -2, -1, -0.0, 0.0, 1, 3, np.inf], [-np.inf, -1, -0.0, 0.0, 1, np.inf]
    )
    given = {"y": y.reshape(1, -1).astype(np.float32), "x": x.reshape(1, -1).astype(np.float32)}
    inputs = [keras.Input((y.size,), name=name) for name in given]
    built = keras.Model(inputs, ops.arctan2(*inputs))
    found = onnxwalk.load(to_onnx(built, verify="full")).run(None, given)[0]
    np.testing.assert_allclose(found, np.arctan2(*given.values()), rtol=3e-7)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(given["y"]))


def test_a_file_that_is_not_trained_keeps_its_clip():
    kinds = [
        [
            node.op_type
            for node in to_onnx(
                keras.Sequential([keras.Input((3,)), L.ReLU(max_value=6)]), trainable=trainable
            ).graph.node
        ]
        for trainable in (False, True)
    ]
    assert kinds == [["Clip"], ["Relu", "Min"]]
