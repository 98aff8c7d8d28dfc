"""What a mask hides: NaN and infinities in masked steps, and numbers that make scores infinite."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras

from onnxwalk.export.agreement import find_allowed, find_differences
from onnxwalk.export.coverage.layer_cases._custom_cells import OwnCell
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.verify import run_keras
from tests.export.helpers import converted, run_onnxruntime, run_onnxwalk

L = keras.layers
INF, NAN = np.inf, np.nan
#: layers that Keras runs step by step: as a node, as a Loop, and unrolled
STEPPED = {
    "LSTM": lambda: L.LSTM(4, return_sequences=True),
    "GRU backwards": lambda: L.GRU(4, return_sequences=True, go_backwards=True),
    "Bidirectional": lambda: L.Bidirectional(L.SimpleRNN(4, return_sequences=True)),
    "GRU of selu": lambda: L.GRU(4, return_sequences=True, activation="selu"),
    "own cell": lambda: L.RNN(OwnCell(4), return_sequences=True),
    "own cell, zeros": lambda: L.RNN(OwnCell(4), return_sequences=True, zero_output_for_mask=True),
    "own cell, unroll": lambda: L.RNN(OwnCell(4), return_sequences=True, unroll=True),
    "ConvLSTM1D": lambda: L.ConvLSTM1D(2, 3, padding="same", return_sequences=True),
}


def outputs_as_in_keras(model, *given):
    """Keras's outputs, which those of both engines equal: to 1e-5 of the largest in a row, NaN and
    infinities in the same places."""
    randomize(model)
    proto, traced = converted(model)
    expected = run_keras(model, list(given))
    for run in (run_onnxruntime, run_onnxwalk):
        feeds = {port.name: x for port, x in zip(traced.inputs, given, strict=True)}
        for actual, wanted in zip(run(proto, feeds), expected, strict=True):
            allowed = find_allowed(wanted, 1e-5, by_row=True)
            assert not find_differences(actual, wanted, allowed).any(), (run.__name__, actual)
    return expected


@pytest.mark.parametrize("layer", STEPPED)
def test_masked_steps_do_not_come_through(layer):
    """At either end, between others, and throughout; the outputs are those for zeros there."""
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    shape = (6, 2) if layer.startswith("Conv") else (3,)
    x = np.random.default_rng(0).standard_normal((*mask.shape, *shape)).astype(np.float32)
    x[~mask] = 0
    special = x.copy()
    special[~mask] = NAN
    special[0, 2], special[1, 3] = INF, -INF
    inputs = [keras.Input(x.shape[1:]), keras.Input(mask.shape[1:], dtype="bool")]
    model = keras.Model(inputs, STEPPED[layer]()(inputs[0], mask=inputs[1]))
    (found,) = outputs_as_in_keras(model, special, mask)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, run_keras(model, [x, mask])[0])


ATTENTION = {
    "Attention": lambda x, mask: L.Attention()([x, x], mask=[mask, mask]),
    "AdditiveAttention": lambda x, mask: L.AdditiveAttention()([x, x], mask=[mask, mask]),
    "MultiHeadAttention": lambda x, mask: L.MultiHeadAttention(2, 3)(
        x, x, query_mask=mask, value_mask=mask
    ),
    "GroupQueryAttention": lambda x, mask: L.GroupQueryAttention(3, 4, 2)(
        x, x, query_mask=mask, value_mask=mask
    ),
}


@pytest.mark.parametrize("layer", ATTENTION)
def test_attention_of_masked_steps(layer):
    """Hidden steps that hold 1e20, a row that is hidden altogether, and scores beyond float32."""
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    x = np.random.default_rng(0).standard_normal((*mask.shape, 8)).astype(np.float32)
    x[:2][~mask[:2]] = 1e15
    x[3] *= 1e20
    inputs = [keras.Input(x.shape[1:]), keras.Input(mask.shape[1:], dtype="bool")]
    outputs_as_in_keras(keras.Model(inputs, ATTENTION[layer](*inputs)), x, mask)
