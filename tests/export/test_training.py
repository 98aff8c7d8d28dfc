"""Training beside Keras: the same batches from the same weights, and the weights back.

Adam divides by the root of squares that may be near 0, so that it is held against Keras with a
large epsilon, and without an Embedding, of which Keras squares each occurrence's gradient alone.
"""

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import numpy as np
from keras import layers as L

import onnxwalk
from onnxwalk import training
from onnxwalk.export import to_onnx, weights_back
from onnxwalk.export.study.assignment import cnn, recurrent
from onnxwalk.interpreter.weights import read_weights

STEPS = 100
SPARSE = "sparse_categorical_crossentropy"
TEXTS = {"dropout": 0.0, "units": 8, "embedding": 8, "words": 50, "length": 12, "mask_zero": True}


def dense(*layers, last=4, final="softmax"):
    return keras.Sequential(
        [keras.Input((12,), name="x"), L.Dense(16), *layers, L.Dense(last, activation=final)]
    )


#: name -> the model and the loss
CASES = {
    "dense": lambda: (dense(L.Activation("tanh")), SPARSE),
    "normalized": lambda: (
        dense(L.BatchNormalization(), L.Activation("relu"), last=1, final="sigmoid"),
        "binary_crossentropy",
    ),
    "linear": lambda: (dense(final=None), "mean_squared_error"),
    "SimpleRNN": lambda: (recurrent("SimpleRNN", **{**TEXTS, "mask_zero": False}), SPARSE),
    "LSTM": lambda: (recurrent("LSTM", **TEXTS), SPARSE),
    "BiLSTM": lambda: (recurrent("LSTM", bidirectional=True, **TEXTS), SPARSE),
    "two GRU": lambda: (recurrent("GRU", 2, **TEXTS), SPARSE),
}
OPTIMIZERS = {
    "SGD": (lambda: keras.optimizers.SGD(0.1), lambda: training.SGD(0.1)),
    "Nesterov": (
        lambda: keras.optimizers.SGD(0.02, 0.9, True), lambda: training.SGD(0.02, 0.9, True)
    ),
    "Adam": (
        lambda: keras.optimizers.Adam(epsilon=0.01), lambda: training.Adam(epsilon=0.01)
    ),
    "Adagrad": (  # onnxwalk: √h + ε, Keras: √(h + ε)
        lambda: keras.optimizers.Adagrad(0.01, epsilon=1e-12),
        lambda: training.Adagrad(0.01, epsilon=1e-12),
    ),
}  # fmt: skip
PAIRS = [(case, "SGD") for case in CASES] + [("dense", name) for name in OPTIMIZERS][1:]


def batches(model, loss, count):
    rng = np.random.default_rng(1)
    for _ in range(count):
        if model.inputs[0].dtype == "int32":
            x = rng.integers(1, 50, (32, 12)).astype(np.int32)
            x[np.arange(12) >= rng.integers(3, 13, 32)[:, None]] = 0
        else:
            x = rng.normal(size=(32, *model.input_shape[1:])).astype(np.float32)
        classes = model.output_shape[-1]
        if loss == "mean_squared_error":
            yield x, np.tanh(x[:, :classes])
        elif loss == "binary_crossentropy":
            yield x, (x[:, :1] > 0).astype(np.float32)
        else:
            yield x, rng.integers(0, classes, 32)


def exported(model, path):
    keras.utils.set_random_seed(0)
    to_onnx(model, path, trainable=True, verify=False)


@pytest.mark.parametrize(("case", "optimizer"), PAIRS)
def test_steps_beside_keras(tmp_path, case, optimizer):
    keras.utils.set_random_seed(0)
    model, loss = CASES[case]()
    exported(model, tmp_path / "model.onnx")
    theirs, ours = OPTIMIZERS[optimizer]
    model.compile(theirs(), loss, jit_compile=False)
    trainer = training.Trainer(tmp_path / "model.onnx", loss=loss, optimizer=ours())
    for step, (x, y) in enumerate(batches(model, loss, STEPS)):
        model.reset_metrics()
        expected = float(model.train_on_batch(x, y))
        found = trainer.train_on_batch(x, y)["loss"]
        assert found == pytest.approx(expected, abs=1e-6, rel=1e-6), f"step {step}"
    variables = [v for v in model.variables if "float" in v.dtype]  # but for seeds
    for variable, weight in zip(variables, recorded(trainer), strict=True):
        if weight.trainable or weight.statistic:
            value = weight.read(trainer.weights[weight.initializer])
            np.testing.assert_allclose(value, variable, atol=1e-5, err_msg=weight.name)


def recorded(trainer):
    return read_weights(trainer.session().model)


def test_convolutions_beside_keras(tmp_path):
    """Whose sums Keras itself rounds another way: for ten steps they agree."""
    keras.utils.set_random_seed(0)
    model = cnn((8, 8), shape=(12, 12, 3))
    exported(model, tmp_path / "model.onnx")
    model.compile(keras.optimizers.SGD(0.01), SPARSE, jit_compile=False)
    trainer = training.Trainer(tmp_path / "model.onnx", loss=SPARSE, optimizer=training.SGD(0.01))
    for x, y in batches(model, SPARSE, 10):
        model.reset_metrics()
        expected = float(model.train_on_batch(x, y))
        assert trainer.train_on_batch(x, y)["loss"] == pytest.approx(expected, abs=1e-6)


def test_trained_weights_go_back(tmp_path):
    model = recurrent("GRU", **{**TEXTS, "dropout": 0.5})
    exported(model, tmp_path / "model.onnx")
    x, y = next(batches(model, SPARSE, 1))
    found = onnxwalk.train(tmp_path / "model.onnx", (x, y), loss=SPARSE, epochs=3, seed=0)
    found.save(tmp_path / "trained.onnx")
    weights_back(tmp_path / "trained.onnx", model)
    np.testing.assert_allclose(model.predict(x, verbose=0), found.session(x), atol=1e-6)


def test_weights_that_the_loss_does_not_depend_on(tmp_path):
    given = keras.Input((12,), name="x")
    y, z = L.Dense(4, activation="softmax", name="y")(given), L.Dense(2, name="z")(given)
    exported(keras.Model(given, [y, z]), tmp_path / "model.onnx")
    session = onnxwalk.load(tmp_path / "model.onnx")
    (name,) = [info.name for info in session.outputs if info.shape[-1] == 4]
    with pytest.warns(UserWarning, match="the loss doesn't depend on z/kernel, z/bias: not tr"):
        trainer = training.Trainer(session, loss=SPARSE, output=name)
    assert all("z" not in name for name in trainer.weights)
    with pytest.raises(onnxwalk.InvalidInputError, match="is of one output: pass output=, one of"):
        training.Trainer(session, loss=SPARSE)


def test_a_scalar_is_trained():
    """The scale of an Attention has no axis."""
    query, key = (keras.Input((4, 3), name=name) for name in ("query", "key"))
    built = keras.Model([query, key], L.Attention(use_scale=True)([query, key]))
    session = onnxwalk.load(to_onnx(built, trainable=True, verify=False))
    rng = np.random.default_rng(0)
    x = {info.name: rng.normal(size=(6, 4, 3)).astype(np.float32) for info in session.inputs}
    labels = rng.normal(size=(6, 4, 3)).astype(np.float32)
    for optimizer in ("SGD", "Momentum", "Adam", "Adagrad"):
        trained = onnxwalk.train(session, (x, labels), loss="mse", optimizer=optimizer)
        (scale,) = trained.trainer.weights.values()
        assert scale.shape == () and scale != 1
