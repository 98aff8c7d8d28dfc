"""Every recurrent form against Keras, under every kind of mask.

Each case runs in ONNX Runtime and in onnxwalk on a batch whose rows have padding at the end, at
the start, in holes, everywhere and nowhere. A sample runs by default; all of it, some 500 models,
takes about a quarter of an hour::

    ONNXWALK_GRID=all pytest tests/export/test_recurrent_grid.py
    ONNXWALK_GRID=Bidirectional,GRU pytest tests/export/test_recurrent_grid.py
"""

import os

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

from onnxwalk.export.coverage.layer_cases import group_by_layer, masks, recurrent
from onnxwalk.export.coverage.layer_cases.recurrent import is_loop
from onnxwalk.export.text import cut_text
from onnxwalk.export.verify import run_keras
from tests.export.helpers import (
    RECURRENT,
    assert_same_as_keras,
    converted,
    operators,
    run_onnxruntime,
    run_onnxwalk,
)

CASES = group_by_layer([*recurrent.cases(), *masks.cases()])
#: of the cases of each class, one in so many is in the sample
_ONE_IN = 16
_WHICH = os.environ.get("ONNXWALK_GRID", "")


def _chosen():
    for name, cases in CASES.items():
        if _WHICH and _WHICH != "all" and name not in _WHICH.split(","):
            continue
        step = 1 if _WHICH else _ONE_IN
        for case in cases[len(name) % min(step, len(cases)) :: step]:
            yield pytest.param(case, id=f"{name}-{case.label}")


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
@pytest.mark.parametrize("case", list(_chosen()))
def test_same_as_keras(case):
    name, label = case.layer, case.label
    model, _ = cut_text(case.build())
    found = operators(assert_same_as_keras(model))
    assert bool(found["Loop"] + found["Scan"]) == is_loop(name, label)
    if name in ("SimpleRNN", "LSTM", "GRU") and not is_loop(name, label):
        assert any(found[kind] for kind in RECURRENT)


def other_sizes():
    """Masked layers of every kind, one into the other, with open time."""
    import keras

    from onnxwalk.export.coverage.random_weights import randomize

    L = keras.layers
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(20, 6, mask_zero=True)(ids)
    x = L.Bidirectional(L.LSTM(4, return_sequences=True))(x)
    x = L.TimeDistributed(L.Dense(5))(x)
    x = L.GRU(4, return_sequences=True, go_backwards=True)(x)
    return randomize(keras.Model(ids, [x, L.RNN([L.LSTMCell(4), L.GRUCell(3)])(x)]))


def test_other_batches_and_lengths():
    model = other_sizes()
    proto, _ = converted(model)
    rng = np.random.default_rng(0)
    for batch, time in ((1, 1), (1, 7), (3, 20), (8, 2)):
        ids = rng.integers(0, 20, (batch, time)) * (rng.random((batch, time)) < 0.7)
        ids = ids.astype(np.int32)
        expected = run_keras(model, [ids])
        for run in (run_onnxruntime, run_onnxwalk):
            for actual, wanted in zip(run(proto, {"ids": ids}), expected, strict=True):
                np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)


def test_labels_are_unique():
    for name, cases in CASES.items():
        assert len({case.label for case in cases}) == len(cases), name
