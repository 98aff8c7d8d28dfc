"""Exports that can be trained: one initializer for each variable, and the record of them.

All layers are judged by ``python -m tests.programs.trainable``; here it is a sample of them.
"""

import json
import warnings

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers as L

import onnxwalk
from onnxwalk.export import ExportError, to_onnx
from onnxwalk.export.coverage.layer_cases import all_cases
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.study.assignment import cnn
from onnxwalk.interpreter.weights import read_weights, trainable_weights
from onnxwalk.interpreter.weights.record import WEIGHTS_KEY
from tests.export.helpers import operators
from tests.programs.trainable import judge

#: layers whose weights take ways of their own; of each the middle one of its cases
_LAYERS = (
    "BatchNormalization", "Bidirectional", "Conv1D", "Conv2DTranspose", "ConvLSTM2D", "Dense",
    "DepthwiseConv2D", "EinsumDense", "Embedding", "GroupNormalization", "LayerNormalization",
    "MultiHeadAttention", "Normalization", "PReLU", "RNN", "SeparableConv2D", "TimeDistributed",
)  # fmt: skip


def sample():
    cases = all_cases()
    for name in _LAYERS:
        right = [c for c in cases[name] if c.refused is None and not _is_given(c)]
        case = right[len(right) // 2]
        yield pytest.param(case.build, id=f"{name}-{case.label}")


def _is_given(case):
    """Whether a Normalization isn't adapted, and then has no variables."""
    return case.layer == "Normalization" and "adapted" not in case.label


def sequential(shape, *layers, dtype="float32"):
    x = given = keras.Input(shape, dtype=dtype, name="x")
    for layer in layers:
        x = layer(x)
    return randomize(keras.Model(given, x))


def exported(model):
    """Not compared with Keras, as ``judge`` does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_onnx(model, trainable=True, verify=False)


def loaded(model):
    proto = exported(model)
    return proto, onnxwalk.load(proto)


def record(proto):
    return json.loads({p.key: p.value for p in proto.metadata_props}[WEIGHTS_KEY])


@pytest.mark.parametrize("build", list(sample()))
def test_layers(build, tmp_path):
    judged = judge(build, tmp_path)
    assert judged.wrong == [] and judged.file is not None


RECURRENT = {"SimpleRNN": L.SimpleRNN, "LSTM": L.LSTM, "GRU": L.GRU}


@pytest.mark.parametrize(
    "both, masked", [(False, False), (True, True)], ids=["", "both directions, masked"]
)
@pytest.mark.parametrize("kind", RECURRENT)
def test_the_assignments_recurrent_models(kind, both, masked, tmp_path):
    def build():
        layer = RECURRENT[kind](4, return_sequences=False)
        return sequential(
            (6,),
            L.Embedding(9, 5, mask_zero=masked),
            L.Bidirectional(layer) if both else layer,
            L.Dropout(0.3),
            L.Dense(3, activation="softmax"),
            dtype="int32",
        )

    judged = judge(build, tmp_path)
    assert judged.wrong == [] and judged.notes == ()
    weights = trainable_weights(judged.file)
    assert len(weights) == 1 + 3 * (1 + both) + 2
    assert not [w for w in weights if w.initializer.endswith("/B") and not w.part]


def test_the_assignments_cnn(tmp_path):
    judged = judge(lambda: randomize(cnn((16, 32), 3)), tmp_path)
    assert judged.wrong == []
    assert all(not w.part for w in trainable_weights(judged.file))


def test_zero_biases_and_equal_ones_are_kept():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.Conv2D(4, 3), L.Flatten(), L.Dense(2)]
    )
    proto, session = loaded(model)
    weights = trainable_weights(session)
    assert [w.name for w in weights] == [v.path for v in model.variables]
    assert len({w.initializer for w in weights}) == 6
    assert operators(proto)["Conv"] == 2 and operators(proto)["Add"] == 1


def test_only_one_half_of_a_bias_is_a_variable():
    units = 4
    for layer, rows in (
        (L.LSTM(units), 4 * units), (L.SimpleRNN(units), units), (L.GRU(units), 6 * units),
        (L.GRU(units, reset_after=False), 3 * units),
    ):  # fmt: skip
        _, session = loaded(sequential((5, 3), layer))
        bias = next(w for w in trainable_weights(session) if w.name.endswith("/bias"))
        array = session.model.graph.initializers[bias.initializer].array
        assert bias.part == (slice(0, 1), slice(0, rows))
        assert not array[:, rows:].any() and array[bias.part].all()


def test_without_a_bias_there_is_no_b():
    _, session = loaded(sequential((5, 3), L.LSTM(4, use_bias=False)))
    assert [w.initializer.rpartition("/")[2] for w in trainable_weights(session)] == ["W", "R"]
    node = next(n for n in session.model.graph.nodes if n.op_type == "LSTM")
    assert len(node.inputs) == 3


def test_gates_are_where_the_record_says():
    model = sequential((5, 3), L.LSTM(2))
    _, session = loaded(model)
    kernel = trainable_weights(session)[0]
    array = session.model.graph.initializers[kernel.initializer].array
    values = model.variables[0].numpy()
    blocks = {gate: values[:, 2 * i : 2 * i + 2] for i, gate in enumerate("ifco")}
    for i, gate in enumerate(kernel.gates):
        np.testing.assert_array_equal(array[0, 2 * i : 2 * i + 2].T, blocks[gate])


def test_batch_normalization_is_a_node_that_training_switches_on():
    proto, session = loaded(sequential((8, 8, 3), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU()))
    assert operators(proto)["BatchNormalization"] == 1
    (entry,) = record(proto)["training"]
    node = next(n for n in proto.graph.node if n.op_type == "BatchNormalization")
    assert entry["node"] == node.name
    assert entry["outputs"] == {"1": node.input[3], "2": node.input[4]}
    moving = [w for w in read_weights(session.model) if w.statistic]
    assert [w.initializer for w in moving] == list(node.input[3:5])
    assert not any(w.trainable for w in moving)


def test_batch_normalization_in_training_is_keras():
    """Switched on as the record says, it gives Keras's result and its new moving statistics."""
    model = sequential((6, 5, 3), L.BatchNormalization(momentum=0.8))
    proto = exported(model)
    (entry,) = record(proto)["training"]
    node = next(n for n in proto.graph.node if n.name == entry["node"])
    node.attribute.append(onnx.helper.make_attribute("training_mode", 1))
    moved = [f"new/{name}" for name in entry["outputs"].values()]
    node.output.extend(moved)
    proto.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, [3]) for name in moved)
    x = np.random.default_rng(0).normal(1, 2, (4, 6, 5, 3)).astype(np.float32)
    y, *statistics = onnxwalk.load(proto).run(None, {"x": x})
    np.testing.assert_allclose(y, model(x, training=True), rtol=1e-5, atol=1e-5)
    for actual, v in zip(statistics, model.non_trainable_variables, strict=True):
        np.testing.assert_allclose(actual, v.numpy(), rtol=1e-5)


def test_frozen_layers():
    model = sequential((8, 8, 3), L.Conv2D(4, 3), L.BatchNormalization(), L.Flatten(), L.Dense(2))
    for layer in model.layers[1:3]:
        layer.trainable = False
    proto, session = loaded(model)
    dense = [v.path for v in model.layers[-1].variables]
    assert [w.name for w in trainable_weights(session)] == dense
    assert record(proto)["training"] == []  # Keras leaves the statistics of a frozen one alone
    assert not any(w.statistic for w in read_weights(session.model))


def test_shared_layers():
    given = keras.Input((5, 3))
    dense, lstm = L.Dense(3), L.LSTM(3, return_sequences=True)
    model = randomize(keras.Model(given, lstm(dense(lstm(dense(given))))))
    proto, session = loaded(model)
    weights = trainable_weights(session)
    assert {w.name for w in weights} == {v.path for v in (*dense.weights, *lstm.weights)}
    assert operators(proto)["LSTM"] == 2 and len({w.initializer for w in weights}) == 5


def test_a_table_that_is_read_both_ways():
    table = L.ReversibleEmbedding(9, 4)
    given = keras.Input((7,), dtype="int32")
    proto, session = loaded(randomize(keras.Model(given, table(table(given), reverse=True))))
    (weight,) = trainable_weights(session)
    assert weight.shape == (9, 4) and weight.layout == ()
    assert operators(proto)["Transpose"] == 1


@pytest.mark.parametrize(
    "layer", [L.Dropout(0.4, seed=3), L.Dropout(0.4, noise_shape=(None, 1, 1, 4)),
              L.SpatialDropout2D(0.4)],
    ids=["elements", "noise_shape", "spatial"],
)  # fmt: skip
def test_dropout_is_a_node_that_training_switches_on(layer):
    proto = exported(sequential((4, 4, 4), layer))
    (entry,) = record(proto)["training"]
    node = next(n for n in proto.graph.node if n.op_type == "Dropout")
    assert entry["node"] == node.name and entry["training_mode"] == {"input": 2, "value": True}
    assert entry.get("seed") == layer.seed and not node.attribute
    for tensor in proto.graph.initializer:
        if tensor.name == node.input[2]:
            tensor.raw_data = b"\1"
    x = np.ones((6, 4, 4, 4), np.float32)
    options = onnxruntime.SessionOptions()  # by default it removes Dropout, whatever it is told
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (y,) = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})
    (ours,) = onnxwalk.load(proto, seed=0).run(None, {"x": x})
    assert set(np.unique(ours)) == set(np.unique(y))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / np.float32(0.6))}
    by_channel = (y == y[:, :1, :1]).all()
    assert by_channel == (layer.noise_shape is not None or isinstance(layer, L.SpatialDropout2D))


def test_a_recurrent_layers_dropout():
    proto = exported(sequential((5, 3), L.LSTM(4, dropout=0.3)))
    assert operators(proto)["Dropout"] == 1 and record(proto)["left_out"] == []
    both = sequential((5, 3), L.Bidirectional(L.LSTM(4, dropout=0.3, recurrent_dropout=0.2)))
    proto = exported(both)
    assert operators(proto)["Dropout"] == 0
    assert [what.partition(" of ")[0] for what in record(proto)["left_out"]] == [
        "dropout and recurrent_dropout"
    ] * 2


@pytest.mark.parametrize(
    "layer, what",
    [
        (L.GaussianNoise(0.1), r"layer gaussian_noise\S* \(GaussianNoise\)"),
        (L.AlphaDropout(0.1), r"layer alpha_dropout\S* \(AlphaDropout\)"),
        (L.Dense(3, kernel_regularizer="l2"), r"the regularizer of dense\S*/kernel"),
        (L.Dense(3, bias_constraint="non_neg"), r"the constraint of dense\S*/bias"),
        (L.SpectralNormalization(L.Dense(3)), "the normalization of layer spectral_norm"),
        (L.RNN([L.LSTMCell(3, dropout=0.1)]), r"dropout of layer \S+lstm_cell\S* \(LSTMCell\)"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, L.Layer) else "",
)
def test_what_is_left_out_is_said(layer, what):
    shape = (4, 3) if isinstance(layer, L.RNN) else (3,)
    model = sequential(shape, layer)
    with pytest.warns(UserWarning, match=f"not in the file, for training: {what}"):
        to_onnx(model, trainable=True, verify=False)


def test_mixed_precision_keeps_the_variables_type():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = sequential((6, 3), L.Dense(5), L.LSTM(4), L.Dense(2))
    finally:
        keras.config.set_dtype_policy("float32")
    _, session = loaded(model)
    tensors = session.model.graph.initializers
    assert {tensors[w.initializer].array.dtype.name for w in trainable_weights(session)} == {
        "float32"
    }


def test_a_variable_of_a_recurrent_layer_and_another_is_refused():
    class Twice(L.Layer):
        def __init__(self):
            super().__init__()
            self.lstm = L.LSTM(3)

        def build(self, shape):
            self.lstm.build(shape)

        def call(self, x):
            return self.lstm(x) @ self.lstm.cell.recurrent_kernel

    model = sequential((4, 2), Twice())
    with pytest.raises(ExportError, match="recurrent_kernel is read as the weight of a recurrent"):
        to_onnx(model, trainable=True)
