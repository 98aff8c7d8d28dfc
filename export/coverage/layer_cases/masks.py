"""ConvLSTM, TimeDistributed, text, and sources and readers of masks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
from keras import layers as L

from onnxwalk.export.coverage.layer_cases import Builder, Case, random_weight_cases

Builders = Iterator[tuple[str, Builder]]

_WORDS = 20


def cases() -> list[Case]:
    return [
        *(case for n in (1, 2, 3) for case in random_weight_cases(f"ConvLSTM{n}D", _conv_lstm(n))),
        *random_weight_cases("TimeDistributed", _time_distributed()),
        *random_weight_cases("Masking", _masking()),
        *random_weight_cases("Embedding", _embedding()),
        *random_weight_cases("TextVectorization", _text()),
    ]


def _ids(time: int | None = 9, mask: bool = True, name: str = "ids") -> tuple[Any, Any]:
    """(input of ids, its embedding (batch, time, 6), masked where the id is 0)."""
    ids = keras.Input((time,), dtype="int32", name=name)
    return ids, keras.layers.Embedding(_WORDS, 6, mask_zero=mask)(ids)


# --- ConvLSTM


def _conv_lstm(rank: int) -> Builders:
    name = f"ConvLSTM{rank}D"

    def build(
        masked: bool = False,
        time: int | None = 4,
        batch: int | None = None,
        side: int = 5,
        bidirectional: bool = False,
        **options: Any,
    ) -> Any:
        x = keras.Input((time, *[side] * rank, 2), batch_size=batch, name="x")
        ids = keras.Input((time,), dtype="int32", batch_size=batch, name="ids")
        layer = getattr(L, name)(2, **{"kernel_size": 3, "padding": "same", **options})
        if bidirectional:
            layer = L.Bidirectional(layer)
        y = layer(x, mask=keras.ops.not_equal(ids, 0)) if masked else layer(x)
        return keras.Model([x, ids] if masked else x, y)

    for sequences, state, backwards in itertools.product((False, True), repeat=3):
        words = ["sequences"] * sequences + ["states"] * state + ["backwards"] * backwards
        label = ", ".join(words) or "last"
        options = {"return_sequences": sequences, "return_state": state, "go_backwards": backwards}
        yield label, partial(build, **options)
        yield f"{label}, given mask", partial(build, True, **options)
    yield "valid padding, strides 2", lambda: build(padding="valid", strides=2)
    yield "dilation 2", lambda: build(dilation_rate=2, side=6)
    yield "open time", lambda: build(time=None, return_sequences=True)
    yield "open time, given mask", lambda: build(True, time=None, return_sequences=True)
    yield "no bias, relu", lambda: build(use_bias=False, activation="relu")
    yield "channels_first", lambda: build(data_format="channels_first", return_sequences=True)
    yield "stateful", lambda: build(stateful=True, batch=6)
    yield "unroll", lambda: build(unroll=True, return_sequences=True)
    yield "Bidirectional", lambda: build(bidirectional=True, return_sequences=True)


# --- TimeDistributed


def _time_distributed() -> Builders:
    def build(make: Callable[[Any], Any], shape: tuple[int, ...], time: int | None) -> Any:
        x = keras.Input((time, *shape), name="x")
        return keras.Model(x, keras.layers.TimeDistributed(make(keras.layers))(x))

    def nested(L: Any) -> Any:
        x = keras.Input((8, 8, 3))
        y = L.Conv2D(4, 3, padding="same", activation="relu")(x)
        return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling2D()(L.add([y, L.Conv2D(4, 1)(x)]))))

    def sequential(L: Any) -> Any:
        layers = [L.Conv2D(4, 3), L.BatchNormalization(), L.MaxPooling2D(), L.Flatten(), L.Dense(3)]
        return keras.Sequential([keras.Input((8, 8, 3)), *layers])

    kinds: list[tuple[str, Callable[[Any], Any], tuple[int, ...]]] = [
        ("Dense", lambda L: L.Dense(3, activation="relu"), (4,)),
        ("Dense on a matrix", lambda L: L.Dense(3), (5, 4)),
        ("Conv1D", lambda L: L.Conv1D(4, 3), (8, 3)),
        ("Conv2D", lambda L: L.Conv2D(4, 3, padding="same"), (8, 8, 3)),
        ("MaxPooling2D", lambda L: L.MaxPooling2D(), (8, 8, 3)),
        ("Flatten", lambda L: L.Flatten(), (3, 4)),
        ("BatchNormalization", lambda L: L.BatchNormalization(), (5,)),
        ("LayerNormalization", lambda L: L.LayerNormalization(), (5, 4)),
        ("Dropout", lambda L: L.Dropout(0.5), (4,)),
        ("a functional model", nested, (8, 8, 3)),
        ("a Sequential", sequential, (8, 8, 3)),
        ("LSTM", lambda L: L.LSTM(4), (5, 3)),
        ("GRU, sequences", lambda L: L.GRU(4, return_sequences=True), (5, 3)),
        ("Bidirectional", lambda L: L.Bidirectional(L.SimpleRNN(4)), (5, 3)),
        ("TimeDistributed", lambda L: L.TimeDistributed(L.Dense(3)), (5, 4)),
    ]
    for time, where in ((4, "4 steps"), (None, "open time")):
        for label, make, shape in kinds:
            yield f"{label}, {where}", partial(build, make, shape, time)

    def documents(time: int | None, length: int, outer: bool = True) -> Any:
        """Words to sentences to documents; the mask of the words goes to the inner layer."""
        ids = keras.Input((time, length), dtype="int32", name="ids")
        x = L.Embedding(_WORDS, 6, mask_zero=True)(ids)
        y = L.TimeDistributed(L.LSTM(4))(x, mask=keras.ops.not_equal(ids, 0))
        return keras.Model(ids, L.GRU(3)(y, mask=keras.ops.any(ids != 0, -1)) if outer else y)

    yield "LSTM on masked sentences", lambda: documents(4, 5, outer=False)
    yield "LSTM on masked sentences, then GRU", lambda: documents(4, 5)
    yield "LSTM on masked sentences, open time", lambda: documents(None, 5)

    def reader(time: int | None) -> Any:
        """A model of its own over the words of each sentence, its Embedding inside."""
        words = keras.Input((5,), dtype="int32")
        inner = keras.Model(words, L.LSTM(4)(L.Embedding(_WORDS, 6, mask_zero=True)(words)))
        ids = keras.Input((time, 5), dtype="int32", name="ids")
        return keras.Model(ids, L.LSTM(3)(L.TimeDistributed(inner)(ids)))

    yield "a model of Embedding and LSTM", lambda: reader(4)
    yield "a model of Embedding and LSTM, open time", lambda: reader(None)

    def passing(time: int | None) -> Any:
        ids, x = _ids(time)
        y = keras.layers.TimeDistributed(keras.layers.Dense(5))(x)
        return keras.Model(ids, keras.layers.LSTM(4)(y))

    yield "Dense, masked, then LSTM", lambda: passing(9)
    yield "Dense, masked, then LSTM, open time", lambda: passing(None)


# --- sources and readers of masks


def _consumers() -> dict[str, Callable[[Any], Callable[[Any], Any]]]:
    """Label -> a layer that reads a masked (batch, time, 6)."""

    def attention(kind: str, **options: Any) -> Callable[[Any], Any]:
        return lambda L: lambda x: getattr(L, kind)(**options)([x, x])

    def of_itself(**options: Any) -> Callable[[Any], Any]:
        return lambda L: lambda x: L.MultiHeadAttention(2, 3, **options)(x, x)

    return {
        "LSTM": lambda L: L.LSTM(4),
        "GRU, sequences": lambda L: L.GRU(4, return_sequences=True),
        "SimpleRNN backwards": lambda L: L.SimpleRNN(4, go_backwards=True),
        "Bidirectional": lambda L: L.Bidirectional(L.LSTM(4, return_sequences=True)),
        "GlobalAveragePooling1D": lambda L: L.GlobalAveragePooling1D(),
        "GlobalMaxPooling1D": lambda L: L.GlobalMaxPooling1D(),
        "Attention": attention("Attention"),
        "AdditiveAttention": attention("AdditiveAttention"),
        "MultiHeadAttention": of_itself(),
    }


def _carriers() -> dict[str, Callable[[Any], Callable[[Any], Any]]]:
    """Label -> a layer that passes a mask on, or drops it."""
    return {
        "Dropout": lambda L: L.Dropout(0.3),
        "Dense": lambda L: L.Dense(6),
        "Activation": lambda L: L.Activation("relu"),
        "BatchNormalization": lambda L: L.BatchNormalization(),
        "LayerNormalization": lambda L: L.LayerNormalization(),
        "SpatialDropout1D": lambda L: L.SpatialDropout1D(0.3),
        "Bidirectional": lambda L: L.Bidirectional(L.LSTM(3, return_sequences=True)),
        "SimpleRNN": lambda L: L.SimpleRNN(6, return_sequences=True),
        "TimeDistributed": lambda L: L.TimeDistributed(L.Dense(6)),
        "Add": lambda L: lambda x: L.Add()([x, L.Dense(6)(x)]),
        "Multiply": lambda L: lambda x: L.Multiply()([x, L.Dense(6)(x)]),
        "Concatenate": lambda L: lambda x: L.Concatenate()([x, L.Dense(2)(x)]),
    }


def _route(carry: Any, consume: Any, floats: bool = False, time: int | None = 9) -> Builder:
    def build() -> Any:
        if floats:
            source = keras.Input((time, 6), name="x")
            x = L.Masking()(source)
        else:
            source, x = _ids(time)
        if carry is not None:
            x = carry(L)(x)
        return keras.Model(source, consume(L)(x))

    return build


def _masking() -> Builders:
    for label, consume in _consumers().items():
        yield f"to {label}", _route(None, consume, floats=True)
    yield "to LSTM, open time", _route(None, _consumers()["LSTM"], True, None)

    def valued() -> Any:
        x = keras.Input((9, 3), name="x")
        y = keras.layers.Masking(mask_value=-1.0)(x)
        return keras.Model(x, [y, keras.layers.GRU(4, return_sequences=True)(y)])

    yield "mask_value -1", valued


def _embedding() -> Builders:
    for label, consume in _consumers().items():
        yield f"mask to {label}", _route(None, consume)
    for label, carry in _carriers().items():
        for end in ("LSTM", "Bidirectional", "GlobalAveragePooling1D"):
            yield f"mask through {label} to {end}", _route(carry, _consumers()[end])

    def two() -> Any:
        """Masks of two inputs meet: where both are valid, and one after the other in time."""
        a, x = _ids()
        b, y = _ids(name="others")
        joined = L.Concatenate(axis=1)([x, y])
        return keras.Model([a, b], [
            L.LSTM(4)(L.Add()([x, y])),
            L.LSTM(4)(L.Concatenate()([x, y])),
            L.Bidirectional(L.GRU(4, return_sequences=True))(joined),
            L.Attention()([x, y]),
        ])  # fmt: skip

    yield "masks of two inputs", two

    def int64() -> Any:
        ids = keras.Input((None,), dtype="int64", name="ids")
        x = keras.layers.Embedding(_WORDS, 6, mask_zero=True)(ids)
        return keras.Model(ids, keras.layers.LSTM(4)(x))

    yield "int64 ids, open time", int64


# --- text


def _text() -> Builders:
    def build(length: int | None = 9, **options: Any) -> Any:
        words = "satu dua tiga empat lima enam tujuh delapan sembilan sepuluh".split()
        layer = L.TextVectorization(vocabulary=words, output_sequence_length=length, **options)
        text = keras.Input((1,), dtype="string", name="text")
        x = L.Embedding(layer.vocabulary_size(), 6, mask_zero=True)(layer(text))
        return keras.Model(text, L.LSTM(4)(x))

    yield "at the front, 9 words", build
    yield "at the front, open length", lambda: build(None)
    yield "at the front, characters", lambda: build(split="character", standardize="lower")
    yield "at the front, 2-grams", lambda: build(ngrams=2)
