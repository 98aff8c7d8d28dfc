"""Recurrent layers, their cells and wrappers, under every kind of mask.

Masks come from ``ids`` (int32, 0 is padding) or from rows of an input that are all 0.
``is_loop`` says which cases have no RNN, LSTM or GRU node because ONNX has no such cell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
from keras import layers as L

from onnxwalk.export.coverage.layer_cases import Builder, Case, random_weight_cases
from onnxwalk.export.coverage.layer_cases._custom_cells import Doubled, OwnCell, Tuned

Builders = Iterator[tuple[str, Builder]]

KINDS = ("SimpleRNN", "LSTM", "GRU")
#: where the mask of a recurrent layer comes from
MASKS = ("no mask", "embedding mask", "float mask", "given mask")
MERGES = ("concat", "sum", "mul", "ave", None)

_TIME = 9
_WORDS = 20
_LOOPS = ("selu", "gelu", "own cell", "tuned cell", "each unit")


def is_loop(name: str, label: str) -> bool:
    """Whether a case is written as a Loop: ConvLSTM, a cell of one's own, selu and gelu, a mask of
    single units, unless Keras unrolls it."""
    own = name.startswith("ConvLSTM") or any(word in label for word in _LOOPS)
    return own and not label.endswith("unroll")


def cases() -> list[Case]:
    return [
        *(case for kind in KINDS for case in random_weight_cases(kind, _single(kind))),
        *(
            case
            for kind in KINDS
            for case in random_weight_cases(f"{kind}Cell", _cell(f"{kind}Cell"))
        ),
        *random_weight_cases("RNN", _rnn()),
        *random_weight_cases("StackedRNNCells", _stacked()),
        *random_weight_cases("Bidirectional", _bidirectional()),
    ]


# --- inputs


def _masked(mask: str, time: int | None = _TIME, batch: int | None = None) -> tuple[Any, Any, Any]:
    """(input, x (batch, time, 6), mask to be given or None) with one of ``MASKS``."""
    if mask == "float mask":
        x = keras.Input((time, 6), batch_size=batch, name="x")
        return x, keras.layers.Masking()(x), None
    ids = keras.Input((time,), dtype="int32", batch_size=batch, name="ids")
    x = keras.layers.Embedding(_WORDS, 6, mask_zero=mask == "embedding mask")(ids)
    return ids, x, keras.ops.not_equal(ids, 0) if mask == "given mask" else None


def _model(
    wrap: Callable[[Any], Any],
    mask: str = "embedding mask",
    time: int | None = _TIME,
    batch: int | None = None,
) -> Builder:
    """A model of what ``wrap(keras.layers)`` makes: a layer, or a list of layers in parallel."""

    def build() -> Any:
        source, x, given = _masked(mask, time, batch)
        built = wrap(keras.layers)
        options = {} if given is None else {"mask": given}
        built = built if isinstance(built, list) else [built]
        return keras.Model(source, [layer(x, **options) for layer in built])

    return build


# --- SimpleRNN, LSTM, GRU


def _every(make: Callable[..., Any], *flags: str) -> Callable[[Any], list[Any]]:
    """``make(keras.layers, **options)`` for each combination of these options, False and True."""
    values = list(itertools.product((False, True), repeat=len(flags)))
    return lambda L: [make(L, **dict(zip(flags, v, strict=True))) for v in values]


def _flags(kind: str, **more: Any) -> Callable[[Any], list[Any]]:
    """All of return_sequences × return_state × go_backwards."""
    names = ("return_sequences", "return_state", "go_backwards")
    return _every(lambda L, **flags: getattr(L, kind)(4, **flags, **more), *names)


def _rnns(make_cell: Callable[[Any], Any], **more: Any) -> Callable[[Any], list[Any]]:
    """RNN layers of a cell, or of a list of cells: all of return_sequences × go_backwards."""
    names = ("return_sequences", "go_backwards")
    return _every(lambda L, **flags: L.RNN(make_cell(L), **flags, **more), *names)


def _cells(kind: str, *units: int) -> Callable[[Any], list[Any]]:
    return lambda L: [getattr(L, f"{kind}Cell")(n) for n in units]


def _with_states(kind: str, mask: str, bidirectional: bool = False) -> Builder:
    """Initial states that are inputs, in both directions."""

    def build() -> Any:
        source, x, given = _masked(mask)
        count = (2 if kind == "LSTM" else 1) * (2 if bidirectional else 1)
        states = [keras.Input((4,), name=f"state_{i}") for i in range(count)]
        outputs = []
        for sequences, backwards in itertools.product((False, True), repeat=2):
            if bidirectional and backwards:
                continue
            options = {"return_sequences": sequences, "return_state": True}
            layer = getattr(L, kind)(4, go_backwards=backwards, **options)
            layer = L.Bidirectional(layer) if bidirectional else layer
            outputs.append(layer(x, initial_state=states, mask=given))
        return keras.Model([source, *states], outputs)

    return build


def _seq2seq(kind: str) -> Builder:
    """An encoder's last states begin the decoder, whose states go on to a third layer."""

    def build() -> Any:
        make = getattr(L, kind)
        ids, x, _ = _masked("embedding mask")
        target = keras.Input((5,), dtype="int32", name="target")
        y = L.Embedding(_WORDS, 6, mask_zero=True)(target)
        _, *states = make(4, return_state=True)(x)
        options = {"return_sequences": True, "return_state": True}
        y, *states = make(4, **options)(y, initial_state=states, mask=y._keras_mask)
        last = make(4)(y, initial_state=states)
        return keras.Model([ids, target], [L.Dense(3)(y), last])

    return build


def _time_major(kind: str) -> Builder:
    """Time comes first in the input and in the output."""

    def build() -> Any:
        x = keras.Input(batch_shape=(_TIME, None, 3), name="x")
        y = keras.ops.transpose(x, (1, 0, 2))
        y = getattr(L, kind)(4, return_sequences=True)(y)
        y = L.Permute((2, 1))(y)
        return keras.Model(x, keras.ops.transpose(y, (2, 0, 1)))

    return build


def _mask_of(kind: str, width: int) -> Builder:
    """A mask (batch, time, width): of steps if the width is 1, else of each unit."""

    def build() -> Any:
        source, x, _ = _masked("no mask")
        columns = [keras.ops.not_equal(source, i) for i in range(width)]
        layers = [getattr(keras.layers, kind)(4, return_sequences=s) for s in (False, True)]
        mask = keras.ops.stack(columns, axis=-1)
        return keras.Model(source, [layer(x, mask=mask) for layer in layers])

    return build


def _single(kind: str) -> Builders:
    for mask in MASKS:
        yield f"every flag, {mask}", _model(_flags(kind), mask)
        yield f"open time, {mask}", _model(_flags(kind), mask, time=None)
        zero = _flags(kind, zero_output_for_mask=True)
        yield f"zero_output_for_mask, {mask}", _model(zero, mask)
        yield f"unroll, {mask}", _model(_flags(kind, unroll=True), mask)
        yield f"stateful, {mask}", _model(_flags(kind, stateful=True), mask, batch=6)
        if mask != "float mask":
            yield f"initial states, {mask}", _with_states(kind, mask)
    yield "mask (batch, time, 1)", _mask_of(kind, 1)
    yield "mask of each unit", _mask_of(kind, 4)
    yield "no bias", _model(_flags(kind, use_bias=False))
    yield "dropout", _model(_flags(kind, dropout=0.2, recurrent_dropout=0.2))
    yield "fixed batch", _model(_flags(kind), batch=6)
    yield "one step", _model(_flags(kind), time=1)
    yield "encoder to decoder", _seq2seq(kind)
    yield "time first", _time_major(kind)
    if kind == "GRU":
        yield "reset before", _model(_flags(kind, reset_after=False))
    names = "tanh sigmoid relu linear hard_sigmoid elu softsign softplus leaky_relu".split()
    for name in (*names, None):
        yield f"activation {name}", _activation(kind, name)
    for name in ("selu", "gelu"):
        for mask in MASKS[:2]:
            yield f"activation {name}, {mask}", _activation(kind, name, mask)


def _activation(kind: str, name: str | None, mask: str = "embedding mask") -> Builder:
    """Few steps: with an unbounded gate the state explodes."""
    places = ("activation",) if kind == "SimpleRNN" else ("activation", "recurrent_activation")
    return _model(lambda L: [getattr(L, kind)(4, **{place: name}) for place in places], mask, 4)


# --- cells, wrappers


def _rnn() -> Builders:
    for mask in MASKS:
        for kind in KINDS:
            one_cell = partial(lambda k, L: getattr(L, f"{k}Cell")(4), kind)
            yield f"{kind}Cell, {mask}", _model(_rnns(one_cell), mask)
        for label, make in (("own cell", OwnCell), ("tuned cell", Tuned)):
            own = partial(lambda cell, L: cell(4), make)
            yield f"{label}, {mask}", _model(_rnns(own, return_state=True), mask)
    yield "own cell, open time", _model(lambda L: L.RNN(OwnCell(4)), time=None)
    yield "own cell, unroll", _model(lambda L: L.RNN(OwnCell(4), unroll=True))


def _stacked() -> Builders:
    for mask, kind in itertools.product(MASKS, KINDS):
        two = _rnns(_cells(kind, 4, 3), return_state=True)
        yield f"{kind}Cell twice, {mask}", _model(two, mask)
    three = _rnns(lambda L: [L.LSTMCell(4), L.GRUCell(3), L.SimpleRNNCell(5)], return_state=True)
    for mask in MASKS:
        yield f"LSTMCell, GRUCell, SimpleRNNCell, {mask}", _model(three, mask)
    mixed = _model(lambda L: L.RNN(L.StackedRNNCells([L.LSTMCell(4), OwnCell(3)])))
    yield "LSTMCell and own cell", mixed
    both_ways = _model(lambda L: L.Bidirectional(L.RNN([L.GRUCell(4), L.GRUCell(3)])))
    yield "Bidirectional", both_ways


def _cell(kind: str) -> Builders:
    """A cell called by itself, one step."""

    def build(**options: Any) -> Any:
        x = keras.Input((3,), name="x")
        states = [keras.Input((4,), name=f"s{i}") for i in range(2 if kind == "LSTMCell" else 1)]
        return keras.Model([x, *states], getattr(keras.layers, kind)(4, **options)(x, states))

    yield "one step", build
    yield "no bias, relu", lambda: build(use_bias=False, activation="relu")
    if kind == "GRUCell":
        yield "reset before", lambda: build(reset_after=False)


def _both_ways(kind: str, **options: Any) -> Callable[[Any], Any]:
    return lambda L: L.Bidirectional(getattr(L, kind)(4, **options))


def _merged(kind: str, merge: str | None) -> Callable[[Any], list[Any]]:
    """All of return_sequences × return_state."""

    def make(L: Any, **flags: Any) -> Any:
        return L.Bidirectional(getattr(L, kind)(4, **flags), merge_mode=merge)

    return _every(make, "return_sequences", "return_state")


def _two_kinds(forward: str, backward: str) -> Callable[[Any], list[Any]]:
    def make(L: Any, **flags: Any) -> Any:
        behind = getattr(L, backward)(3, go_backwards=True, **flags)
        return L.Bidirectional(getattr(L, forward)(4, **flags), backward_layer=behind)

    return _every(make, "return_sequences")


def _bidirectional() -> Builders:
    for kind, mask in itertools.product(KINDS, MASKS):
        for merge in MERGES:
            yield f"{kind}, merge {merge}, {mask}", _model(_merged(kind, merge), mask)
        sequences = _both_ways(kind, return_sequences=True)
        yield f"{kind}, open time, {mask}", _model(sequences, mask, None)
        stateful = _both_ways(kind, stateful=True)
        yield f"{kind}, stateful, {mask}", _model(stateful, mask, batch=6)
        if mask != "float mask":
            yield f"{kind}, initial states, {mask}", _with_states(kind, mask, bidirectional=True)
    for forward, backward in itertools.permutations(KINDS, 2):
        for mask in MASKS:
            yield f"{forward} and {backward}, {mask}", _model(_two_kinds(forward, backward), mask)
    inner: dict[str, Callable[[Any], Any]] = {
        "RNN(LSTMCell)": lambda L: L.RNN(L.LSTMCell(4), return_sequences=True),
        "own cell": lambda L: L.RNN(OwnCell(4), return_sequences=True),
        "selu": lambda L: L.GRU(4, activation="selu"),
    }

    def backwards_first(L: Any) -> Any:
        first = L.GRU(4, return_sequences=True, go_backwards=True)
        return L.Bidirectional(first, backward_layer=L.GRU(4, return_sequences=True))

    for mask in MASKS:
        yield f"first layer backwards, {mask}", _model(backwards_first, mask)
        for label, make in inner.items():
            wrap = partial(lambda m, L: L.Bidirectional(m(L)), make)
            yield f"{label}, {mask}", _model(wrap, mask)
    doubled = _model(lambda L: L.Bidirectional(Doubled(4, return_sequences=True)))
    yield "subclassed LSTM", doubled
    yield (
        "relu forwards, tanh backwards",
        _model(lambda L: L.Bidirectional(
            L.LSTM(4, activation="relu"),
            backward_layer=L.LSTM(4, go_backwards=True))),
    )  # fmt: skip
