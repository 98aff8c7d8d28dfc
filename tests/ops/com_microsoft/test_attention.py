"""Attention, masks, pasts, biases and rotary embeddings, held against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxwalk
from onnxwalk.interpreter.runtime import bind
from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    int8_weights,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

MS = "com.microsoft"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def i32(*values):
    return np.array(values, np.int32)


def case(operator, inputs, attributes=None, expected=None, outputs=1, **more):
    return Case(operator, 1, inputs, attributes or {}, expected, outputs, MS, **(TOLERANCE | more))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X, W, B = normal(2, 3, 8), normal(8, 24, seed=1), normal(24, seed=2)
PAST = normal(2, 2, 2, 2, 4, seed=3)
Q, K, V = normal(2, 3, 8), normal(2, 5, 8, seed=1), normal(2, 5, 8, seed=2)
RAW = i32([1, 1, 1, 0, 0], [0, 1, 1, 1, 1])
N2 = {"num_heads": 2}
CACHES = [normal(5, 2, seed=6), normal(5, 2, seed=7)]
U8 = np.random.default_rng(0).integers(0, 256, (2, 3, 8)).astype(np.uint8)
I8 = int8_weights(np.random.default_rng(0).integers(-128, 128, (8, 24)).astype(np.int8))

# Two keys that score the same, then one that a mask hides: the mean of the first two values.
ONES, VALUES = np.ones((1, 3, 1), np.float32), f([[[2], [4], [100]]])
MEAN = np.full((1, 3, 1), 3, np.float32)

# fmt: off
CASES = [
    case("Attention", [X, W, B], N2, outputs=2),
    case("Attention", [X[:, :0], W, B, i32(0, 0)], N2, note="no tokens"),
    case("Attention", [X[:0], W, B, np.zeros((0, 3), np.int32)], N2, note="no batch"),
    case("Attention", [X, W, None, i32(2, 3)], N2, note="lengths"),
    case("Attention", [X, W, B, i32(2, 3, 1, 0)], N2, note="ends and starts"),
    case("Attention", [X, W, B, i32([1, 1, 0], [0, 1, 1])], {**N2, "mask_filter_value": -3.0}),
    case("Attention", [X, W, B, np.tri(3, dtype=np.int32)[None].repeat(2, 0)], N2),
    case("Attention", [X, W, B, None, PAST], {**N2, "unidirectional": 1}, outputs=2),
    case("Attention", [X, W, B, i32([1, 0, 1, 1, 1], [0, 1, 1, 1, 0]), PAST], N2, outputs=2),
    case("Attention", [X, W, B, None, None, normal(1, 2, 3, 3)], {**N2, "scale": 0.3}),
    case("Attention", [X, normal(8, 28), None], {**N2, "qkv_hidden_sizes": [8, 8, 12]}),
    case("Attention", [X, normal(8, 24), None], {**N2, "qkv_hidden_sizes": []}),
    case("Attention", [X, W, B, i32([0, 0, 0], [0, 0, 1])], N2, atol=1e-3,
         note="what is masked everywhere is as good as not masked: 10000 takes three digits"),
    case("Attention", [VALUES, f([[0, 0, 1]]), None, i32(2)], {"num_heads": 1}, expected=[MEAN]),
    case("MultiHeadAttention", [Q, K, V], N2),
    case("MultiHeadAttention", [Q, K, V, B], N2, outputs=3),
    case("MultiHeadAttention", [Q, K, V, None, RAW], N2, outputs=3),
    case("MultiHeadAttention", [Q, K, V, None, i32(3, 5), normal(1, 1, 3, 5)],
         {**N2, "scale": 0.3, "mask_filter_value": -2.0}),
    case("MultiHeadAttention", [Q, K, V, None, np.stack([np.tri(3, 5, dtype=np.int32)] * 2)], N2),
    case("MultiHeadAttention", [Q, K[:, :3].copy(), V[:, :3].copy(), B, RAW, None, *PAST],
         {**N2, "unidirectional": 1}, outputs=3),
    case("MultiHeadAttention", [Q, K, normal(2, 5, 12)], N2),
    case("MultiHeadAttention", [Q, normal(2, 2, 5, 4), normal(2, 2, 5, 4, seed=1), B], N2),
    case("MultiHeadAttention", [np.stack([ONES, ONES, VALUES], 2)[:, :, None]], {"num_heads": 1},
         expected=[np.full((1, 3, 1), 106 / 3, np.float32)], note="all three packed"),
    case("MultiHeadAttention", [ONES, np.stack([ONES, VALUES], 2)[:, :, None], None, None, i32(2)],
         {"num_heads": 1}, expected=[MEAN], note="keys and values packed"),
    case("MultiHeadAttention", [ONES, ONES, VALUES], {"num_heads": 1, "unidirectional": 1},
         expected=[f([[[2], [3], [106 / 3]]])]),
    case("MultiHeadAttention", [ONES[:, :2], ONES, VALUES], {"num_heads": 1, "unidirectional": 1},
         expected=[f([[[2], [106 / 3]]])], note="the last query sees all keys"),
    case("MultiHeadAttention", [ONES[:, :2], ONES, VALUES], {"num_heads": 1, "unidirectional": 1}),
    case("MultiHeadAttention", [Q[:, :2], K, V, B, None, None, *PAST],
         {**N2, "unidirectional": 1}, outputs=3, note="more keys than queries after the past"),
    case("QAttention", [U8, I8, B, f(0.01), f(0.002), i32(3, 2), np.array(120, np.uint8),
                        np.array(3, np.int8)], N2, outputs=2),
    case("QAttention", [U8, I8, B, f(0.01), np.linspace(0.001, 0.003, 24, dtype=np.float32), None,
                        np.array(120, np.uint8), np.zeros(24, np.int8), PAST],
         {**N2, "unidirectional": 1}, outputs=2),
    case("QAttention", [np.array([[[4], [6], [102]]], np.uint8), np.array([[0, 0, 3]], np.int8),
                        f([0, 0, 1]), f(0.5), f(2), i32([1, 1, 0]), np.array(2, np.uint8)],
         {"num_heads": 1}, expected=[np.full((1, 3, 1), 10, np.float32)]),
    case("RotaryEmbedding", [X, np.array([1]), *CACHES]),
    case("RotaryEmbedding", [X, np.array([[0, 1, 2], [2, 4, 3]]), *CACHES], {"interleaved": 1}),
    case("RotaryEmbedding", [normal(2, 2, 3, 4), np.array([[0, 1, 2], [2, 4, 3]]), *CACHES],
         {"scale": 2.0}),
    case("RotaryEmbedding", [X, np.array([0]), *(c[:, :1] for c in CACHES)],
         {**N2, "rotary_embedding_dim": 2}),
    case("RotaryEmbedding", [f([[[1, 2, 3, 4]]]), np.array([0]), f([[0, 1]]), f([[1, 0]])],
         expected=[f([[[-3, 2, 1, 4]]])], note="a quarter turn, and none"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@st.composite
def attentions(draw):
    batch, queries, keys, heads, size = (draw(st.integers(1, 4)) for _ in range(5))
    past = draw(st.integers(0, 3))
    own = draw(st.booleans())
    if own:
        keys = queries
    total = past + keys
    seed = draw(st.integers(0, 9))
    rng = np.random.default_rng(seed)
    masks = [None, rng.integers(0, 2, (batch, total)), rng.integers(0, total + 1, batch)]
    masks += [rng.integers(0, 2, (batch, queries, total))]
    mask = draw(st.sampled_from(masks))
    mask = None if mask is None else mask.astype(np.int32)
    attributes = {"num_heads": heads, "mask_filter_value": -5.0}
    attributes["unidirectional"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        attributes["scale"] = 0.7
    bias = normal(draw(st.sampled_from([1, batch])), draw(st.sampled_from([1, heads])), queries,
                  total, seed=8) if draw(st.booleans()) else None  # fmt: skip
    features = heads * size
    before = normal(2, batch, heads, past, size, seed=seed + 1) if past else None
    if own and draw(st.booleans()):
        inputs = [normal(batch, queries, 6, seed=seed), normal(6, 3 * features, seed=1)]
        # ONNX Runtime has not both
        inputs += [normal(3 * features), mask, before, None if past else bias]
        return case("Attention", inputs, attributes, outputs=2)
    inputs = [normal(batch, length, features, seed=seed) for length in (queries, keys, keys)]
    inputs += [normal(3 * features) if draw(st.booleans()) else None, mask, bias]
    return case(
        "MultiHeadAttention", inputs + ([] if before is None else [*before]), attributes, outputs=3
    )


@settings(max_examples=80, deadline=None)
@given(attentions())
def test_like_onnxruntime(case):
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, **TOLERANCE)


MASKS = {
    "none": lambda rng, total: None,
    "all keys": lambda rng, total: np.ones((2, total)),
    "keys": lambda rng, total: rng.integers(0, 2, (2, total)),
    "queries and keys": lambda rng, total: rng.integers(0, 2, (2, 3, total)),
    "lengths": lambda rng, total: rng.integers(1, total + 1, 2),
}


def with_open_shapes(model):
    """The model, whose inputs may have any shapes, so that one session runs all of them."""
    for value in (*model.graph.input, *model.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            axis.Clear()
    return model


def growing(operator, mask, past, causal):
    """A case with a past of this length."""
    rng, total = np.random.default_rng(past), past + 3
    of_keys = MASKS[mask](rng, total)
    of_keys = None if of_keys is None else of_keys.astype(np.int32)
    before = normal(2, 2, 2, past, 4, seed=past)
    attributes = {**N2, "unidirectional": causal}
    if operator == "Attention":
        return case(operator, [X, W, B, of_keys, before], attributes, outputs=2)
    inputs = [X, normal(2, 3, 8, seed=1), normal(2, 3, 8, seed=2), B, of_keys]
    bias = normal(1, 2, 3, total, seed=9) if mask == "none" else None
    return case(operator, [*inputs, bias, *before], attributes, outputs=3)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("operator", ["Attention", "MultiHeadAttention"])
def test_a_past_that_grows(operator, mask, causal, monkeypatch):
    """One plan serves all lengths, is bound once, and gives what a plan for each length gives."""
    bound = []
    step = bind.Scope._bind
    monkeypatch.setattr(
        bind.Scope, "_bind", lambda self, *rest: bound.append(rest) or step(self, *rest)
    )
    session, kept = None, []
    for past in (4, 5, 6, 9, 2, 1):
        made = growing(operator, mask, past, causal)
        model, feeds = with_open_shapes(one_node_model(made)), feeds_of(made)
        session = session or onnxwalk.load(model)
        if past == 9:
            bound.clear()
        found = session.run(None, feeds)
        if past in (9, 2):
            assert not bound
        assert_same(found, run_onnxruntime(model, feeds), **TOLERANCE)
        for one, other in zip(found, onnxwalk.load(model).run(None, feeds), strict=True):
            np.testing.assert_array_equal(one, other)
        bound.clear()
        kept.append((found, [x.copy() for x in found]))
    for found, copies in kept:  # later runs leave results alone
        for one, other in zip(found, copies, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_past_that_does_not_fit():
    session = None
    for past in (4, 5, 6, 7):
        made = growing("Attention", "none", past, 1)
        session = session or onnxwalk.load(with_open_shapes(one_node_model(made)))
        feeds = feeds_of(made)
        if past == 7:
            (name,) = (n for n, x in feeds.items() if x.ndim == 5)
            with pytest.raises(onnxwalk.OperatorError, match="past"):
                session.run(None, {**feeds, name: normal(2, 2, 2, 7, 5)})
        session.run(None, feeds)
    empty = growing("Attention", "none", 0, 1)
    feeds = feeds_of(empty)
    found = session.run(None, feeds)
    assert_same(found, onnxwalk.load(one_node_model(empty)).run(None, feeds), rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_rotary_like_onnxruntime(data):
    batch, length, heads, half = (data.draw(st.integers(1, 4)) for _ in range(4))
    shape = (batch, length, heads * 2 * half)
    if data.draw(st.booleans()):
        shape = (batch, heads, length, 2 * half)
    positions = np.random.default_rng(0).integers(0, 9, (batch, length))
    if data.draw(st.booleans()):
        positions = np.array([2])
    inputs = [normal(*shape), positions, normal(9, half), normal(9, half, seed=1)]
    made = case("RotaryEmbedding", inputs, {"interleaved": data.draw(st.integers(0, 1))})
    assert_same(run_directly(made), run_onnxruntime(one_node_model(made), feeds_of(made)))


def test_scores_are_what_goes_into_the_softmax():
    made = case("MultiHeadAttention", [Q, K, V, None, RAW], N2, outputs=4)
    model = one_node_model(made)  # ONNX Runtime can't tell the type of the fourth output
    model.graph.output[3].CopyFrom(onnx.helper.make_tensor_value_info("y3", 1, None))
    assert_same(run_directly(made), run_onnxruntime(model, feeds_of(made)), rtol=1e-4, atol=2e-3)


# fmt: off
REFUSED = [
    (case("Attention", [X, W, B], {**N2, "do_rotary": 1}), "do_rotary"),
    (case("Attention", [X, W, B], {**N2, "past_present_share_buffer": 1}), "share_buffer"),
    (case("Attention", [X, W, B, np.zeros(8, np.int32)], N2), "mask of shape"),
    (case("Attention", [X, W, B, np.zeros((2, 1, 9, 9), np.int32)], N2), "mask of shape"),
    (case("Attention", [X, W, B, np.zeros((2, 9), np.int32)], N2), "should be .* or another form"),
    (case("Attention", [X, W, B], {"num_heads": 3}), "3 heads"),
    (case("Attention", [X, W[:7], B], N2), "are incompatible"),
    (case("Attention", [X, normal(8, 28)], {**N2, "qkv_hidden_sizes": [8, 8, 12]}, outputs=2),
     "should have the same shape for present"),
    (case("MultiHeadAttention", [Q, K, V, None, None, None, PAST[0]], N2), "should both be set"),
    (case("MultiHeadAttention", [Q, K, V, *[None] * 5, i32(1)], N2), "past_sequence_length"),
    (case("MultiHeadAttention", [Q], N2), "needs key"),
    (case("MultiHeadAttention", [Q, K, V, None, None, normal(3, 5)], N2), "attention_bias"),
    (case("RotaryEmbedding", [X, np.array([3]), *CACHES]), "should be from 0 to 4"),
    (case("RotaryEmbedding", [X, np.array([0]), *CACHES], {"is_packed_batching": 1}), "packed"),
    (case("RotaryEmbedding", [X, np.array([0]), *CACHES], {"rotary_embedding_dim": 4}), "num_head"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
