"""Files of Keras 2 and tf-keras, and Keras 3 with other backends.

The files are made here, in the form in which tf-keras 2.21 writes them: Keras 3 saves the weights,
and the config is put in Keras 2's terms.
"""

import json
import os
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import h5py
import keras
from keras import layers

import onnxwalk
from onnxwalk.export import ExportError, to_onnx
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.keras2 import version_of

RNG = np.random.default_rng(0)


def layer(class_name, name, inbound=None, **config):
    """A layer in an .h5 file of Keras 2."""
    found = {"class_name": class_name, "config": {"name": name, **config}}
    return found if inbound is None else found | {"name": name, "inbound_nodes": inbound}


def input_layer(name, *shape, **more):
    return layer("InputLayer", name, batch_input_shape=[None, *shape], dtype="float32",
                 sparse=False, ragged=False, **more)  # fmt: skip


def sequential(*contents, name="sequential", **more):
    return layer("Sequential", name, layers=list(contents), **more)


def in_archive(config):
    """The same in a .keras file of tf-keras: with modules, on all levels."""
    if isinstance(config, list):
        return [in_archive(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: in_archive(item) for key, item in config.items()}
    if "class_name" in config:
        of_model = config["class_name"] in ("Functional", "Sequential")
        module = f"tf_keras.src.engine.{config['class_name'].lower()}"
        config |= {"module": module if of_model else "keras.layers", "registered_name": None}
    return config


def save(model, config, path, version="2.21.0"):
    """The weights of a model of Keras 3, with a config of Keras 2."""
    model.save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = version
        return
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["config.json"] = json.dumps(in_archive(config)).encode()
    contents["metadata.json"] = json.dumps({"keras_version": version}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)


def exported(path, *inputs):
    session = onnxwalk.load(to_onnx(path))
    feeds = {info.name: x for info, x in zip(session.inputs, inputs, strict=True)}
    return session.run(None, feeds)


both = pytest.mark.parametrize("suffix", [".h5", ".keras"])


@both
def test_hard_sigmoid_has_the_slope_of_keras_2(tmp_path, suffix):
    """Keras 3 takes the word for its own function, silently."""
    model = randomize(keras.Sequential([keras.Input((3,)), layers.Dense(4)]))
    dense = layer("Dense", "dense", units=4, activation="hard_sigmoid")
    path = tmp_path / f"model{suffix}"
    save(model, sequential(input_layer("x", 3), dense), path)
    x = RNG.normal(size=(5, 3)).astype(np.float32)
    (y,) = exported(path, x)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(y, np.clip(0.2 * (x @ kernel + bias) + 0.5, 0, 1), atol=1e-6)


def test_hard_sigmoid_in_an_lstm_is_one_node(tmp_path):
    model = randomize(keras.Sequential([keras.Input((6, 3)), layers.LSTM(4)]))
    lstm = layer("LSTM", "lstm", units=4, recurrent_activation="hard_sigmoid", time_major=False,
                 implementation=2)  # fmt: skip
    save(model, sequential(input_layer("x", 6, 3), lstm), tmp_path / "model.h5")
    [node] = [n for n in to_onnx(tmp_path / "model.h5").graph.node if n.op_type == "LSTM"]
    attributes = {a.name: a for a in node.attribute}
    assert attributes["activations"].strings[0] == b"HardSigmoid"
    np.testing.assert_allclose(attributes["activation_alpha"].floats[0], 0.2)


@both
def test_arguments_that_keras_3_no_longer_has(tmp_path, suffix):
    model = keras.Sequential([
        keras.Input((8, 8, 2)), layers.DepthwiseConv2D(3), layers.SeparableConv2D(4, 2),
        layers.Conv2DTranspose(3, 2), layers.RandomFlip(), layers.Reshape((-1, 3)),
        layers.Bidirectional(layers.GRU(3, return_sequences=True)), layers.SimpleRNN(2),
    ])  # fmt: skip
    randomize(model)
    gru = layer("GRU", "gru", units=3, return_sequences=True, reset_after=True, time_major=False)
    config = sequential(
        input_layer("x", 8, 8, 2),
        layer("DepthwiseConv2D", "depthwise", kernel_size=[3, 3], groups=1,
              kernel_initializer=None),
        layer("SeparableConv2D", "separable", filters=4, kernel_size=[2, 2], groups=1,
              kernel_constraint=None),
        layer("Conv2DTranspose", "transposed", filters=3, kernel_size=[2, 2], groups=1),
        layer("RandomFlip", "flip", rng_type="stateful", seed=None),
        layer("Reshape", "reshape", target_shape=[-1, 3]),
        layer("Bidirectional", "both", layer={"module": "keras.layers", **gru}),
        layer("SimpleRNN", "rnn", units=2, time_major=False),
    )  # fmt: skip
    path = tmp_path / f"model{suffix}"
    save(model, config, path)
    x = RNG.normal(size=(2, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(exported(path, x)[0], model.predict(x, verbose=0), atol=1e-6)


@both
def test_in_wrappers_and_with_policies(tmp_path, suffix):
    """A TimeDistributed layer with the other hard_sigmoid; a policy as tf-keras writes it."""
    model = randomize(keras.Sequential([
        keras.Input((3, 4)), layers.SpatialDropout1D(0.5), layers.TimeDistributed(layers.Dense(2))
    ]))  # fmt: skip
    policy = {"module": "keras.mixed_precision", "class_name": "Policy",
              "config": {"name": "float32"}, "registered_name": None}  # fmt: skip
    dense = layer("Dense", "dense", units=2, activation="hard_sigmoid", dtype=policy)
    config = sequential(
        input_layer("x", 3, 4),
        layer("SpatialDropout1D", "drop", rate=0.5, noise_shape=None, trainable=True),
        layer("TimeDistributed", "each", layer={"module": "keras.layers", **dense}),
    )
    path = tmp_path / f"model{suffix}"
    save(model, config, path)
    x = RNG.normal(size=(5, 3, 4)).astype(np.float32)
    kernel, bias = model.get_weights()
    expected = np.clip(0.2 * (x @ kernel + bias) + 0.5, 0, 1)
    np.testing.assert_allclose(exported(path, x)[0], expected, atol=1e-6)


@both
def test_a_gru_of_a_version_that_had_one_kind(tmp_path, suffix):
    model = randomize(keras.Sequential([keras.Input((6, 3)), layers.GRU(4, reset_after=False)]))
    path = tmp_path / f"model{suffix}"
    save(model, sequential(input_layer("x", 6, 3), layer("GRU", "gru", units=4)), path, "2.0.8")
    x = RNG.normal(size=(2, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(exported(path, x)[0], model.predict(x, verbose=0), atol=1e-6)


@both
def test_calls_of_nested_models(tmp_path, suffix):
    """a = inner(x), b = inner(a); the outputs are a and b side by side, outer(b) and inner(b)."""
    i = keras.Input((4,))
    inner = keras.Model(i, layers.Dense(4, activation="tanh", name="d")(i), name="inner")
    outer = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="outer")
    x = keras.Input((4,), name="x")
    a = inner(x)
    b = inner(a)
    model = randomize(keras.Model(x, [layers.Concatenate(name="c")([a, b]), outer(b), inner(b)]))
    config = layer("Functional", "model", layers=[
        input_layer("x", 4) | {"name": "x", "inbound_nodes": []},
        layer("Functional", "inner",
              [[["x", 0, 0, {}]], [["inner", 1, 0, {}]], [["inner", 2, 0, {}]]],
              layers=[input_layer("i", 4) | {"name": "i", "inbound_nodes": []},
                      layer("Dense", "d", [[["i", 0, 0, {}]]], units=4, activation="tanh")],
              input_layers=[["i", 0, 0]], output_layers=[["d", 0, 0]]),
        layer("Concatenate", "c", [[["inner", 1, 0, {}], ["inner", 2, 0, {}]]], axis=-1),
        sequential(input_layer("o", 4), layer("Dense", "e", units=2), name="outer")
        | {"name": "outer", "inbound_nodes": [[["inner", 2, 0, {}]]]},
    ], input_layers=[["x", 0, 0]],
        output_layers=[["c", 0, 0], ["outer", 1, 0], ["inner", 3, 0]])  # fmt: skip
    path = tmp_path / f"model{suffix}"
    save(model, config, path)
    value = RNG.normal(size=(3, 4)).astype(np.float32)
    for y, expected in zip(exported(path, value), model.predict(value, verbose=0), strict=True):
        np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (layer("TFOpLambda", "tf.nn.relu", function="nn.relu"), "calls nn.relu between layers"),
        (
            layer("Lambda", "twice", function=["4wEA", None, None]),
            "Python code (Lambda layer twice",
        ),
        (
            layer("CuDNNLSTM", "fast", units=3),
            "has the layer fast (CuDNNLSTM), which Keras 3 can't",
        ),
        (layer("MultiHeadAttention", "heads", num_heads=2, key_dim=2), "layer heads (MultiHead"),
    ],
)
@both
def test_what_keras_3_has_no_equal_of(tmp_path, suffix, config, said):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
    path = tmp_path / f"model{suffix}"
    save(model, sequential(input_layer("x", 3), config), path)
    with pytest.raises(ExportError) as caught:
        to_onnx(path)
    assert said in str(caught.value) and "architecture=" in str(caught.value)


def test_the_version_is_told(tmp_path):
    keras.Sequential([keras.Input((3,)), layers.Dense(4)]).save(tmp_path / "m.keras")
    assert version_of(tmp_path / "m.keras") == keras.__version__
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    assert version_of(tmp_path / "m.h5") == "1"


def test_a_saved_model(tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    for path in (folder, folder / "saved_model.pb"):
        with pytest.raises(ExportError, match="is a SavedModel, which has no Keras layers: save"):
            to_onnx(path)


def test_a_model_of_tf_keras():
    kind = type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})
    with pytest.raises(
        ExportError, match=r"Sequential is a model of tf_keras \(Keras 2\): save it"
    ):
        to_onnx(kind())


@pytest.mark.parametrize(
    ("source", "said"),
    [("my.keras", "export.*by python -m onnxwalk.export my.keras"),
     (types.SimpleNamespace(), r"save the model, model.save\('model.keras'\), and export")],
)  # fmt: skip
def test_another_backend_in_this_process(monkeypatch, source, said):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ExportError, match=f"^Keras runs on jax here.*{said}"):
        to_onnx(source)


def test_the_command_doesn_t_care_for_the_backend(tmp_path):
    """Whoever works with another one has it in the environment; JAX isn't even installed here."""
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save(path)
    done = subprocess.run(
        [sys.executable, "-m", "onnxwalk.export", str(path)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "largest difference from Keras" in done.stdout
