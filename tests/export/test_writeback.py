"""Weights back into Keras: trained in the file, set in the model, checked, written."""

import warnings
import zipfile

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import numpy as np
import onnxruntime
from keras import layers as L

import onnxwalk
from onnxwalk.export import ExportError, to_onnx, weights_back
from onnxwalk.export.cli import main
from onnxwalk.export.coverage.random_weights import randomize


def build(units=4, name="lstm"):
    return randomize(
        keras.Sequential(
            [
                keras.Input((5, 3), name="x"),
                L.Bidirectional(L.LSTM(units), name=name),
                L.BatchNormalization(name="norm"),
                L.Dense(2, name="head"),
            ]
        )
    )


def trained(model, folder):
    """The path of a file of the model with other weights, as after training."""
    to_onnx(model, folder / "m.onnx", trainable=True, verify=False)
    return change(folder / "m.onnx")


def change(path):
    session = onnxwalk.load(path)
    tensors = session.model.graph.initializers
    rng = np.random.default_rng(1)
    arrays = {w.initializer: tensors[w.initializer].array.copy()
              for w in onnxwalk.trainable_weights(session)}  # fmt: skip
    for weight in onnxwalk.trainable_weights(session):
        values = weight.read(arrays[weight.initializer])
        weight.write(arrays[weight.initializer], values + rng.normal(0, 0.1, values.shape))
    onnxwalk.write_weights(path, path.with_name("m2.onnx"), arrays)
    return path.with_name("m2.onnx")


X = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)


def answers(path):
    return onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0]


def test_a_model_gets_the_files_weights(tmp_path):
    model = build()
    path = trained(model, tmp_path)
    before = model.predict(X, verbose=0)
    assert weights_back(path, model) is model
    after = model.predict(X, verbose=0)
    np.testing.assert_allclose(after, answers(path), rtol=1e-5, atol=1e-6)
    assert abs(after - before).max() > 0.01


def test_a_model_built_anew_goes_by_order(tmp_path):
    path = trained(build(), tmp_path)
    other = keras.Sequential(
        [keras.Input((5, 3)), L.Bidirectional(L.LSTM(4)), L.BatchNormalization(), L.Dense(2)]
    )
    weights_back(path, other)
    np.testing.assert_allclose(other.predict(X, verbose=0), answers(path), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["new.keras", "new.h5", "new.weights.h5"])
def test_the_model_is_written(name, tmp_path):
    path = trained(build(), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights_back(path, build(), tmp_path / name)
    if name.endswith(".weights.h5"):
        again = build()
        again.load_weights(tmp_path / name)
    else:
        again = keras.saving.load_model(tmp_path / name)
    np.testing.assert_allclose(again.predict(X, verbose=0), answers(path), rtol=1e-5, atol=1e-6)


def test_the_command(tmp_path, capsys):
    build().save(tmp_path / "m.keras")
    assert main([str(tmp_path / "m.keras"), "--trainable", "--no-verify"]) == 0
    path = change(tmp_path / "m.onnx")
    capsys.readouterr()
    out = tmp_path / "new.keras"
    assert main(["--weights-back", str(path), str(tmp_path / "m.keras"), "-o", str(out)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{out}  12 variables from {path}"
    assert second.startswith("largest difference from Keras: ")
    assert zipfile.is_zipfile(out)
    assert main(["--weights-back", str(path), str(tmp_path / "m.keras")]) == 0  # into the file
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m2.onnx", "m.keras", "new.keras"}
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(X, verbose=0), answers(path), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "other, message",
    [
        (
            lambda: build(5),
            r"m2.onnx was exported from another model: \S+/lstm_cell/kernel is float32 \[3, 16\], "
            r"and \S+/lstm_cell/kernel in its place is float32 \[3, 20\]$",
        ),
        (
            lambda: keras.Sequential([keras.Input((5, 3)), L.GRU(4), L.Dense(2, name="head")]),
            r"model: it has 12 variables, the model 5; the model has no \S+/lstm_cell/kernel$",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((5, 3)), L.Bidirectional(L.LSTM(4), merge_mode="concat"),
                 L.BatchNormalization(), L.Dense(2, activation="tanh")]
            ),
            "output dense.* differs from Keras|output head differs from Keras",
        ),
    ],
    ids=["other sizes", "other layers", "another activation"],
)  # fmt: skip
def test_another_model_is_refused_and_stays_as_it_was(other, message, tmp_path):
    path = trained(build(), tmp_path)
    model = other()
    before = [v.numpy().copy() for v in model.variables]
    with pytest.raises(ExportError, match=message) as caught:
        weights_back(path, model, tmp_path / "new.keras")
    assert "\n" not in str(caught.value) and not (tmp_path / "new.keras").exists()
    for v, values in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), values)


def test_a_file_without_the_record_is_refused(tmp_path, capsys):
    model = build()
    to_onnx(model, tmp_path / "m.onnx", verify=False)
    model.save(tmp_path / "m.keras")
    content = (tmp_path / "m.keras").read_bytes()
    assert main(["--weights-back", str(tmp_path / "m.onnx"), str(tmp_path / "m.keras")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'm.onnx'} has no record of Keras's variables: ")
    assert main(["--weights-back", "absent.onnx", str(tmp_path / "m.keras")]) == 1
    assert capsys.readouterr().err == "error: absent.onnx: no such file\n"
    arguments = ["--weights-back", "m.onnx", str(tmp_path / "m.keras"), "--trainable"]
    assert main(arguments) == 1
    assert "--trainable has no effect with --weights-back" in capsys.readouterr().err
    assert (tmp_path / "m.keras").read_bytes() == content


def test_a_folder_that_cannot_be_written_leaves_the_model_as_it_was(tmp_path):
    model = build()
    path = trained(model, tmp_path)
    before = [v.numpy().copy() for v in model.variables]
    with pytest.raises(ExportError, match="can't be written"):
        weights_back(path, model, tmp_path / "new.unknown")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith((".", "new"))] == []
    for v, values in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), values)
