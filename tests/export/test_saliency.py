"""Saliency of exported models beside TensorFlow's: by its tape, in float64."""

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

import onnxwalk
from onnxwalk.export import to_onnx
from onnxwalk.export.coverage.random_weights import randomize


@pytest.fixture(autouse=True)
def in_float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def close(actual, expected):
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10 * scale)


def slopes(f, x, classes=None):
    """The gradient of the largest scores of ``f(x)``, and their classes."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = f(x)
        classes = tf.argmax(scores, axis=1).numpy() if classes is None else classes
        chosen = tf.reduce_sum(scores * tf.one_hot(classes, scores.shape[1], dtype="float64"))
    return tape.gradient(chosen, x).numpy(), classes


@pytest.fixture
def cnn():
    x = keras.Input((12, 10, 3), dtype="float64")
    y = L.Conv2D(6, 3, padding="same", activation="relu")(x)
    y = L.MaxPooling2D()(L.BatchNormalization()(y))
    y = maps = L.Conv2D(8, 3, activation="relu", name="maps")(y)
    logits = L.Dense(4)(L.Dense(9, activation="tanh")(L.Flatten()(y)))
    model = randomize(keras.Model(x, L.Softmax()(logits)))
    inner = keras.Model(x, [maps, logits])
    session = onnxwalk.load(to_onnx(model, verify=False))
    pictures = np.random.default_rng(3).normal(size=(3, 12, 10, 3))
    return session, inner, {session.inputs[0].name: pictures}, pictures


def test_gradients_of_pictures(cnn):
    session, inner, feeds, x = cnn
    expected, classes = slopes(lambda x: inner(x)[1], x)
    found = onnxwalk.saliency(session, feeds)
    assert [target[0] for target in found.targets] == classes.tolist()
    (attribution,) = found.attributions.values()
    assert attribution.kind == "picture"
    close(attribution.values, expected)
    close(attribution.parts, expected.sum(axis=-1))
    close(found.scores, inner(x)[1].numpy()[range(3), classes])
    times_input = onnxwalk.saliency(session, feeds, method="gradient-x-input")
    close(times_input[session.inputs[0].name], expected * x)


def test_grad_cam(cnn):
    session, inner, feeds, x = cnn
    head = keras.Model(inner.outputs[0], inner.outputs[1])
    maps = inner(x)[0].numpy()
    for target in (None, 2):
        classes = None if target is None else np.full(3, target)
        gradient, _ = slopes(head, maps, classes)
        expected = np.maximum((gradient.mean(axis=(1, 2))[:, None, None] * maps).sum(axis=-1), 0)
        found = onnxwalk.saliency(session, feeds, method="grad-cam", target=target)
        (attribution,) = found.attributions.values()
        assert attribution.input == session.inputs[0].name
        close(attribution.values, expected)


def test_integrated_gradients(cnn):
    session, inner, feeds, x = cnn
    _, classes = slopes(lambda x: inner(x)[1], x)
    steps, start = 12, 0.25
    points = [start + (x - start) * (k + 0.5) / steps for k in range(steps)]
    path = np.stack([slopes(lambda x: inner(x)[1], point, classes)[0] for point in points])
    found = onnxwalk.saliency(session, feeds, method="integrated", steps=steps, baseline=start)
    close(found[session.inputs[0].name], path.mean(axis=0) * (x - start))
    ends = inner(x)[1].numpy() - inner(np.full_like(x, start))[1].numpy()
    close(found.difference, ends[range(3), classes])
    sums = found[session.inputs[0].name].reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(sums - found.difference, found.error, atol=1e-12)


@pytest.mark.parametrize("masked", [True, False])
def test_words(masked):
    ids = keras.Input((7,), dtype="int32")
    embedding = L.Embedding(11, 5, mask_zero=masked)
    lstm, dense = L.Bidirectional(L.LSTM(4)), L.Dense(3)
    model = randomize(keras.Model(ids, L.Softmax()(dense(lstm(embedding(ids))))))
    session = onnxwalk.load(to_onnx(model, verify=False))
    x = np.random.default_rng(0).integers(1, 11, (3, 7)).astype(np.int32)
    x[1, 4:] = 0
    mask = embedding.compute_mask(x)
    expected, _ = slopes(lambda e: dense(lstm(e, mask=mask)), embedding(x).numpy())
    found = onnxwalk.saliency(session, {session.inputs[0].name: x})
    (attribution,) = found.attributions.values()
    assert (attribution.kind, attribution.input) == ("text", session.inputs[0].name)
    close(attribution.values, expected)
    close(attribution.parts, expected.sum(axis=-1))
    assert bool(attribution.parts[1, 4:].any()) is not masked
    whole = onnxwalk.saliency(session, {session.inputs[0].name: x}, method="integrated", steps=256)
    assert np.abs(whole.error).max() < 1e-3 * np.abs(whole.difference).max()


def test_steps_of_a_sequence_and_a_sigmoid():
    x = keras.Input((9, 4), dtype="float64")
    gru, dense = L.GRU(5), L.Dense(1)
    model = randomize(keras.Model(x, L.Activation("sigmoid")(dense(gru(x)))))
    session = onnxwalk.load(to_onnx(model, verify=False))
    values = np.random.default_rng(0).normal(size=(4, 9, 4))
    expected, _ = slopes(lambda x: dense(gru(x)), values, np.zeros(4, int))
    sign = np.where(dense(gru(values)).numpy()[:, 0] >= 0, 1, -1)
    found = onnxwalk.saliency(session, {session.inputs[0].name: values})
    assert [t for (t,) in found.targets] == ((sign + 1) // 2).tolist()
    (attribution,) = found.attributions.values()
    assert attribution.kind == "sequence"
    close(attribution.parts, expected.sum(axis=-1) * sign[:, None])
    other = onnxwalk.saliency(session, {session.inputs[0].name: values}, target=0)
    close(other[session.inputs[0].name], -expected)
