"""Recurrent layers become one node each, whatever the mask, states and options."""

import itertools

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras

from onnxwalk.export.coverage.random_weights import randomize
from tests.export.helpers import RECURRENT, assert_same_as_keras, operators

L = keras.layers
LAYERS = {"SimpleRNN": L.SimpleRNN, "LSTM": L.LSTM, "GRU": L.GRU}
KINDS = pytest.mark.parametrize("kind", LAYERS)
MASKED = pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
SEQUENCES = pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])


def embedded(masked, time=9, **options):
    ids = keras.Input((time,), dtype="int32", name="ids", **options)
    return ids, L.Embedding(20, 6, mask_zero=masked)(ids)


def check(model, nodes=1):
    """As Keras, and of recurrent nodes so many and no Loop."""
    found = operators(assert_same_as_keras(randomize(model, scale=0.4)))
    assert sum(found[name] for name in RECURRENT) == nodes
    assert not found["Loop"] and not found["Scan"]
    return found


@KINDS
@MASKED
def test_sequences_states_direction(kind, masked):
    """Every combination in one model: outputs, final states, backwards."""
    ids, x = embedded(masked)
    outputs = []
    for sequences, states, backwards in itertools.product((False, True), repeat=3):
        layer = LAYERS[kind](
            4, return_sequences=sequences, return_state=states, go_backwards=backwards
        )
        outputs.append(layer(x))
    check(keras.Model(ids, outputs), nodes=8)


@KINDS
@MASKED
@SEQUENCES
def test_initial_state(kind, masked, sequences):
    """Rows that are padding throughout keep their state, and put out zero.

    Keras hands on no mask to a layer that is given states: it has to be given the mask, too.
    """
    ids, x = embedded(False)
    mask = keras.ops.not_equal(ids, 0) if masked else None
    count = 2 if kind == "LSTM" else 1
    states = [keras.Input((4,), name=f"state_{i}") for i in range(2 * count)]
    options = {"return_sequences": sequences, "return_state": True}
    outputs = [
        LAYERS[kind](4, **options)(x, initial_state=states[:count], mask=mask),
        LAYERS[kind](4, go_backwards=True, **options)(x, initial_state=states[:count], mask=mask),
        L.Bidirectional(LAYERS[kind](4, **options))(x, initial_state=states, mask=mask),
    ]
    found = check(keras.Model([ids, *states], outputs), nodes=3)
    assert bool(found["Where"]) == masked


@KINDS
@MASKED
@SEQUENCES
def test_bidirectional(kind, masked, sequences):
    ids, x = embedded(masked)
    modes = ("concat", "sum", "mul", "ave", None) if kind == "GRU" else ("concat",)
    outputs = [
        L.Bidirectional(
            LAYERS[kind](4, return_sequences=sequences, return_state=True), merge_mode=mode
        )(x)
        for mode in modes
    ]
    check(keras.Model(ids, outputs), nodes=len(modes))


@KINDS
@MASKED
def test_directions_that_differ_are_two_nodes(kind, masked):
    ids, x = embedded(masked)
    make = LAYERS[kind]
    layer = L.Bidirectional(
        make(4, return_sequences=True),
        backward_layer=make(3, return_sequences=True, go_backwards=True),
    )
    check(keras.Model(ids, layer(x)), nodes=2)


@KINDS
@SEQUENCES
def test_zero_output_for_mask(kind, sequences):
    ids, x = embedded(True)
    outputs = [
        LAYERS[kind](
            4, return_sequences=sequences, zero_output_for_mask=True, go_backwards=backwards
        )(x)
        for backwards in (False, True)
    ]
    check(keras.Model(ids, outputs), nodes=2)


@KINDS
def test_activations(kind):
    """Those that ONNX has, with Keras's constants, in both places and in both directions.

    Few steps: a gate that isn't bounded makes the state explode.
    """
    ids, x = embedded(True, 4)
    names = ["tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "elu", "softsign", "softplus"]
    names += ["leaky_relu", None]
    outputs = []
    for name in names:
        outputs.append(LAYERS[kind](4, activation=name)(x))
        if kind != "SimpleRNN":
            layer = LAYERS[kind](4, recurrent_activation=name, activation="tanh")
            outputs.append(L.Bidirectional(layer)(x))
    check(keras.Model(ids, outputs), nodes=len(outputs))


@pytest.mark.parametrize("activation", ["selu", "gelu"])
@MASKED
def test_other_activations_become_a_loop(activation, masked):
    ids, x = embedded(masked)
    found = operators(
        assert_same_as_keras(randomize(keras.Model(ids, L.GRU(4, activation=activation)(x))))
    )
    assert found["Loop"] == 1 and not found["GRU"]


@KINDS
def test_options(kind):
    """Unrolled, without bias, with dropout that inference leaves out, and called twice."""
    ids, x = embedded(True)
    make = LAYERS[kind]
    shared = make(6, return_sequences=True)
    outputs = [
        make(4, unroll=True)(x),
        make(4, use_bias=False)(x),
        make(4, dropout=0.2, recurrent_dropout=0.2)(x),
        shared(shared(x)),
    ]
    check(keras.Model(ids, outputs), nodes=5)


def test_gru_reset_before():
    ids, x = embedded(True)
    check(keras.Model(ids, L.GRU(4, reset_after=False, return_sequences=True)(x)))


@KINDS
def test_open_time_dimension(kind):
    ids, x = embedded(True, None)
    layer = L.Bidirectional(LAYERS[kind](4, return_sequences=True))
    model = keras.Model(ids, layer(x))
    check(model)


@KINDS
def test_stateful(kind):
    """The states that the model has when it is exported are where every run starts."""
    ids, x = embedded(True, batch_size=6)
    make = LAYERS[kind]
    model = keras.Model(
        ids, [make(4, stateful=True)(x), L.Bidirectional(make(4, stateful=True))(x)]
    )
    randomize(model)
    model.predict(np.ones((6, 9), np.int32), verbose=0)
    before = [v.numpy() for v in model.variables]
    found = operators(assert_same_as_keras(model))
    assert sum(found[name] for name in RECURRENT) == 2
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


@pytest.mark.parametrize("cell", [L.SimpleRNNCell, L.LSTMCell, L.GRUCell])
@MASKED
def test_stacked_cells(cell, masked):
    ids, x = embedded(masked)
    outputs = [
        L.RNN([cell(4), cell(3)], return_sequences=s, return_state=True, go_backwards=b)(x)
        for s, b in itertools.product((False, True), repeat=2)
    ]
    check(keras.Model(ids, outputs), nodes=8)


def test_masking_of_floats():
    x = keras.Input((9, 3), name="x")
    check(keras.Model(x, L.LSTM(4)(L.Masking()(x))))


def test_keras_is_left_as_it_was():
    before = [owner.inner_loop for owner in (L.RNN, L.LSTM, L.GRU)], L.Bidirectional.call
    ids, x = embedded(False)
    check(keras.Model(ids, L.LSTM(4)(x)))
    assert before == ([o.inner_loop for o in (L.RNN, L.LSTM, L.GRU)], L.Bidirectional.call)
