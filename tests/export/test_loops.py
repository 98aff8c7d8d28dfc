"""The Loops that Keras's own exporter and tf2onnx write for recurrent layers become RNN, LSTM and
GRU nodes that compute the same; other Loops are left alone."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx

import onnxwalk
from onnxwalk.export.quiet import quiet

KINDS = ("SimpleRNN", "LSTM", "GRU")
WORDS, UNITS = 30, 5


def with_weights(model):
    """The model with weights that nothing but luck repeats."""
    rng = np.random.default_rng(0)
    model(np.ones((1, model.inputs[0].shape[1] or 3), np.int32))
    for weights in model.weights:
        weights.assign(rng.normal(0, 0.4, weights.shape))
    return model


def build(kind, *, masked=True, sequences=False, **more):
    """An embedding and a recurrent layer."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(WORDS, 4, mask_zero=masked)(ids)
    layer = getattr(keras.layers, kind)(UNITS, return_sequences=sequences, **more)
    return with_weights(keras.Model(ids, layer(x)))


def export(model, path, opset=None):
    """The model as Keras writes it; with an ``opset`` as tf2onnx does."""
    with quiet():
        if opset is None:
            model.export(path, format="onnx", verbose=False)
            return str(path)
        signature = [tf.TensorSpec(model.inputs[0].shape, tf.int32, name="ids")]
        function = tf.function(lambda ids: model(ids), input_signature=signature)
        tf2onnx.convert.from_function(function, signature, opset=opset, output_path=str(path))
    return str(path)


def texts(batch, length, seed=0):
    """Ids with a 0 here and there, one row of nothing else and one without."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, WORDS, (batch, length)) * (rng.random((batch, length)) < 0.6)
    ids[:1] = 0
    ids[1:2] = 3
    return ids.astype(np.int32)


def operators(session):
    """The operators of the plan that runs."""
    _, graph = session._program.rewrite_stages()[-1]
    return [node.op_type for node in graph.nodes]


def assert_same_everywhere(path, model, batches=((1, 6), (4, 9))):
    session, plain = onnxwalk.load(path), onnxwalk.load(path, optimize=False)
    peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, length in batches:
        feeds = {"ids": texts(batch, length)}
        expected = peer.run(None, feeds)
        predicted = model(feeds["ids"])
        results = [session.run(None, feeds) for _ in range(2)] + [plain.run(None, feeds)]
        results.append(predicted if isinstance(predicted, list) else [predicted])
        for result in results:
            for one, other in zip(result, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)
    return session


#: kind, way, and whether all steps are wanted. One file has all layers, as exporting takes long
LAYERS = {
    False: [
        ("SimpleRNN", "forward", False),
        ("GRU", "backward", True),
        ("SimpleRNN", "both", True),
    ],
    True: [("SimpleRNN", "backward", True), ("GRU", "forward", False), ("LSTM", "both", True)],
}


def build_all(masked, length=None):
    """The layers of one embedding."""
    ids = keras.Input((length,), dtype="int32", name="ids")
    x = keras.layers.Embedding(WORDS, 4, mask_zero=masked)(ids)
    outputs = []
    for kind, way, sequences in LAYERS[masked]:
        layer = getattr(keras.layers, kind)(
            UNITS, return_sequences=sequences, go_backwards=way == "backward"
        )
        outputs.append((keras.layers.Bidirectional(layer) if way == "both" else layer)(x))
    return with_weights(keras.Model(ids, outputs))


@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
def test_the_layers_of_keras_files_are_recognized(tmp_path, masked):
    model = build_all(masked)
    found = operators(assert_same_everywhere(export(model, tmp_path / "m.onnx"), model))
    assert "Loop" not in found
    # loops of opposite directions become one node
    assert sum(map(found.count, ("RNN", "LSTM", "GRU"))) == 3


def test_the_layers_of_tf2onnx_are_recognized(tmp_path):
    model = build_all(True, length=7)
    path = export(model, tmp_path / "m.onnx", opset=18)
    assert "Loop" not in operators(assert_same_everywhere(path, model, [(1, 7), (3, 7)]))


def test_settings_of_layers(tmp_path):
    """One layer on another, too, and zeros where the mask is false."""
    layers = keras.layers
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(WORDS, 4, mask_zero=True)(ids)
    outputs = [
        layers.GRU(UNITS, reset_after=False)(x),
        layers.LSTM(UNITS, use_bias=False)(layers.GRU(UNITS, return_sequences=True)(x)),
        layers.SimpleRNN(UNITS, activation="sigmoid")(x),
        layers.LSTM(UNITS, zero_output_for_mask=True, return_sequences=True)(x),
    ]
    model = with_weights(keras.Model(ids, outputs))
    session = assert_same_everywhere(export(model, tmp_path / "m.onnx"), model)
    assert "Loop" not in operators(session)


def test_an_infinite_state_stays_as_the_loop_computes_it(tmp_path):
    """Relu's state may overflow, and mask·state is NaN then: no lengths would tell."""
    model = build("SimpleRNN", activation="relu")
    for weights in model.weights:
        weights.assign(np.full(weights.shape, 1e20, np.float32))
    path = export(model, tmp_path / "m.onnx")
    ids = {"ids": np.array([[3, 0, 3, 0]], np.int32)}
    peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session = onnxwalk.load(path)
    assert "Loop" in operators(session)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(session.run(None, ids)[0], peer.run(None, ids)[0])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A masked LSTM's and an unmasked GRU's file, as messages to change."""
    folder = tmp_path_factory.mktemp("written")
    files = {
        "LSTM": export(build("LSTM"), folder / "lstm.onnx"),
        "GRU": export(build("GRU", masked=False, sequences=True), folder / "gru.onnx"),
    }
    return {kind: onnx.load(path) for kind, path in files.items()}


def _body(model):
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    return loop, next(a.g for a in loop.attribute if a.name == "body")


def _nodes(model, operator):
    return [node for node in _body(model)[1].node if node.op_type == operator]


def _another_activation(model):
    _nodes(model, "Sigmoid")[0].op_type = "HardSigmoid"


def _another_gate(model):
    """One gate's activation is not that of the others."""
    _nodes(model, "Sigmoid")[0].op_type = "Tanh"


def _swapped_difference(model):
    node = _nodes(model, "Sub")[0]
    node.input[:] = list(node.input)[::-1]


def _two_steps_at_once(model):
    """The counter gains 2: every other step is read."""
    _, body = _body(model)
    one = next(i for i in body.initializer if onnx.numpy_helper.to_array(i).dtype == np.int32)
    one.CopyFrom(onnx.numpy_helper.from_array(np.array(2, np.int32), one.name))


def _one_step_less(model):
    """The loop ends a step early."""
    loop, _ = _body(model)
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.int64), "one_less"))
    place = list(graph.node).index(loop)
    graph.node.insert(place, onnx.helper.make_node("Sub", [loop.input[0], "one_less"], ["less"]))
    _body(model)[0].input[0] = "less"


def _another_mask(model):
    """What the mask leaves unchanged for one of the states is chosen the other way round."""
    negated = _nodes(model, "Not")[0].output[0]
    cast = next(n for n in _nodes(model, "Cast") if n.input[0] == negated)
    cast.input[0] = _nodes(model, "Not")[0].input[0]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("LSTM", _another_activation),
        ("LSTM", _another_gate),
        ("LSTM", _two_steps_at_once),
        ("LSTM", _one_step_less),
        ("LSTM", _another_mask),
        ("GRU", _another_gate),
        ("GRU", _swapped_difference),
        ("GRU", _two_steps_at_once),
        ("GRU", _one_step_less),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_only_looks_like_a_layer_is_left_alone(tmp_path, written, kind, change):
    model = onnx.ModelProto()
    model.CopyFrom(written[kind])
    change(model)
    onnx.save(model, path := str(tmp_path / "m.onnx"))
    session, plain = onnxwalk.load(path), onnxwalk.load(path, optimize=False)
    assert "Loop" in operators(session)
    peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {"ids": texts(3, 6)}
    try:
        expected = peer.run(None, feeds)[0]
    except Exception:  # where steps read beyond the end; ONNX Runtime's errors share no class
        for one in (session, plain):
            with pytest.raises(onnxwalk.OnnxWalkError):
                one.run(None, feeds)
        return
    for one in (session, plain):
        np.testing.assert_allclose(one.run(None, feeds)[0], expected, rtol=0, atol=2e-6)


def test_the_rewrite_has_a_name_by_which_it_is_left_out(tmp_path, written):
    onnx.save(written["LSTM"], path := str(tmp_path / "m.onnx"))
    rewrites = [name for name in onnxwalk.REWRITES if name != "recognize_recurrence"]
    feeds = {"ids": texts(3, 6)}
    session = onnxwalk.load(path, rewrites=rewrites)
    assert "Loop" in operators(session)
    np.testing.assert_allclose(
        session.run(None, feeds)[0], onnxwalk.load(path).run(None, feeds)[0], rtol=0, atol=2e-6
    )
