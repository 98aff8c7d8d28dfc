"""DecoderMaskedMultiHeadAttention, held against ONNX Runtime; what its kernel for CPUs refuses or
does otherwise than documented, against MultiHeadAttention."""

import numpy as np
import onnx
import pytest

from tests.support.harness import (
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)
from tests.support.microsoft import case, f, i32, normal

OPERATOR = "DecoderMaskedMultiHeadAttention"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
N2 = {"num_heads": 2}
SHARED = {**N2, "past_present_share_buffer": 1}
Q, K, V = (normal(4, 1, 8, seed=seed) for seed in range(3))
PAST = [normal(4, 2, 6, 4, seed=3), normal(4, 2, 6, 4, seed=4)]
BIAS = normal(24, seed=5)
OTHER = [normal(4, 2, 5, 4, seed=6), normal(4, 2, 5, 4, seed=7)]
MASK = np.random.default_rng(0).integers(0, 2, (4, 6)).astype(np.int32)
THREE = i32(3)

#: one key that scores as much as the new one, and one that a mask hides: the mean of two values
ONE = np.ones((1, 1, 1), np.float32)
CACHE = [f([[[[1], [1], [9]]]]), f([[[[2], [50], [9]]]])]
PRESENT = [f([[[[1], [1], [1]]]]), f([[[[2], [50], [4]]]])]
HIDES = i32([1, 0, 1])

# fmt: off
CASES = [
    case(OPERATOR, [Q, K, V, None, None, *PAST, THREE], SHARED, outputs=3, **TOLERANCE),
    case(OPERATOR, [Q, K, V, None, None, *PAST, i32(0)], SHARED, outputs=3, **TOLERANCE),
    case(OPERATOR, [Q, K, V, MASK[:, :4].copy(), normal(1, 2, 1, 4), *PAST, THREE, None, None,
                    BIAS],
         {**SHARED, "scale": 0.3, "mask_filter_value": -3.0}, outputs=3, **TOLERANCE),
    case(OPERATOR, [Q, *OTHER], N2, **TOLERANCE),
    case(OPERATOR, [Q, *OTHER, MASK[:, :5].copy(), *[None] * 6, BIAS], N2, **TOLERANCE),
    case(OPERATOR, [ONE, ONE, 4 * ONE, HIDES, None, *CACHE, i32(2)],
         {"num_heads": 1, "past_present_share_buffer": 1},
         [f([[[3]]]), *PRESENT], outputs=3),
    case(OPERATOR, [ONE, ONE, 4 * ONE, i32([1, 0, 1]), None, *(x[:, :, :2].copy() for x in CACHE)],
         {"num_heads": 1}, [f([[[3]]]), *PRESENT], outputs=3),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize(
    ("inputs", "attributes", "outputs"),
    [
        ([Q, K, V, MASK[:, :4].copy(), None, *PAST, THREE], SHARED, 4),
        ([Q, *OTHER], N2, 4),
    ],
    ids=["itself", "another"],
)
def test_scores_are_what_goes_into_the_softmax(inputs, attributes, outputs):
    made = case(OPERATOR, inputs, {**attributes, "output_qk": 1}, outputs=outputs)
    model = one_node_model(made)
    scores = onnx.helper.make_tensor_value_info("y3", 1, None)
    model.graph.output[3].CopyFrom(scores)
    if attributes is N2:  # ONNX Runtime takes outputs of a past as a sign that there is one
        del model.graph.output[1:3]
        model.graph.node[0].output[1] = model.graph.node[0].output[2] = ""
    found = [x for x in run_directly(made) if x is not None]
    assert_same(found, run_onnxruntime(model, feeds_of(made)), rtol=1e-4, atol=2e-3)


def multi_head(inputs):
    return run_directly(case("MultiHeadAttention", inputs, N2, outputs=3))


def test_a_past_that_grows():
    mask = np.random.default_rng(1).integers(0, 2, (4, 7)).astype(np.int32)
    found = run_directly(case(OPERATOR, [Q, K, V, mask, None, *PAST], N2, outputs=3))
    assert_same(found[:3], multi_head([Q, K, V, None, mask, None, *PAST])[:3])


def test_packed():
    packed = np.concatenate([Q, K, V], 2)
    for bias in (None, BIAS):
        rest = [None, None, *PAST, THREE, None, None, bias]
        found, expected = (
            run_directly(case(OPERATOR, [*given, *rest], SHARED, outputs=3))
            for given in ([packed, None, None], [Q, K, V])
        )
        assert_same(found, expected, rtol=0, atol=0)


def test_beams():
    """Place t of beam j is that of the beam that the table says; what is present isn't moved."""
    table = np.random.default_rng(1).integers(0, 2, (2, 2, 9)).astype(np.int32)
    given = [Q, K, V, None, None, *PAST, THREE]
    found = run_directly(case(OPERATOR, [*given, i32(2), table], SHARED, outputs=3))
    moved = [x[:, :, :3].copy() for x in PAST]
    for past, into in zip(PAST, moved, strict=True):
        for row in range(4):
            for place in range(3):
                source = row // 2 * 2 + table[row // 2, row % 2, place]
                into[row, :, place] = past[source, :, place]
    assert_same(found[:1], multi_head([Q, K, V, None, None, None, *moved])[:1])
    assert_same(found[1:3], run_directly(case(OPERATOR, given, SHARED, outputs=3))[1:3])


# fmt: off
REFUSED = [
    ([normal(4, 2, 8), K, V, None, None, *PAST, THREE], SHARED, "one token"),
    ([Q, K, V], N2, "need a past"),
    ([Q, *OTHER, None, None, *PAST], N2, "another one have none"),
    ([Q, K, V, None, None, PAST[0]], N2, "both be set"),
    ([normal(4, 1, 25), None, None, None, None, *PAST, THREE], SHARED, "side by side"),
    ([Q, K, V, None, None, *PAST, i32(6)], SHARED, "from 0 to 5"),
    ([Q, K, V, None, None, *PAST, i32(-1)], SHARED, "from 0 to 5"),
    ([Q, K, V, MASK, None, *PAST, THREE], SHARED, "mask_index"),
    ([Q, K, V, None, None, *(x[:, :1] for x in PAST), THREE], SHARED, "incompatible"),
    ([Q, K, V, None, None, *PAST, THREE, i32(3), np.zeros((1, 3, 9), np.int32)], SHARED, "beams"),
    ([Q, K, V, None, None, *PAST, THREE, i32(2), np.zeros((2, 3, 9), np.int32)], SHARED, "cache_"),
    ([Q, K, V, None, None, *PAST, THREE, i32(2), np.zeros((2, 2, 2), np.int32)], SHARED, "places"),
    ([Q, K, V, None, None, *PAST, THREE, i32(2), np.full((2, 2, 9), 2, np.int32)], SHARED, "to 1"),
]
# fmt: on


@pytest.mark.parametrize(("inputs", "attributes", "message"), REFUSED)
def test_refused(inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case(OPERATOR, inputs, attributes, outputs=3))
