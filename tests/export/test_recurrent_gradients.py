"""Gradients of recurrent networks, in float64 and float32, against TensorFlow's in float64."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxwalk
from onnxwalk.export import to_onnx

WORDS, LENGTH, FEATURES, HIDDEN, BATCH = 20, 12, 5, 6, 7
#: where ONNX has Keras's gates
GATES = {"SimpleRNN": [0], "LSTM": [0, 3, 1, 2], "GRU": [0, 1, 2]}
SETTINGS = [  # layers, both directions, masked
    ("SimpleRNN", 1, False, False),
    ("SimpleRNN", 3, True, True),
    ("LSTM", 1, False, True),
    ("LSTM", 2, True, True),
    ("LSTM", 3, False, False),
    ("GRU", 1, True, True),
    ("GRU", 2, False, True),
]


def build(kind, layers, both, masked, dtype):
    import keras

    embeddings = keras.initializers.RandomNormal(stddev=1)
    parts = [
        keras.Input((LENGTH,), dtype="int32"),
        keras.layers.Embedding(WORDS, FEATURES, embeddings, mask_zero=masked, dtype=dtype),
    ]
    for depth in range(layers):
        layer = getattr(keras.layers, kind)(
            HIDDEN, return_sequences=depth < layers - 1, bias_initializer="normal", dtype=dtype
        )
        parts.append(keras.layers.Bidirectional(layer, dtype=dtype) if both else layer)
    return keras.Sequential([*parts, keras.layers.Dense(3, dtype=dtype)])


def tensorflow_gradients(model, ids, seed):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        y = tf.reduce_sum(model(tf.constant(ids)) * seed)
    found = tape.gradient(y, [variable.value for variable in model.trainable_variables])
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def as_onnx(kind, kernels):
    """W, R and B (of RNN and LSTM only Wb) of a layer, from (kernel, recurrent kernel, bias) of
    each direction."""
    ways = []
    for way in kernels:
        w, r, b = (
            np.concatenate([np.split(x, len(GATES[kind]), -1)[i] for i in GATES[kind]], -1)
            for x in way
        )
        ways.append((w.T, r.T, b.reshape(-1)))
    return [np.stack(arrays) for arrays in zip(*ways, strict=True)]


def gradients(kind, layers, both, model, path, ids, seed):
    """Pairs of onnxwalk's and TensorFlow's gradients of all weights of embedding and layers."""
    to_onnx(model, path)
    graph = onnx.load(path).graph
    nodes = [node for node in graph.node if node.op_type in ("RNN", "LSTM", "GRU")]
    (table,) = (
        tensor.name
        for tensor in graph.initializer
        if numpy_helper.to_array(tensor).shape == (WORDS, FEATURES)
    )
    names = [table, *(name for node in nodes for name in node.input[1:4])]
    table_truth, *rest = tensorflow_gradients(model, ids, seed)
    expected, per_layer = [table_truth], 6 if both else 3
    for depth in range(layers):
        own = rest[depth * per_layer : (depth + 1) * per_layer]
        expected += as_onnx(kind, [own[i : i + 3] for i in range(0, per_layer, 3)])
    feeds = {graph.input[0].name: ids}
    found = onnxwalk.load(path).gradients(graph.output[0].name, names, feeds, seed=seed)
    return [
        (ours[:, : theirs.shape[1]] if ours.ndim == 2 else ours, theirs)
        for ours, theirs in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize(("kind", "layers", "both", "masked"), SETTINGS)
def test_gradients_of_all_weights(kind, layers, both, masked, tmp_path):
    import keras

    rng = np.random.default_rng(0)
    ids = rng.integers(1, WORDS, (BATCH, LENGTH)).astype(np.int32)
    if masked:
        for row, length in zip(ids, rng.integers(1, LENGTH + 1, BATCH), strict=True):
            row[length:] = 0
    seed = rng.normal(size=(BATCH, 3))
    keras.utils.set_random_seed(0)
    model = build(kind, layers, both, masked, "float64")
    path = tmp_path / "model.onnx"
    exact = gradients(kind, layers, both, model, path, ids, seed)
    for ours, truth in exact:
        np.testing.assert_allclose(ours, truth, rtol=1e-12, atol=1e-12 * np.abs(truth).max())
    single = build(kind, layers, both, masked, "float32")
    single.set_weights([x.astype(np.float32) for x in model.get_weights()])
    rounded = gradients(kind, layers, both, single, path, ids, seed.astype(np.float32))
    errors = [
        [np.abs(x - truth).max() / np.abs(truth).max() for x in pair]
        for pair, (_, truth) in zip(rounded, exact, strict=True)
    ]
    ours, theirs = np.max(errors, 0)
    assert ours <= 2 * theirs
