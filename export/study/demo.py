"""Train the three small models that ship with the interpreter for ``onnxwalk demo``.

``python -m onnxwalk.export.study.demo`` writes digits.onnx (a CNN on scikit-learn's 8×8 digits),
simple_rnn.onnx and lstm.onnx (the latter masked, both on generated sentences) and samples for
them that were not in the training data. Takes about a minute on two cores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk import export
from onnxwalk.export.errors import require
from onnxwalk.export.study.assignment import Recurrent, recurrent
from onnxwalk.export.study.corpus import CLASSES, generate
from onnxwalk.export.study.datasets import build_vectorizer, encode_texts
from onnxwalk.interpreter.cli._parser import Parser

FOLDER = Path(__file__).parents[2] / "interpreter" / "cli" / "_demo"
SEED = 7
LENGTH = 16


def main() -> None:
    """Train, export with the check against Keras, and write everything into the folder."""
    parser = Parser(prog="python -m onnxwalk.export.study.demo", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, metavar="FOLDER")
    folder = parser.parse_args().output
    (keras,) = require("keras")
    keras.utils.set_random_seed(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    samples = {**_digits(folder), **_sentences(folder)}
    np.savez_compressed(folder / "samples.npz", **samples)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>8,} bytes  {path.name}")


def _digits(folder: Path) -> dict[str, Any]:
    """A CNN on 8×8 grey images with values 0 to 16; the last 200 are kept for the demo."""
    from keras import Input, Sequential, layers
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    model = Sequential(
        [
            Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 16),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )
    _train(model, images[:-200], labels[:-200], epochs=15)
    export.to_onnx(model, folder / "digits.onnx")
    return {
        "digits_x": images[-200:].astype(np.uint8),
        "digits_y": labels[-200:].astype(np.uint8),
        "digits_classes": np.array([str(digit) for digit in range(10)]),
    }


def _sentences(folder: Path) -> dict[str, Any]:
    """A SimpleRNN and a masked LSTM on the generated corpus."""
    texts, labels = generate(2500, seed=SEED)
    unseen = dict(zip(*generate(600, seed=SEED + 1), strict=True))
    kept = [text for text in unseen if text not in set(texts)][:200]
    layer = build_vectorizer(texts, words=200, length=LENGTH)
    numbers = {name: number for number, name in enumerate(CLASSES)}
    y = np.array([numbers[label] for label in labels])
    kinds: tuple[tuple[Recurrent, str], ...] = (("SimpleRNN", "simple_rnn"), ("LSTM", "lstm"))
    for kind, name in kinds:
        model = recurrent(
            kind,
            units=24,
            mask_zero=kind == "LSTM",
            dropout=0.2,
            words=layer.vocabulary_size(),
            length=LENGTH,
            embedding=12,
            name=name,
        )
        _train(model, encode_texts(layer, texts), y, epochs=20)
        export.to_onnx(model, folder / f"{name}.onnx")
    return {
        "texts": np.array(kept),
        "texts_x": encode_texts(layer, kept).astype(np.uint8),
        "texts_y": np.array([numbers[unseen[text]] for text in kept], np.uint8),
        "texts_classes": np.array(CLASSES),
    }


def _train(model: Any, x: Any, y: Any, *, epochs: int) -> None:
    from keras.optimizers import Adam

    model.compile(Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=2)


if __name__ == "__main__":
    main()
