"""The losses: by their formulas, through a Softmax or Sigmoid, exact where that rounds."""

import numpy as np
import pytest

import onnxwalk
from onnxwalk import InvalidInputError, training
from tests.interpreter.training.small import X, Y, network, session

ONE_HOT = np.eye(3, dtype=np.float32)[Y]
SIDES = (X @ np.ones((4, 3)) > 0).astype(np.float32)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def logits():
    return onnxwalk.load(network("")).run("y", {"x": X})[0].astype(np.float64)


def test_formulas():
    z = logits()
    p, q = softmax(z), sigmoid(z)
    cross = -np.mean(np.log(p)[np.arange(50), Y])
    binary = -np.mean(SIDES * np.log(q) + (1 - SIDES) * np.log(1 - q))
    expected = {
        ("sparse_categorical_crossentropy", "Softmax"): (Y, cross),
        ("categorical_crossentropy", "Softmax"): (ONE_HOT, cross),
        ("SoftmaxCrossEntropyLoss", "Softmax"): (Y, cross),
        ("SoftmaxCrossEntropyLoss", ""): (Y, cross),
        ("NegativeLogLikelihoodLoss", "LogSoftmax"): (Y, cross),
        ("binary_crossentropy", "Sigmoid"): (SIDES, binary),
        ("mse", "Sigmoid"): (SIDES, np.mean((q - SIDES) ** 2)),
        ("mean_absolute_error", ""): (SIDES, np.mean(np.abs(z - SIDES))),
    }
    for (loss, final), (labels, value) in expected.items():
        trainer = training.Trainer(session(final), loss=loss)
        found = trainer.test_on_batch(X, labels)["loss"]
        assert found == pytest.approx(value, rel=1e-6), (loss, final)
        assert trainer.train_on_batch(X, labels)["loss"] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "final", "labels"),
    [
        ("sparse_categorical_crossentropy", "Softmax", Y),
        ("categorical_crossentropy", "Softmax", ONE_HOT),
        ("binary_crossentropy", "Sigmoid", SIDES),
    ],
)
def test_of_logits_and_of_probabilities(loss, final, labels):
    through = training.Trainer(session(final), loss=loss)
    of_logits = training.Trainer(session(""), loss=loss, from_logits=True)
    assert through.train_on_batch(X, labels) == of_logits.train_on_batch(X, labels)
    of_logits = training.Trainer(session(""), loss=loss, from_logits=True)
    # through an operator that hides it: from the probabilities
    hidden = training.Trainer(session(final, hides=True), loss=loss)
    assert hidden.test_on_batch(X, labels) == pytest.approx(of_logits.test_on_batch(X, labels))


def test_probabilities_of_0_and_1():
    """Where the Softmax rounds to 0 the loss is still exact, and has a gradient."""
    weights = {"last/bias": np.array([200, 0, -200], np.float32)}
    trainer = training.Trainer(session(weights=weights), loss="sparse_categorical_crossentropy")
    before = trainer.weights["last/bias"].copy()
    labels = np.full(50, 2)
    assert trainer.train_on_batch(X, labels)["loss"] == pytest.approx(400, rel=0.05)
    assert (trainer.weights["last/bias"] != before).any()


def test_softmax_before_opset_13():
    new = training.Trainer(session(), loss="sparse_categorical_crossentropy")
    old = training.Trainer(session(opset=11), loss="sparse_categorical_crossentropy")
    assert old.train_on_batch(X, Y) == new.train_on_batch(X, Y)


def test_columns_of_labels():
    """(n, 1) is as good as (n,)."""
    results = [
        training.Trainer(session(), loss="sparse_categorical_crossentropy").train_on_batch(X, y)
        for y in (Y, Y[:, None], Y.astype(np.uint8), Y.tolist())
    ]
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        ("msa", {}, "loss 'msa' is neither a known loss nor an output of the model; did you mean"),
        ("mse", {"output": "yy"}, "no output is named 'yy'; did you mean 'y'?"),
        ("y", {}, r"output 'y' has shape \('n', 3\): a loss must be a scalar"),
        (3, {}, "loss must be a name, not 3"),
        ("mse", {"metrics": ["accuracy"]}, "metric 'accuracy' needs a loss over classes"),
        ("mse", {"metrics": ["acuracy"]}, "unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ("mse", {"seed": -1}, "seed must be an integer from 0 on"),
        ("mse", {"frozen": ["hiden"]}, "frozen: no weight is named 'hiden'"),
        ("mse", {"frozen": ["*"]}, "nothing to train: all 4 weights are frozen"),
    ],
)
def test_refused(loss, options, message):
    with pytest.raises(InvalidInputError, match=message):
        training.Trainer(session(), loss=loss, **options)


@pytest.mark.parametrize(
    ("loss", "x", "y", "message"),
    [
        ("sparse_categorical_crossentropy", X, Y.astype(float), "labels must be integers"),
        ("sparse_categorical_crossentropy", X, ONE_HOT, "use categorical_crossentropy"),
        ("sparse_categorical_crossentropy", X, Y + 1, "from 0 to 2, not 3"),
        ("sparse_categorical_crossentropy", X, Y - 1, "from 0 to 2, not -1"),
        ("sparse_categorical_crossentropy", X, None, "the loss needs labels"),
        ("sparse_categorical_crossentropy", X[:9], Y, "differ in their number: 'x' has 9, 'lab"),
        ("sparse_categorical_crossentropy", X[:0], Y[:0], "there are no samples"),
        ("sparse_categorical_crossentropy", {"w": X}, Y, "no input is named 'w'"),
        ("sparse_categorical_crossentropy", X[:, :3], Y, "expected size 4 in dimension 1"),
        ("sparse_categorical_crossentropy", X.astype(int), Y, "expected float32"),
        ("categorical_crossentropy", X, Y, "not 2; for the numbers of classes use sparse_cat"),
        ("mse", X, SIDES[:, :2], r"labels have shape \(50, 2\), but output 'y' has 3 values"),
        ("mse", X, SIDES * np.nan, "labels hold NaN or infinities"),
        ("mse", X, np.array(["a"] * 50), "labels must be numbers"),
        ("mse", X, 3, "labels must have one row for each sample"),
    ],
)
def test_bad_batches(loss, x, y, message):
    trainer = training.Trainer(session(), loss=loss)
    before = {name: w.copy() for name, w in trainer.weights.items()}
    with pytest.raises(InvalidInputError, match=message):
        trainer.train_on_batch(x, y)
    assert all((before[name] == w).all() for name, w in trainer.weights.items())
