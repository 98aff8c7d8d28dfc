"""Fast forms of RNN, LSTM and GRU against the plain operators, for all lengths and states."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx import recurrent
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast import recurrent as fast
from onnxwalk.ops.fast import recurrent_steps
from tests.support.bound import run_bound

f32 = np.float32

KINDS = {
    "RNN": (recurrent.prepare_rnn, recurrent.rnn, 1, 1, {}),
    "RNN relu": (recurrent.prepare_rnn, recurrent.rnn, 1, 1, {"activations": ["Relu"]}),
    "LSTM": (recurrent.prepare_lstm, recurrent.lstm, 4, 2, {}),
    "GRU": (recurrent.prepare_gru, recurrent.gru, 3, 1, {}),
    "GRU linear": (recurrent.prepare_gru, recurrent.gru, 3, 1, {"linear_before_reset": 1}),
}


def layer(kind, rng, directions, features, hidden, bias=True):
    prepare, plain, gates, states, attributes = KINDS[kind]
    w = rng.normal(0, 0.5, (directions, gates * hidden, features)).astype(f32)
    r = rng.normal(0, 0.3, (directions, gates * hidden, hidden)).astype(f32)
    b = rng.normal(0, 0.5, (directions, 2 * gates * hidden)).astype(f32) if bias else None
    attributes = dict(attributes)
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * directions
    return prepare, plain, states, w, r, b, attributes


@settings(deadline=None, max_examples=150)
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_like_the_plain_operator(kind, data):
    draw = data.draw
    steps, batch = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    features, hidden = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 8, 90]))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    prepare, plain, states, w, r, b, attributes = layer(
        kind, rng, directions, features, hidden, draw(st.booleans())
    )
    attributes["direction"] = direction
    lengths = draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    lengths = None if lengths is None else np.array(lengths, np.int32)
    shape = (directions, batch, hidden)
    initial = [
        rng.normal(size=shape).astype(f32) if draw(st.booleans()) else None for _ in range(states)
    ]
    x = rng.normal(size=(steps, batch, features)).astype(f32)
    if draw(st.booleans()):  # batch first in memory
        x = np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    expected = plain(x, w, r, b, lengths, *initial, **attributes)
    wants_y = draw(st.booleans())
    bind = prepare(w, r, b, **attributes).bind
    found = run_bound(bind, [x, lengths, *initial], used_outputs=(wants_y, *[True] * states))
    assert found is not None
    for one, other in list(zip(found, expected, strict=True))[0 if wants_y else 1 :]:
        # states of Relu grow: what is left of sums of large ones has their rounding
        largest = np.abs(other).max(initial=1)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=max(1e-5, 1e-6 * largest))


@pytest.mark.parametrize("lengths", [None, 0, 7, 12])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("hidden", [3, 64, 65])
@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence(kind, hidden, direction, lengths, monkeypatch):
    """With products of few units and of more, and in blocks of a few steps."""
    monkeypatch.setattr(fast, "_BLOCK", 4 * 4 * 2 * hidden * 5)
    directions = 2 if direction == "bidirectional" else 1
    rng = np.random.default_rng(hidden)
    prepare, plain, states, w, r, b, attributes = layer(kind, rng, directions, 4, hidden)
    r *= np.float32(2 / np.sqrt(hidden))  # larger ones let rounding grow from step to step
    attributes["direction"] = direction
    given = None if lengths is None else np.array([lengths], np.int32)
    bind = prepare(w, r, b, **attributes).bind
    for scale in (0.5, 2.0):  # the second time with what the first one left in memory
        x = (scale * rng.normal(size=(12, 1, 4))).astype(f32)
        initial = [rng.normal(size=(directions, 1, hidden)).astype(f32) for _ in range(states)]
        expected = plain(x, w, r, b, given, *initial, **attributes)
        found = run_bound(bind, [x, given, *initial], used_outputs=(True,) * (1 + states))
        for one, other in zip(found, expected, strict=True):
            largest = np.abs(other).max(initial=1)
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=max(1e-5, 1e-6 * largest))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("kind", ["RNN", "RNN relu"])
@pytest.mark.parametrize("sign", [1, -1])
def test_infinities_stay_with_their_units(kind, direction, sign):
    """What is infinite in one unit's projection is no NaN in another one's."""
    directions = 2 if direction == "bidirectional" else 1
    rng = np.random.default_rng(0)
    prepare, plain, _, w, r, b, attributes = layer(kind, rng, directions, 2, 5)
    w[:, :, 1] = 0  # the second feature is one unit's alone
    w[:, 0, 1] = 1e30
    r[:, :, 0] = 0  # and nothing reads this unit
    x = rng.normal(size=(3, 1, 2)).astype(f32)
    attributes["direction"] = direction
    bind = prepare(w, r, b, **attributes).bind
    x[1, 0, 1] = sign * 1e30
    with np.errstate(all="ignore"):
        expected = plain(x, w, r, b, **attributes)
        assert not np.isnan(expected[0][1, :, :, 1:]).any()
        found = run_bound(bind, [x], used_outputs=(True, True))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU linear"])
def test_both_formulas_of_sigmoid(kind, quick, monkeypatch):
    monkeypatch.setattr(recurrent_steps, "tanh_is_quick", quick)
    rng = np.random.default_rng(2)
    prepare, plain, states, w, r, b, attributes = layer(kind, rng, 1, 5, 40)
    x = rng.normal(size=(6, 30, 5)).astype(f32)  # 30 * 40 values a gate: many
    found = run_bound(prepare(w, r, b, **attributes).bind, [x], used_outputs=(True,) * (1 + states))
    for one, other in zip(found, plain(x, w, r, b, **attributes), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_ids_of_an_embedding(kind, batch):
    rng = np.random.default_rng(1)
    prepare, plain, _, w, r, b, attributes = layer(kind, rng, 2, 6, 4)
    table = rng.normal(size=(50, 6)).astype(f32)
    ids = rng.integers(-50, 50, (7, batch))
    attributes["direction"] = "bidirectional"
    expected = plain(table[ids], w, r, b, **attributes)
    apply = prepare(w, r, b, _table=table, **attributes)
    for found in (apply(ids), run_bound(apply.bind, [ids, None], used_outputs=(True,) * 2)):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    with pytest.raises(IndexError):
        run_bound(apply.bind, [np.full((7, batch), 50), None])


def test_earlier_lookups_change_nothing():
    rng = np.random.default_rng(2)
    prepare, _, _, w, r, b, attributes = layer("LSTM", rng, 1, 32, 16)
    table = rng.normal(size=(1000, 32)).astype(f32)
    ids = rng.integers(0, 1000, (9, 2))
    fresh = prepare(w, r, b, _table=table, **attributes)
    used = prepare(w, r, b, _table=table, **attributes)
    for seed in range(5):
        others = np.random.default_rng(seed).integers(0, 1000, (seed + 1, 3))
        run_bound(used.bind, [others, None])
    for one, other in zip(*(run_bound(a.bind, [ids, None]) for a in (fresh, used)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_steps_and_sequences_in_blocks():
    """More than one block of projected inputs, and a size from which sigmoid is computed by exp."""
    rng = np.random.default_rng(3)
    prepare, plain, _, w, r, b, attributes = layer("LSTM", rng, 2, 8, 64)
    attributes["direction"] = "bidirectional"
    x = rng.normal(size=(40, 40, 8)).astype(f32)
    lengths = rng.integers(0, 41, 40).astype(np.int32)
    expected = plain(x, w, r, b, lengths, **attributes)
    found = run_bound(prepare(w, r, b, **attributes).bind, [x, lengths], used_outputs=(True,) * 3)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)


def test_sequences_that_end_where_all_ran_in_an_earlier_run():
    """The layout of a block is kept while all sequences run; another run has shorter ones."""
    rng = np.random.default_rng(4)
    prepare, plain, _, w, r, b, attributes = layer("LSTM", rng, 1, 3, 4)
    x = rng.normal(size=(5, 6, 3)).astype(f32)
    space = Space()
    lengths = np.full(6, 5, np.int32)
    space.begin([], (0, 0, 0, 0), (True,) * 3)
    results = prepare(w, r, b, **attributes).bind(space, x, lengths)
    space.end()
    for new in ([5] * 6, [5, 5, 2, 5, 5, 1], [5] * 6, [4] * 6):
        lengths[:] = new
        for function, operands in space.calls:
            function(*operands)
        for one, other in zip(results, plain(x, w, r, b, lengths, **attributes), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    "attributes",
    [
        {"clip": 1.0},
        {"layout": 1},
        {"activations": ["Sigmoid", "Relu", "Tanh"]},
        {"input_forget": 1},
    ],
)
def test_unusual_layers_are_declined(attributes):
    rng = np.random.default_rng(0)
    prepare, _, _, w, r, b, _ = layer("LSTM", rng, 1, 3, 4)
    assert not hasattr(prepare(w, r, b, **attributes), "bind")


@pytest.mark.parametrize("batch", [1, 4, 60])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU linear"])
def test_large_initial_states(kind, batch):
    """sigmoid(-40) is 4e-18, not 0: times infinity it is infinity, times 1e20 it is 400."""
    rng = np.random.default_rng(batch)
    prepare, plain, states, w, r, b, attributes = layer(kind, rng, 1, 2, 3)
    values = [0, 1, -100, 100, 1e3, 1e20, -1e25, 3e38, np.inf, -np.inf, np.nan]
    x = np.zeros((3, batch, 2), f32)
    initial = [rng.choice(values, (1, batch, 3)).astype(f32) for _ in range(states)]
    initial[0] = np.clip(initial[0], -1e3, 1e3)  # the state that is multiplied by weights
    with np.errstate(all="ignore"):
        expected = plain(x, w, r, b, None, *initial, **attributes)
        bind = prepare(w, r, b, **attributes).bind
        found = run_bound(bind, [x, None, *initial], used_outputs=(True,) * (1 + states))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
