"""GroupQueryAttention with its cache, held against ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

N, G, H = 4, 2, 16
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def i32(*values):
    return np.array(values, np.int32)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def case(inputs, attributes=None, expected=None, outputs=3):
    attributes = {"num_heads": N, "kv_num_heads": G, **(attributes or {})}
    return Case("GroupQueryAttention", 1, inputs, attributes, expected, outputs, "com.microsoft",
                **TOLERANCE)  # fmt: skip


def qkv(batch, length, seed=0):
    sizes = N * H, G * H, G * H
    return [normal(batch, length, size, seed=seed + i) for i, size in enumerate(sizes)]


PROMPT = [*qkv(2, 3), None, None, i32(2, 2), i32(3)]
PAST = [normal(2, G, 4, H, seed=5), normal(2, G, 4, H, seed=6)]
DECODE = [*qkv(2, 1), *PAST, i32(4, 2), i32(5)]
CACHES = [normal(9, H // 2, seed=7), normal(9, H // 2, seed=8)]
BIAS, SINK = normal(1, N, 3, 3), normal(N)
ONES = np.ones((1, 3, 1), np.float32)
VALUES = np.array([[[2], [4], [9]]], np.float32)

# fmt: off
CASES = [
    case(PROMPT),
    case(DECODE),
    case([np.concatenate(PROMPT[:3], -1), None, None, *PROMPT[3:]]),
    case(PROMPT, {"local_window_size": 2, "scale": 0.3}),
    case([*PROMPT, *[None] * 3, BIAS], {"softcap": 0.5}),
    case(PROMPT, {"smooth_softmax": 1}),
    case([*PROMPT, *[None] * 4, SINK]),
    case([*PROMPT, *CACHES], {"do_rotary": 1}),
    case([*DECODE, *CACHES], {"do_rotary": 1, "rotary_interleaved": 1}),
    case([*PROMPT, *CACHES, np.array([[2, 9, 4], [1, 3, 5]])], {"do_rotary": 1}),
    case([*DECODE, *CACHES, np.array([[1], [3]])], {"do_rotary": 1}),
    case([*qkv(1, 2), *(p[:1] for p in PAST), i32(5), i32(6)]),
    case([ONES, ONES, VALUES, None, None, i32(2), i32(3)], {"num_heads": 1, "kv_num_heads": 1},
         [np.array([[[2], [3], [5]]], np.float32)], outputs=1),
    case([ONES, ONES, VALUES, None, None, i32(2), i32(3)],
         {"num_heads": 1, "kv_num_heads": 1, "causal": 0}, [np.full((1, 3, 1), 5, np.float32)],
         outputs=1),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_like_onnxruntime(data):
    batch = data.draw(st.integers(1, 3))
    attributes = {"local_window_size": data.draw(st.sampled_from([-1, 1, 2, 5]))}
    if data.draw(st.booleans()):
        attributes["softcap"] = 0.7
    if data.draw(st.booleans()):
        attributes["smooth_softmax"] = 1
    seed = data.draw(st.integers(0, 9))
    if data.draw(st.booleans()):
        length = data.draw(st.integers(1, 4))
        inputs = [*qkv(batch, length, seed), None, None, i32(*[length - 1] * batch), i32(length)]
    else:
        pasts = [data.draw(st.integers(1, 4)) for _ in range(batch)]
        past = [normal(batch, G, max(pasts), H, seed=seed + i) for i in (3, 4)]
        inputs = [*qkv(batch, 1, seed), *past, i32(*pasts), i32(max(pasts) + 1)]
    if data.draw(st.booleans()):
        inputs += CACHES
        attributes["do_rotary"] = 1
    made = case(inputs, attributes)  # without the others, ONNX Runtime forgets the past
    assert_same(run_directly(made), run_onnxruntime(one_node_model(made), feeds_of(made)),
                **TOLERANCE)  # fmt: skip


# fmt: off
REFUSED = [
    (case(PROMPT, {"k_quant_type": "PER_TENSOR"}), "k_quant_type"),
    (case(PROMPT, {"qk_output": 1}), "qk_output"),
    (case(PROMPT, {"kv_num_heads": 3}), "multiple of kv_num_heads 3"),
    (case([*PROMPT[:5], i32(2, 3), i32(3)]), "below 3"),
    (case([*qkv(2, 1), None, None, i32(4, 2), i32(5)]), "from 0 to 0"),
    (case(PROMPT, {"do_rotary": 1}), "cos_cache"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
