"""Trained models on real data: what Keras says about every example, onnxwalk says too.

CIFAR-10 and NusaX where ``../shared/data`` beside the repository has them; otherwise scikit-learn's
digits and a corpus made up here.
"""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras

import onnxwalk
from onnxwalk.export import to_onnx
from onnxwalk.export.quiet import quiet
from onnxwalk.export.study.assignment import cnn, recurrent
from onnxwalk.export.study.datasets import (
    Split,
    build_vectorizer,
    encode_texts,
    load_cifar10,
    load_nusax,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def macro_f1(truth, predicted):
    """The mean over the classes in ``truth`` of 2·TP / (2·TP + FP + FN)."""
    scores = []
    for label in np.unique(truth):
        right = np.sum((truth == label) & (predicted == label))
        scores.append(2 * right / (np.sum(truth == label) + np.sum(predicted == label)))
    return float(np.mean(scores))


def trained(model, train, epochs=1):
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(train.x, train.y, batch_size=32, epochs=epochs, verbose=0)
    return model


def in_batches(session, x, size=64):
    return np.concatenate([session(x[i : i + size]) for i in range(0, len(x), size)])


def keras_loop_form(model, path):
    """What ``keras.Model.export`` writes: for recurrent layers, mostly Loops."""
    with quiet():
        model.export(path, format="onnx", verbose=False)
    return path


@pytest.fixture(scope="module")
def pictures():
    keras.utils.set_random_seed(0)
    if (DATA / "cifar10").exists():
        train, test, classes = load_cifar10(DATA / "cifar10", per_class=200, test_per_class=200)
        test = Split(test.x[:300], test.y[:300])
        model = cnn((16, 32), 3, classes=len(classes))
    else:
        digits = pytest.importorskip("sklearn.datasets").load_digits()
        x = (digits.images[..., None] / 16).astype(np.float32)
        train, test = Split(x[:800], digits.target[:800]), Split(x[800:], digits.target[800:])
        model = cnn((16, 32), 3, shape=(8, 8, 1))
    return trained(model, train, epochs=2), test


def made_up_corpus(count, seed):
    """Texts of 3–40 words, of which a few tell the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    corpus = []
    for label in y:
        words = [f"w{w}" for w in rng.integers(0, 300, rng.integers(3, 40))]
        words[:: max(1, len(words) // 4)] = [f"sign{label}"] * len(
            words[:: max(1, len(words) // 4)]
        )
        corpus.append(" ".join(words))
    return corpus, y


@pytest.fixture(scope="module")
def sentences():
    if (DATA / "nusax-sentiment").exists():
        train, _, test, _, _ = load_nusax(DATA / "nusax-sentiment")
        return train, Split(test.x[:200], test.y[:200])
    (corpus, y), (other, z) = made_up_corpus(400, 0), made_up_corpus(200, 1)
    layer = build_vectorizer(corpus)
    return Split(encode_texts(layer, corpus), y), Split(encode_texts(layer, other), z)


def assert_same_decisions(model, test, session):
    expected = model.predict(test.x, batch_size=64, verbose=0)
    actual = in_batches(session, test.x)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(actual.argmax(1), expected.argmax(1))
    mine, keras_s = (macro_f1(test.y, p.argmax(1)) for p in (actual, expected))
    assert round(mine, 4) == round(keras_s, 4)
    assert len(np.unique(expected.argmax(1))) > 1, "the model has learnt nothing: a weak test"


def test_images(pictures, tmp_path):
    model, test = pictures
    assert_same_decisions(model, test, onnxwalk.load(to_onnx(model)))
    path = keras_loop_form(model, tmp_path / "keras.onnx")
    assert_same_decisions(model, test, onnxwalk.load(path))


@pytest.mark.parametrize(
    ("kind", "mask_zero", "units"), [("SimpleRNN", False, 32), ("LSTM", True, 32)]
)
def test_texts(sentences, kind, mask_zero, units, tmp_path):
    train, test = sentences
    keras.utils.set_random_seed(0)
    model = trained(recurrent(kind, 1, units, mask_zero=mask_zero), train, epochs=2)
    assert_same_decisions(model, test, onnxwalk.load(to_onnx(model)))
    path = keras_loop_form(model, tmp_path / "keras.onnx")
    loops = [node for node in onnxwalk.load(path).model.graph.nodes if node.op_type == "Loop"]
    assert loops, "keras.Model.export has learnt to write recurrent nodes"
    assert_same_decisions(model, test, onnxwalk.load(path))
