"""Gradients of the initializers, read by the record, are those of Keras's variables."""

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

import onnxwalk
from onnxwalk.export import to_onnx
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.interpreter.weights import trainable_weights


@pytest.fixture(autouse=True)
def in_float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def sequences():
    x = keras.Input((7, 3), dtype="float64")
    y = L.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d")(x)
    return keras.Model(x, L.Dense(3)(L.LayerNormalization()(y)))


def attention():
    x = keras.Input((7, 3), dtype="float64")
    return keras.Model(x, L.MultiHeadAttention(2, 3)(x, x))


def table_both_ways():
    x = keras.Input((7,), dtype="int32")
    table = L.ReversibleEmbedding(9, 4)
    return keras.Model(x, table(table(x), reverse=True))


def layer_twice():
    x = keras.Input((7, 3), dtype="float64")
    dense = L.Dense(3, activation="tanh")
    return keras.Model(x, dense(dense(x)))


@pytest.mark.parametrize("build", [sequences, attention, table_both_ways, layer_twice])
def test_gradients_of_the_variables(build):
    model, rng = randomize(build()), np.random.default_rng(0)
    shape, dtype = model.inputs[0].shape, model.inputs[0].dtype
    x = rng.integers(0, 9, (4, *shape[1:])) if dtype == "int32" else rng.normal(size=(4, 7, 3))
    x = x.astype(dtype)
    with tf.GradientTape() as tape:
        y = model(x)
        seed = rng.normal(size=y.shape)
        loss = tf.reduce_sum(y * seed)
    variables = model.trainable_variables
    expected = {
        v.path: tf.convert_to_tensor(g).numpy()  # that of an Embedding is of some rows
        for v, g in zip(variables, tape.gradient(loss, variables), strict=True)
    }
    session = onnxwalk.load(to_onnx(model, trainable=True, verify=False))
    weights = trainable_weights(session)
    names = list(dict.fromkeys(weight.initializer for weight in weights))
    feeds = {session.inputs[0].name: x}
    gradients = session.gradients(session.outputs[0].name, names, feeds, seed=seed)
    found = dict(zip(names, gradients, strict=True))
    assert {weight.name for weight in weights} == expected.keys()
    scale = max(abs(g).max() for g in expected.values())
    for weight in weights:
        actual = weight.read(found[weight.initializer])
        np.testing.assert_allclose(actual, expected[weight.name], rtol=0, atol=1e-12 * scale)
