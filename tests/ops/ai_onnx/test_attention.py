"""Attention and its surroundings: by hand, and against ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

f32, f16, bf16 = np.float32, np.float16, ml_dtypes.bfloat16


def noise(*shape, seed=0, dtype=f32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def ints(*values):
    return np.array(values, np.int64)


def column(*values, dtype=f32):
    """One head of one sample, whose vectors have one element."""
    return np.array(values, dtype).reshape(1, 1, -1, 1)


# With queries of 0 every key that counts has the same share: Y is the mean of their values.
Q0 = column(0, 0, 0)
V4 = column(1, 2, 4, 8)
K4 = np.ones_like(V4)
Q, K, V = noise(2, 4, 3, 8), noise(2, 2, 5, 8), noise(2, 2, 5, 6)
PAST = noise(2, 2, 4, 8), noise(2, 2, 4, 6)
MASK = noise(3, 5)
PACKED = noise(2, 3, 32), noise(2, 5, 16), noise(2, 5, 12)
HEADS = {"q_num_heads": 4, "kv_num_heads": 2}

# fmt: off
CASES = [
    Case("Attention", 23, [Q0, K4, V4], expected=[column(3.75, 3.75, 3.75)]),
    Case("Attention", 23, [Q0, K4, V4], {"is_causal": 1}, expected=[column(1, 1.5, 7 / 3)]),
    Case("Attention", 23, [Q0, K4, V4, None, K4, V4], {"is_causal": 1},
         expected=[column(16 / 5, 18 / 6, 22 / 7)], note="after a past of four"),
    # a last axis of 1 goes with every key in 23; in 24 it is filled up with "doesn't count"
    Case("Attention", 23, [Q0, K4, V4, np.array([[True], [False], [True]])],
         expected=[column(3.75, 0, 3.75)]),
    Case("Attention", 24, [Q0, K4, V4, np.array([[True], [False], [True]])],
         expected=[column(1, 0, 1)]),
    Case("Attention", 24, [Q0, K4, V4, np.array([[True, True, False]])],
         expected=[column(1.5, 1.5, 1.5)]),
    # two of the four keys count; query 2 stands at the last of them, and query 0 before them all
    Case("Attention", 24, [Q0, K4, V4, None, None, None, ints(2)],
         expected=[column(1.5, 1.5, 1.5)]),
    Case("Attention", 24, [Q0, K4, V4, None, None, None, ints(2)], {"is_causal": 1},
         expected=[column(0, 1, 1.5)]),
    Case("Attention", 25, [Q0, K4, V4], {"left_window_size": 1, "right_window_size": 0},
         expected=[column(1, 1.5, 3)]),
    Case("Attention", 25, [Q0, K4, V4], {"right_window_size": 1},
         expected=[column(1.5, 7 / 3, 3.75)]),
    Case("Attention", 25, [Q0, K4, V4, None, None, None, ints(4)],
         {"left_window_size": 0, "right_window_size": 0}, expected=[column(2, 4, 8)]),
    Case("Attention", 23, [Q, K, V], outputs=4),
    Case("Attention", 23, [Q, K, V, MASK], {"is_causal": 1}),
    Case("Attention", 23, [Q, K, V, MASK > 0], {"scale": 0.3}),
    Case("Attention", 23, [Q, K, V, noise(3, 9), *PAST], outputs=3),
    Case("Attention", 23, [Q, K, V, (MASK > 0).astype(np.int32)], note="added, as is"),
    *[Case("Attention", 23, [Q, K, V, MASK], {"softcap": 0.7, "qk_matmul_output_mode": mode},
           outputs=4) for mode in (0, 1)],
    Case("Attention", 23, [*PACKED], HEADS, outputs=3),
    Case("Attention", 23, [*PACKED, MASK], {**HEADS, "is_causal": 1}),
    Case("Attention", 23, [Q.astype(f16), K.astype(f16), V.astype(f16)], rtol=2e-3, atol=1e-3),
    Case("Attention", 23, [Q0.astype(bf16), K4.astype(bf16), V4.astype(bf16)],
         expected=[column(3.75, 3.75, 3.75, dtype=bf16)]),
    Case("Attention", 23, [Q0, K4, V4], {"softmax_precision": TensorProto.FLOAT16},
         expected=[column(3.75, 3.75, 3.75)]),
    Case("RotaryEmbedding", 23, [noise(2, 3, 4, 8), noise(9, 4), noise(9, 4, seed=1),
                                 ints(0, 1, 2, 8, 3, 4, 5, 6).reshape(2, 4)]),
    Case("RotaryEmbedding", 23, [noise(2, 4, 24), noise(2, 4, 4), noise(2, 4, 4, seed=1)],
         {"num_heads": 3, "interleaved": 1}),
    Case("RotaryEmbedding", 23, [np.array([[[[1, 2, 3, 4, 5]]]], f16), np.zeros((1, 1, 2), f16),
                                 np.ones((1, 1, 2), f16)], {"rotary_embedding_dim": 4},
         expected=[np.array([[[[-3, -4, 1, 2, 5]]]], f16)], note="a quarter turn"),
    # one head of size 1: S = 2·1 = 2, then 2 + 3·1 = 5
    Case("LinearAttention", 27, [column(1, 1)[0], column(2, 3)[0], column(1, 1)[0]],
         {"update_rule": "linear", "q_num_heads": 1, "kv_num_heads": 1},
         expected=[column(2, 5)[0], column(5)], outputs=2),
    # S = 1/2·4 + 2·1 = 4
    Case("LinearAttention", 27, [column(1)[0], column(2)[0], column(1)[0], column(4),
                                 np.log(column(0.5)[0])],
         {"update_rule": "gated", "q_num_heads": 1, "kv_num_heads": 1},
         expected=[column(4)[0], column(4)], outputs=2),
    # S = 2 + 1/2·(2·4 - ...): v - S·k = 8 - 2·1 = 6, half of it is 3, S = 2 + 3
    Case("LinearAttention", 27, [column(1)[0], column(1)[0], column(8)[0], column(2), None,
                                 column(0.5)[0]],
         {"update_rule": "delta", "q_num_heads": 1, "kv_num_heads": 1, "scale": 2.0},
         expected=[column(10)[0], column(5)], outputs=2),
    # S decays to 1 first: v - S·k = 7, half of it is 3.5, S = 4.5
    Case("LinearAttention", 27, [column(1, dtype=f16)[0], column(1, dtype=f16)[0],
                                 column(8, dtype=f16)[0], column(2),
                                 np.log(column(0.5, dtype=f16)[0]),
                                 column(0.5, dtype=f16)[0]],
         {"q_num_heads": 1, "kv_num_heads": 1},
         expected=[column(4.5, dtype=f16)[0], column(4.5)], outputs=2, rtol=1e-3),
    Case("CausalConvWithState", 27, [np.array([[[1, 2, 3]]], f32), np.array([[[10, 1]]], f32)],
         expected=[np.array([[[1, 12, 23]]], f32), np.array([[[3]]], f32)], outputs=2),
    Case("CausalConvWithState", 27, [np.array([[[1, 2]]], f16), np.array([[[100, 10, 1]]], f16),
                                     np.array([0.5], f16), np.array([[[3, 4]]], f16)],
         expected=[np.array([[[341.5, 412.5]]], f16), np.array([[[1, 2]]], f16)], outputs=2),
    Case("CausalConvWithState", 27, [np.array([[[1, 2]]], f32), np.array([[[1]]], f32)],
         {"activation": "silu"},
         expected=[np.array([[[1 / (1 + np.exp(-1)), 2 / (1 + np.exp(-2))]]], f32),
                   np.zeros((1, 1, 0), f32)], outputs=2),
    Case("SwiGLU", 28, [np.array([0, 1], f32), np.array([5, 2], f32)], {"alpha": 3.0},
         expected=[np.array([0, 2 / (1 + np.exp(-3))], f32)]),
    Case("TensorScatter", 24, [column(1, 2, 3), column(7, 8)], expected=[column(7, 8, 3)]),
    Case("TensorScatter", 24, [column(1, 2, 3), column(7, 8), ints(2)], {"mode": "circular"},
         expected=[column(8, 2, 7)]),
    Case("TensorScatter", 24, [np.array([["a", "b"], ["c", "d"]], object),
                               np.array([["x"], ["y"]], object), ints(1, 0)], {"axis": 1},
         expected=[np.array([["a", "x"], ["y", "d"]], object)]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_attention_like_onnxruntime(data):
    draw, size = data.draw, st.integers(1, 5)
    batch, groups, share, queries, keys = (draw(size) for _ in range(5))
    seed = draw(st.integers(0, 99))
    q = noise(batch, groups * share, queries, 4, seed=seed)
    k, v = noise(batch, groups, keys, 4, seed=seed), noise(batch, groups, keys, 3, seed=seed)
    past, total = [None, None], keys
    if draw(st.booleans()):
        past = [noise(batch, groups, 2, 4, seed=seed), noise(batch, groups, 2, 3, seed=seed)]
        total += 2
    mask = draw(st.sampled_from([None, "bool", "float"]))
    if mask:
        values = noise(*draw(st.sampled_from([(), (batch, 1), (batch, groups * share)])),
                       queries, total, seed=seed)  # fmt: skip
        values[..., 0] = abs(values[..., 0])  # ONNX Runtime has no rule for queries without keys
        mask = values > 0 if mask == "bool" else values
    # ONNX Runtime 1.32 is causal without regard to the past; the spec says j <= i + past length
    causal = draw(st.integers(0, 1)) if past[0] is None else 0
    attributes = {"is_causal": causal, "softcap": draw(st.sampled_from([0.0, 2.0]))}
    case = Case("Attention", 23, [q, k, v, mask, *past], attributes, outputs=3)
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-5)


# fmt: off
REFUSED = [
    ("Attention", 23, [Q, K, V[:, :1]], {}, "are incompatible"),
    ("Attention", 23, [Q[:, :3], K, V], {}, "are incompatible"),
    ("Attention", 23, [*PACKED], {}, "need q_num_heads"),
    ("Attention", 23, [Q, K, V, None, PAST[0]], {}, "should both be set"),
    ("Attention", 23, [Q, K, V, MASK[:, :4]], {}, "broadcast"),
    ("Attention", 24, [Q, K, V, None, *PAST, ints(1, 1)], {}, "should not both be set"),
    ("Attention", 24, [Q, K, V, None, None, None, ints(1)], {}, r"should be \(2,\)"),
    ("Attention", 24, [Q, K, V], {"qk_matmul_output_mode": 4}, "mode 4"),
    ("RotaryEmbedding", 23, [noise(2, 4, 24), noise(2, 4, 4), noise(2, 4, 4)], {}, "num_heads"),
    ("RotaryEmbedding", 23, [noise(2, 3, 4, 8), noise(2, 4, 3), noise(2, 4, 3)], {}, "cos_cache"),
    ("RotaryEmbedding", 23, [noise(1, 1, 1, 2), noise(2, 1), noise(2, 1), ints(2).reshape(1, 1)],
     {}, "every position"),
    ("LinearAttention", 27, [column(1)[0]] * 3, {"q_num_heads": 1, "kv_num_heads": 1},
     "needs decay"),
    ("CausalConvWithState", 27, [noise(1, 2, 3), noise(1, 1, 3)], {}, "should be"),
    ("SwiGLU", 28, [noise(2), noise(1)], {}, "should have the same shape"),
    ("TensorScatter", 24, [column(1, 2), column(1), ints(2)], {}, "beyond"),
    ("TensorScatter", 24, [column(1, 2), column(1)], {"axis": 0}, "batch"),
]
# fmt: on


@pytest.mark.parametrize("operator, opset, inputs, attributes, message", REFUSED)
def test_refused(operator, opset, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, opset, inputs, attributes))


def flex(inputs, expected, **attributes):
    """Two query heads over one key head, by hand: equal keys have equal weights."""
    return Case("FlexAttention", 1, inputs, attributes, [expected], domain="ai.onnx.preview")


TWO_HEADS = np.array([1, 5], np.float32).reshape(1, 2, 1, 1)
SAME_KEYS = np.zeros((1, 1, 3, 1), np.float32)
THREE = np.array([3, 6, 9], np.float32).reshape(1, 1, 3, 1)
LAST_HIDDEN = np.array([0, 0, -np.inf], np.float32)
CASES += [
    flex([TWO_HEADS, SAME_KEYS, THREE], np.full((1, 2, 1, 1), 6, np.float32)),
    flex(
        [TWO_HEADS, SAME_KEYS, THREE],
        np.full((1, 2, 1, 1), 4.5, np.float32),
        score_mod=lambda scores: (scores + LAST_HIDDEN,),
    ),
    flex(
        [TWO_HEADS, SAME_KEYS, THREE],
        np.full((1, 2, 1, 1), 12, np.float32),
        prob_mod=lambda weights: (weights * np.float32(2),),
    ),
]


@pytest.mark.parametrize("case", CASES[-3:], ids=str)
def test_flex_attention(case):
    check(case)


def test_flex_attention_weighs_by_the_scaled_scores():
    q, k = np.float32([[[[2]]]]), np.float32([[[[0], [1]]]])
    (y,) = run_directly(flex([q, k, np.float32([[[[0], [1]]]])], None, scale=0.5))
    assert y.item() == pytest.approx(np.e / (1 + np.e), rel=1e-6)


def test_a_modifier_must_keep_the_shape():
    with pytest.raises(ValueError, match="score_mod should return"):
        run_directly(
            flex([TWO_HEADS, SAME_KEYS, THREE], None, score_mod=lambda scores: (scores[0],))
        )
