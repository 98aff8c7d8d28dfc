"""The gates of RNN, LSTM and GRU: what comes out of them is what the operators give."""

import numpy as np
import pytest

from onnxwalk.interpreter.analysis.explore.recurrent import SERIES, compute_series
from onnxwalk.ops import registry

T, N, F, H = 7, 3, 4, 5
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
LENGTHS = np.array([7, 3, 0], np.int32)


def values(operator, directions, dtype=np.float32):
    """X, W, R, B, initial_h, initial_c, P"""
    rng = np.random.default_rng(len(operator) + directions)
    gates = GATES[operator]
    shapes = [
        (T, N, F),
        (directions, gates * H, F),
        (directions, gates * H, H),
        (directions, 2 * gates * H),
        (directions, N, H),
        (directions, N, H),
        (directions, 3 * H),
    ]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def agree(operator, inputs, attributes):
    expected = registry.lookup("", operator, 22).function(*inputs, **attributes)
    found = compute_series(operator, inputs, attributes)
    y, *states = expected
    if attributes.get("layout"):
        y, states = y.transpose(1, 2, 0, 3), [state.swapaxes(0, 1) for state in states]
    np.testing.assert_allclose(found.y(), y, rtol=1e-5, atol=1e-6)
    for d, way in enumerate(found.directions):
        for letter, state in zip("hC", states, strict=False):
            for n, length in enumerate(found.lengths):
                if length:
                    last = way.series[letter][0 if way.reverse else length - 1, n]
                    np.testing.assert_allclose(last, state[d, n], rtol=1e-5, atol=1e-6)
    return found


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("starts", [False, True])
def test_as_the_operators(operator, direction, lengths, starts):
    x, w, r, b, h, c, _ = values(operator, 1 + (direction == "bidirectional"))
    states = [h, *([c] if operator == "LSTM" else [])] if starts else []
    found = agree(operator, [x, w, r, b, lengths, *states], {"direction": direction})
    assert [way.reverse for way in found.directions] == {
        "forward": [False],
        "reverse": [True],
        "bidirectional": [False, True],
    }[direction]


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"clip": 0.5}),
        ("LSTM", {"layout": 1, "direction": "bidirectional"}),
        ("LSTM", {"activations": ["HardSigmoid", "Relu", "Softsign"], "activation_alpha": [0.3]}),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"linear_before_reset": 1, "clip": 0.4, "direction": "reverse"}),
        ("GRU", {"layout": 1}),
        ("RNN", {"activations": ["Tanh", "Tanh"]}),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [0.1], "clip": 1.0}),
    ],
)
def test_with_attributes(operator, attributes):
    directions = 1 + (attributes.get("direction") == "bidirectional")
    x, w, r, b, h, c, _ = values(operator, directions)
    if attributes.get("layout"):
        x, h, c = (a.swapaxes(0, 1) for a in (x, h, c))
    states = [h, *([c] if operator == "LSTM" else [])]
    agree(operator, [x, w, r, b, LENGTHS, *states], attributes)


def test_peepholes_float64_and_no_bias():
    x, w, r, _, h, c, p = values("LSTM", 1, np.float64)
    agree("LSTM", [x, w, r, None, None, h, c, p], {})


def test_float16_is_close():
    x, w, r, b, h, _, _ = values("GRU", 1, np.float16)
    expected = registry.lookup("", "GRU", 22).function(x, w, r, b, LENGTHS, h)
    found = compute_series("GRU", [x, w, r, b, LENGTHS, h], {})
    np.testing.assert_allclose(found.y(), expected[0], atol=2e-3)


@pytest.mark.parametrize("operator", GATES)
def test_what_is_masked_is_not_a_number(operator):
    x, w, r, b, *_ = values(operator, 2)
    found = compute_series(operator, [x, w, r, b, LENGTHS], {"direction": "bidirectional"})
    for way in found.directions:
        assert set(way.series) == set(SERIES[operator])
        for series in way.series.values():
            masked = np.isnan(series).all(axis=2)
            assert masked.T.tolist() == [[t >= n for t in range(T)] for n in LENGTHS]


def test_the_formulas_hold_between_the_series():
    x, w, r, b, *_ = values("LSTM", 1)
    s = compute_series("LSTM", [x, w, r, b], {}).directions[0].series
    before = np.concatenate([np.zeros_like(s["C"][:1]), s["C"][:-1]])
    np.testing.assert_allclose(s["C"], s["f"] * before + s["i"] * s["c"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(s["h"], s["o"] * np.tanh(s["C"]), rtol=1e-5, atol=1e-6)


def test_only_the_first_sequences():
    x, w, r, b, h, c, _ = values("LSTM", 1)
    whole = compute_series("LSTM", [x, w, r, b, LENGTHS, h, c], {})
    part = compute_series("LSTM", [x, w, r, b, LENGTHS, h, c], {}, most=2)
    np.testing.assert_allclose(part.y(), whole.y()[:, :, :2], rtol=1e-5, atol=1e-6)
