"""The model families that tests, study and benchmarks share, by their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from onnxwalk.export.errors import ExportError

Recurrent = Literal["SimpleRNN", "LSTM", "GRU"]

WORDS = 10_000
LENGTH = 100
EMBEDDING = 128


def cnn(
    filters: Sequence[int] = (32, 64),
    kernels: int | Sequence[int] = 3,
    *,
    pooling: Literal["max", "average"] = "max",
    head: Literal["gap", "flatten"] = "gap",
    dense: int = 64,
    classes: int = 10,
    shape: tuple[int, int, int] = (32, 32, 3),
    activation: str | None = "softmax",
    name: str = "cnn",
) -> Any:
    """Per filter count: Conv2D (same, relu) and 2×2 pooling; the head, Dense (relu), Dense.

    ``kernels``: one side length, or one per Conv2D. ``activation`` of ``None`` gives logits.
    (batch, height, width, channels) float32 -> (batch, classes) float32.

    Raises ExportError for invalid parameters.
    """
    from keras import Input, Sequential, layers

    sizes = [kernels] * len(filters) if isinstance(kernels, int) else list(kernels)
    pool = _choose("pooling", pooling, max=layers.MaxPooling2D, average=layers.AveragePooling2D)
    top = _choose("head", head, gap=layers.GlobalAveragePooling2D, flatten=layers.Flatten)
    if len(sizes) != len(filters) or not filters:
        raise ExportError(f"got {len(sizes)} kernel sizes for {len(filters)} convolutions")
    parts: list[Any] = [Input(shape, name="image")]
    for count, size in zip(filters, sizes, strict=True):
        parts += [layers.Conv2D(count, size, padding="same", activation="relu"), pool(2)]
    parts += [top(), layers.Dense(dense, activation="relu")]
    return Sequential([*parts, layers.Dense(classes, activation=activation)], name=name)


def recurrent(
    kind: Recurrent = "SimpleRNN",
    layers: int = 1,
    units: int = 64,
    *,
    bidirectional: bool = False,
    mask_zero: bool = False,
    dropout: float = 0.5,
    words: int = WORDS,
    length: int | None = LENGTH,
    embedding: int = EMBEDDING,
    classes: int = 3,
    activation: str | None = "softmax",
    name: str = "text",
) -> Any:
    """Embedding, ``layers`` recurrent layers, Dropout and a Dense layer.

    ``activation`` of ``None`` gives logits.
    (batch, length) int32 ids below ``words`` -> (batch, classes) float32.

    Raises ExportError for invalid parameters.
    """
    import keras

    make = _choose(
        "kind",
        kind,
        SimpleRNN=keras.layers.SimpleRNN,
        LSTM=keras.layers.LSTM,
        GRU=keras.layers.GRU,
    )
    if layers < 1:
        raise ExportError(f"layers must be at least 1, got {layers}")
    parts: list[Any] = [
        keras.Input((length,), dtype="int32", name="ids"),
        keras.layers.Embedding(words, embedding, mask_zero=mask_zero),
    ]
    for depth in range(layers):
        layer = make(units, return_sequences=depth < layers - 1)
        parts.append(keras.layers.Bidirectional(layer) if bidirectional else layer)
    parts += [keras.layers.Dropout(dropout), keras.layers.Dense(classes, activation=activation)]
    return keras.Sequential(parts, name=name)


def _choose(what: str, name: str, **choices: Any) -> Any:
    if name not in choices:
        raise ExportError(f"unknown {what} {name!r}: choose from {', '.join(choices)}")
    return choices[name]
