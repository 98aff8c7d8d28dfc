"""ConvInteger and QLinearConv."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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

f32 = np.float32

BY_HAND = [
    Case(
        "ConvInteger",
        10,
        [
            np.array([[[2, 255]]], np.uint8),
            np.array([[[-128, 127]]], np.int8),
            np.array(1, np.uint8),
            np.array([27], np.int8),
        ],
        {"pads": [1, 0]},
        [np.array([[[1 * 100, 1 * -155 + 254 * 100]]], np.int32)],
        note="padding counts as the zero point",
    ),
    Case(
        "QLinearConv",
        10,
        # sums 4 * 3 = 12 and 11 * 3 = 33, scaled by 0.5 * 0.25 / 0.125 = 1: 112, saturated 127
        [
            np.array([[[5, 12]]], np.uint8),
            np.array(0.5, f32),
            np.array(1, np.uint8),
            np.array([[[3]]], np.int8),
            np.array(0.25, f32),
            np.array(0, np.int8),
            np.array(0.125, f32),
            np.array(100, np.int8),
        ],
        {},
        [np.array([[[112, 127]]], np.int8)],
    ),
    Case(
        "QLinearConv",
        10,
        # sums 1 and 3 by a half: 0.5 and 1.5 round to the even 0 and 2
        [
            np.array([[[1, 3]]], np.uint8),
            np.array(0.5, f32),
            np.array(0, np.uint8),
            np.array([[[1]]], np.int8),
            np.array(1, f32),
            np.array(0, np.int8),
            np.array(1, f32),
            np.array(0, np.uint8),
        ],
        {},
        [np.array([[[0, 2]]], np.uint8)],
        note="half to even",
    ),
]

AGAINST_ONNXRUNTIME = [
    Case(
        "ConvInteger",
        10,
        [
            np.random.default_rng(0).integers(0, 256, (2, 3, 6, 5), np.uint8),
            np.random.default_rng(1).integers(0, 256, (4, 3, 3, 2), np.uint8),
            np.array(120, np.uint8),
            np.array(131, np.uint8),
        ],
        {"pads": [1, 1, 0, 2], "strides": [2, 1]},
    ),
    Case(
        "QLinearConv",
        10,
        [
            np.random.default_rng(0).integers(0, 256, (2, 4, 6, 5), np.uint8),
            np.array(0.02, f32),
            np.array(120, np.uint8),
            int8_weights(np.random.default_rng(1).integers(-128, 128, (4, 2, 3, 2), np.int8)),
            np.array([0.01, 0.02, 0.03, 0.04], f32),
            np.zeros(4, np.int8),
            np.array(0.05, f32),
            np.array(100, np.uint8),
            np.array([-3000, 0, 500, 20000], np.int32),
        ],
        {"pads": [1, 1, 0, 2], "group": 2},
        note="a scale per channel",
    ),
]

CASES = BY_HAND + AGAINST_ONNXRUNTIME


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_conv_integer_is_onnxruntimes(data):
    draw = data.draw
    types = st.sampled_from([np.uint8, np.int8])
    x_type, w_type = draw(types), draw(types)
    assume((x_type, w_type) != (np.int8, np.uint8))  # ONNX Runtime has no such kernel
    rng = np.random.default_rng(draw(st.integers(0, 100)))

    def integers(dtype, *shape):
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)

    case = Case(
        "ConvInteger",
        10,
        [
            integers(x_type, 2, 4, 6, 5),
            integers(w_type, 6, 2, 3, 2),
            integers(x_type),
            integers(w_type),
        ],
        {"group": 2, "strides": [draw(st.integers(1, 2))] * 2, "pads": [1, 0, 2, 1]},
    )
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected)
