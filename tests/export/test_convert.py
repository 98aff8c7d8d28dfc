"""Models of other shapes, and what has no ONNX form."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import tensorflow as tf

from onnxwalk.export import ExportError
from onnxwalk.export.conversion.names import layer_of
from onnxwalk.export.coverage.random_weights import randomize
from tests.export.helpers import (
    assert_same_as_keras,
    converted,
    operators,
    run_onnxruntime,
    run_onnxwalk,
)

L = keras.layers


def names(values):
    return [value.name for value in values]


def dims(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((None, 4), name="b")
    left = L.Dense(3, name="left")(a)
    right = L.Dense(2, name="right")(b)
    graph = assert_same_as_keras(randomize(keras.Model([a, b], [left, right]))).graph
    assert names(graph.input) == ["a", "b"] and names(graph.output) == ["left", "right"]
    assert dims(graph.input[1]) == ["batch", "time", 4]
    assert dims(graph.output[1])[0] == "batch" and dims(graph.output[1])[2] == 2


def test_inputs_in_a_dict():
    inputs = {"b": keras.Input((2,), name="b"), "a": keras.Input((2,), name="a")}
    model = keras.Model(inputs, {"sum": L.Add()([inputs["a"], inputs["b"]])})
    graph = assert_same_as_keras(model).graph
    assert sorted(names(graph.input)) == ["a", "b"]


def test_an_input_is_an_output():
    x = keras.Input((2,), name="x")
    assert_same_as_keras(keras.Model(x, [x, L.ReLU(name="y")(x), x]))


def test_output_names_are_unique():
    x = keras.Input((5, 3), name="x")
    proto = assert_same_as_keras(keras.Model(x, L.LSTM(2, return_state=True, name="cell")(x)))
    assert names(proto.graph.output) == ["cell", "cell_1", "cell_2"]


def test_models_in_models():
    x = keras.Input((8, 8, 3), name="x")
    inner = keras.Sequential([L.Conv2D(4, 3), L.BatchNormalization()], name="inner")
    outer = keras.Model(x, L.GlobalMaxPooling2D()(inner(inner.layers and x)))
    assert_same_as_keras(randomize(outer))


def test_subclassed():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(3)

        def call(self, x):
            return self.dense(x)

    with pytest.raises(ExportError, match="not built"):
        converted(Net())
    net = Net()
    net(np.ones((2, 5), np.float32))
    assert_same_as_keras(net)


def test_captured_constants():
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)))
    x = keras.Input((4,), name="x")
    proto = assert_same_as_keras(keras.Model(x, layer(x)))
    assert names(proto.graph.input) == ["x"]


def test_grouped_convolution():
    x = keras.Input((8, 8, 4), name="x")
    found = operators(assert_same_as_keras(randomize(keras.Model(x, L.Conv2D(4, 3, groups=2)(x)))))
    assert found["Conv"] >= 1


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint32", "int64"])
def test_large_integers_are_compared_exactly(dtype):
    def compare(x):
        values, places = keras.ops.top_k(x, 3)
        return [x < x[:, ::-1], x[:, ::-1] > x, values, places, keras.ops.sort(x)]

    x = keras.Input((4,), dtype=dtype, name="x")
    model = keras.Model(x, L.Lambda(compare)(x))
    proto, _ = converted(model)
    largest = np.iinfo(dtype).max
    rows = np.array([[largest - 2, largest, 0, largest - 1]], dtype)
    for run in (run_onnxruntime, run_onnxwalk):
        for actual, wanted in zip(run(proto, {"x": rows}), model(rows), strict=True):
            assert actual.dtype == np.asarray(wanted).dtype
            np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_scatter_adds_up(dtype):
    def scatter(x):
        return keras.ops.scatter(keras.ops.convert_to_tensor([[1], [1], [3]]), x[0], (5,))

    x = keras.Input((3,), batch_size=1, dtype=dtype, name="x")
    model = keras.Model(x, L.Lambda(scatter)(x))
    for run in (run_onnxruntime, run_onnxwalk):
        (found,) = run(converted(model)[0], {"x": np.array([[1, 10, 100]], dtype)})
        assert found.dtype == dtype and found.tolist() == [0, 11, 0, 100, 0]
    with pytest.raises(ExportError, match="opset 16"):
        converted(model, opset=13)


def test_flatten_and_reshape_take_one_node():
    x = keras.Input((4, 3, 2), name="x")
    y = L.Reshape((3, 2, 4))(L.Flatten()(x))
    found = operators(assert_same_as_keras(keras.Model(x, [L.Flatten()(x), y])))
    assert set(found) <= {"Reshape", "Identity"}


def test_reshape_to_an_open_dimension():
    x = keras.Input((None, 6), name="x")
    assert_same_as_keras(keras.Model(x, [L.Reshape((-1, 2))(x), L.Flatten()(x)]))


def test_embedding_is_one_gather():
    ids = keras.Input((7,), name="ids")  # float, as Keras lets it be
    found = operators(assert_same_as_keras(randomize(keras.Model(ids, L.Embedding(9, 4)(ids)))))
    assert found == {"Cast": 1, "Gather": 1}


@pytest.mark.parametrize("activation", ["gelu", "celu", "elu", "mish", "softplus", "log_softmax"])
def test_activations(activation):
    x = keras.Input((6,), name="x")
    assert_same_as_keras(randomize(keras.Model(x, L.Dense(5, activation=activation)(x))))


def test_what_has_no_onnx_form_names_the_layer():
    x = keras.Input((6,), name="x")
    layer = L.Lambda(lambda t: tf.math.igamma(tf.abs(t) + 1, tf.abs(t)), name="odd_one")
    with pytest.raises(ExportError, match=r"Igamma \(layer odd_one\)") as caught:
        converted(keras.Model(x, L.Dense(2)(layer(x))))
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_when_called():
    class Broken(keras.layers.Layer):
        broken = False

        def call(self, x):
            if self.broken:
                raise RuntimeError("one\ntwo")
            return x

    x = keras.Input((6,), name="x")
    layer = Broken(name="broken")
    model = keras.Model(x, layer(x))
    layer.broken = True
    with pytest.raises(ExportError, match=r"can't be traced: .*Broken.call\(\)\. one$"):
        converted(model)


def test_layer_of():
    assert layer_of("model/block/conv/Relu", ["conv", "block"]) == "conv"
    assert layer_of("model/conv_1_1/Relu", ["conv", "conv_1"]) == "conv_1"
    assert layer_of("Relu", ["conv"]) is None


def test_a_sequential_without_input_has_an_open_batch():
    """Keras keeps the batch size of the first call in the model."""
    model = keras.Sequential([L.Dense(3)])
    model(np.zeros((4, 5), np.float32))
    proto, _ = converted(model)
    assert dims(proto.graph.input[0]) == ["batch", 5]
    stateful = keras.Sequential([L.LSTM(3, stateful=True)])
    stateful(np.zeros((4, 5, 2), np.float32))
    proto, _ = converted(stateful)
    assert dims(proto.graph.input[0]) == [4, 5, 2]
