"""compare, with Keras models as one side or both."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxwalk
from tests.interpreter.cli.test_compare import planted, refusal, report


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small CNN with a nested model, as .keras and .onnx."""
    keras = pytest.importorskip("keras", reason="is a side")
    pytest.importorskip("tf2onnx", reason="exports the model")
    from onnxwalk import export

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((4, 4, 6)),
            layers.DepthwiseConv2D(3, padding="same", name="deep"),
            layers.ReLU(6.0, name="cut"),
        ],
        name="inner",
    )
    x = image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Add(name="add")([inner(x), x])
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(16, activation="tanh", name="hidden")(x)
    model = keras.Model(image, layers.Dense(5, activation="softmax", name="classes")(x), name="cnn")
    norm = model.get_layer("norm")
    norm.set_weights([1 + 0.1 * np.random.default_rng(1).random(w.shape) for w in norm.weights])
    folder = tmp_path_factory.mktemp("exported")
    model.save(folder / "m.keras")
    export.to_onnx(model, folder / "m.onnx", verify=False)
    return folder / "m.keras", folder / "m.onnx"


def kernel_of(path, layer):
    """The weights of the Conv or MatMul whose name has the layer in it."""
    graph = onnx.load(path).graph
    node = next(n for n in graph.node if layer in n.name and n.op_type in ("Conv", "MatMul"))
    return node.input[1]


def test_a_keras_model_is_compared_layer_by_layer(cli, exported):
    keras, file = exported
    found = report(cli, keras, file, "--batch", 2, "--samples", 2)
    assert found["equal"]
    layers = {row["layer"] for row in found["compared"]}
    assert {"norm", "relu", "inner/deep", "inner/cut", "add", "hidden", "classes"} <= layers
    assert report(cli, file, keras, "--samples", 1)["equal"]
    onnxruntime = pytest.importorskip("onnxruntime", reason="is the other side")
    assert onnxruntime and report(cli, f"onnxruntime:{file}", keras, "--samples", 1)["equal"]


@pytest.mark.parametrize("layer", ["deep", "hidden"])
def test_a_wrong_weight_in_an_exported_model(cli, exported, layer):
    keras, file = exported
    wrong = planted(file, kernel_of(file, layer))
    found = report(cli, wrong, file)
    assert layer in found["first"]["layer"] and layer in found["first"]["node"]
    assert list(found["first"]["weights"]) == [kernel_of(file, layer)]
    for sides in ((wrong, keras), (keras, wrong)):
        found = report(cli, *sides, "--extract", "small.onnx")
        first = found["first"]
        assert first["layer"].split("/")[-1] == layer
        assert kernel_of(file, layer) in first["inputs"]
        assert all(layer in node["node"] for node in first["nodes"])
        mine, expected = onnxwalk.load("small.onnx").run(None, {})
        apart = np.abs(mine - expected)
        assert apart.max() == pytest.approx(first["absolute"], rel=1e-3)
        assert np.mean(apart > 1e-4) < 0.5  # and not because axes are in another order
    text = cli("compare", keras, wrong).out
    assert "first difference: node" in text and f"{layer}'" in text


def test_keras_is_asked_in_chunks_too(cli, exported, monkeypatch):
    from onnxwalk.interpreter.analysis.compare.keras_side import KerasModel

    asked = []
    run = KerasModel._run

    def watched(self, names, feeds):
        asked.append(names)
        return run(self, names, feeds)

    monkeypatch.setattr(KerasModel, "_run", watched)
    keras, file = exported
    assert report(cli, keras, file, "--batch", 1000, "--samples", 1, "--memory", 1)["equal"]
    assert len(asked) > 2
    assert sum(map(len, asked)) == len({name for names in asked for name in names})


def test_a_file_that_is_no_keras_model(cli, exported):
    Path("m.keras").write_bytes(b"nothing")
    error = refusal(cli, "m.keras", exported[1])
    assert "m.keras" in error


def rebuilt(path, change, to):
    """A copy of a Keras model, after ``change(model)``."""
    keras = pytest.importorskip("keras", reason="is both sides")
    model = keras.saving.load_model(path)
    change(model)
    model.save(to)
    return to


def test_two_keras_models_layer_by_layer(cli, exported):
    path = exported[0]

    def plant(model):
        layer = model.get_layer("inner").get_layer("deep")
        kernel, bias = layer.get_weights()
        bias[2] += 0.5
        layer.set_weights([kernel, bias])

    same = report(cli, path, rebuilt(path, lambda model: None, "same.keras"), "--batch", 2)
    assert same["equal"] and all(row["relative"] == 0 for row in same["compared"])
    layers = [row["layer"] for row in same["compared"]]
    assert {"conv", "norm", "relu", "inner/deep", "inner/cut", "inner", "classes"} <= {*layers}
    found = report(cli, rebuilt(path, plant, "other.keras"), path, "--samples", 1)
    first = found["first"]
    assert first["layer"] == "inner/deep" and first["node"] is None and first["changes"] == []
    ((name, weight),) = first["weights"].items()
    assert name.endswith("bias") and weight["absolute"] == pytest.approx(0.5)
    assert weight["differs_most"][0]["index"] == [2]
    text = cli("compare", "other.keras", path, "--samples", 1).out
    assert "first difference: layer 'inner/deep'" in text and " differs: " in text
    assert "one side must be an .onnx file" in refusal(
        cli, "other.keras", path, "--extract", "small.onnx"
    )


def test_two_keras_models_with_different_layer_names(cli):
    keras = pytest.importorskip("keras", reason="is both sides")

    def build(prefix, activation):
        x = given = keras.Input((4,), name=f"{prefix}_in")
        x = keras.layers.Dense(3, activation="relu", name=f"{prefix}_1")(x)
        x = keras.layers.Dense(3, activation=activation, name=f"{prefix}_2")(x)
        return keras.Model(given, keras.layers.Dense(2, name=f"{prefix}_3")(x))

    one, two, third = build("a", "relu"), build("b", "relu"), build("b", "tanh")
    for model, path in ((one, "one.keras"), (two, "two.keras"), (third, "third.keras")):
        model.set_weights([np.ones_like(w) for w in one.get_weights()])
        model.save(path)
    found = report(cli, "one.keras", "two.keras")
    assert found["equal"] and ("a_2", "b_2") in [(r["a"], r["b"]) for r in found["compared"]]
    first = report(cli, "one.keras", "third.keras")["first"]
    assert (first["a"], first["b"], first["layer"]) == ("a_2", "b_2", "a_2")
    assert first["changes"] == ["activation: 'relu' → 'tanh'"]


def test_layers_in_any_order_of_axes_and_what_has_no_counterpart(cli, tmp_path):
    """The file keeps sequences with the steps first; the shapes fit in more than one way."""
    keras = pytest.importorskip("keras", reason="is a side")
    pytest.importorskip("tf2onnx", reason="exports the model")
    from onnxwalk import export

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            layers.Embedding(50, 8, name="words"),
            layers.SimpleRNN(8, return_sequences=True, name="first"),
            layers.LSTM(8, return_sequences=True, name="second"),
            layers.Dropout(0.5, name="drop"),
            layers.GRU(8, name="third"),
            layers.Dense(3, activation="softmax", name="classes"),
        ]
    )
    model.save("rnn.keras")
    export.to_onnx(model, "rnn.onnx", verify=False)
    found = report(cli, "rnn.onnx", "rnn.keras", "--batch", 8, "--samples", 1)
    assert found["equal"]
    rows = {row["layer"]: row for row in found["compared"]}
    assert rows.keys() >= {"words", "first", "second", "third", "classes"}
    assert rows["first"]["axes"] == [1, 0, 2] and rows["words"]["axes"] is None
    skipped = {(row["side"], row["value"]) for row in found["not_compared"]}
    assert [name for side, name in skipped if side == "b"] == ["drop"]
    for side in "ab":  # nothing is left out in silence; what is returned counts once
        left_out = sum(row["side"] == side for row in found["not_compared"])
        assert found["values"][side] == found["values"]["compared"] + left_out
    assert all(row["reason"] for row in found["not_compared"])
    text = cli("compare", "rnn.onnx", "rnn.keras", "--samples", 1).out
    assert "not compared: 1 value of b (drop): the file has no value of this layer's own" in text

    (name,) = [
        i.name for i in onnx.load("rnn.onnx").graph.initializer if i.name.endswith("first/W")
    ]
    wrong = planted("rnn.onnx", name)
    found = report(cli, wrong, "rnn.keras", "--batch", 8, "--samples", 1)
    assert found["first"]["layer"] == "first"
