"""Resize and Upsample: by hand, and against ONNX Runtime."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
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

F = np.float32


def floats(*values):
    return np.array(values, F)


def ints(*values):
    return np.array(values, np.int64)


ROW = floats(1, 2, 3, 4)
IMAGE = np.arange(48, dtype=F).reshape(1, 2, 4, 6) ** 1.3
SQUARE = np.arange(16, dtype=F).reshape(1, 1, 4, 4)
CROP = {"coordinate_transformation_mode": "tf_crop_and_resize"}
WORDS = np.array(["a", "b"], object)

# fmt: off
CASES = [
    # (1 2 3 4) by 0.6: the cases of ONNX 1.5 had (1 3); under 11's half_pixel it is (1 3) too,
    # but by 0.8 ceil(i / 0.8) is 0, 2, 3 and half_pixel's nearest is 0, 1, 3 (rounded at 1.375)
    Case("Resize", 10, [ROW, floats(0.8)], expected=[floats(1, 3, 4)]),
    Case("Resize", 11, [ROW, floats(), floats(0.8)], expected=[floats(1, 2, 4)]),
    Case("Resize", 10, [ROW.reshape(1, 1, 1, 4), floats(1, 1, 1, 0.8)], note="ort"),
    Case("Resize", 10, [IMAGE, floats(1, 1, 1.5, 2)], {"mode": "linear"}),
    Case("Resize", 13, [IMAGE[:0], None, floats(1, 1, 2, 2)], {"mode": "linear"}, note="no images"),
    Case("Resize", 13, [IMAGE[:, :0], None, floats(1, 1, 2, 3)], {"mode": "cubic"},
         expected=[np.zeros((len(IMAGE), 0, 2 * IMAGE.shape[2], 3 * IMAGE.shape[3]), IMAGE.dtype)]),
    Case("Resize", 10, [IMAGE, floats(1, 1, 0.6, 0.7)], {"mode": "linear"}),
    Case("Resize", 10, [IMAGE, floats(1, 1, 0.6, 1.7)]),
    # 11's linear is half_pixel, which reaches beyond the first and last input; 10's never does
    Case(
        "Resize",
        10,
        [floats(0, 1), floats(2)],
        {"mode": "linear"},
        expected=[floats(0, 0.5, 1, 1)],
    ),
    Case(
        "Resize",
        11,
        [floats(0, 1), floats(), floats(2)],
        {"mode": "linear"},
        expected=[floats(0, 0.25, 0.75, 1)],
    ),
    Case(
        "Resize",
        11,
        [IMAGE, floats(), floats(1, 1, 2, 1.5)],
        {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
    ),
    Case("Resize", 11, [IMAGE, floats(), floats(), ints(1, 2, 3, 9)], {"mode": "cubic"}),
    Case("Resize", 13, [IMAGE, None, None, ints(1, 2, 3, 9)], {"mode": "cubic"}),
    Case("Resize", 13, [IMAGE.astype(np.uint8), None, floats(1, 1, 2, 2.5)], {"mode": "linear"}),
    # the spec's length: floor(4·(0.75 - 0.25)·2) = 4 along the last two axes. ONNX Runtime
    # ignores the roi here and makes them 8.
    Case(
        "Resize",
        13,
        [SQUARE, floats(0, 0, 0.25, 0.25, 1, 1, 0.75, 0.75), floats(1, 1, 2, 2)],
        {"mode": "linear", **CROP},
        expected=[(np.arange(4) * 0.5 + 0.75 + 4 * (np.arange(4) * 0.5 + 0.75)[:, None])[None, None]
                  .astype(F)],
        note="roi",
    ),
    Case(
        "Resize",
        13,
        [SQUARE, floats(0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7), None, ints(1, 1, 3, 3)],
        {"mode": "linear", "extrapolation_value": 10.0, **CROP},
    ),
    Case(
        "Resize",
        18,
        [IMAGE, None, None, ints(3, 4)],
        {"mode": "linear", "antialias": 1, "axes": [2, 3]},
    ),
    Case(
        "Resize",
        18,
        [IMAGE, None, None, ints(7, 8)],
        {"mode": "linear", "axes": [3, 2], "keep_aspect_ratio_policy": "not_larger"},
    ),
    Case(
        "Resize",
        18,
        [IMAGE, None, floats(0.5, 0.6)],
        {"mode": "cubic", "antialias": 1, "axes": [2, 3], "cubic_coeff_a": -0.5},
    ),
    Case(
        "Resize",
        19,
        [IMAGE, None, floats(1, 1, 0.7, 1.3)],
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
    ),
    # the spec's length_resized is 0.6·4 = 2.4, and x(1) = 3 / 1.4; ONNX Runtime says 2 and 3
    Case(
        "Resize",
        19,
        [ROW, None, floats(0.6)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        expected=[floats(1, 1 + 3 / 1.4)],
    ),
    # the spec's x_original of a single output is 0, not -0.5 as the reference has it
    Case(
        "Resize",
        19,
        [ROW, None, None, ints(1)],
        {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"},
        expected=[floats(1)],
    ),
    Case("Resize", 19, [np.array([0, 10, 3, 7], np.uint8), None, floats(0.7)],
         {"mode": "linear", "antialias": 1}, expected=[np.array([3, 6], np.uint8)]),
    Case("Resize", 19, [np.array([0, 255], np.uint8), None, floats(3)], {"mode": "cubic"},
         expected=[np.array([0, 0, 80, 174, 255, 255], np.uint8)], note="clipped"),
    Case("Resize", 19, [WORDS, None, floats(2)], expected=[WORDS[[0, 0, 1, 1]]]),
    # 10·0.7 is 7 in float32, and the output has 7 elements
    Case("Resize", 19, [np.arange(10.0), None, floats(0.7)],
         expected=[np.array([0.0, 2, 3, 4, 6, 7, 9])]),
    Case("Resize", 19, [np.array([1, 3j], np.complex64), None, floats(2)], {"mode": "linear"},
         expected=[np.array([1, 0.75 + 0.75j, 0.25 + 2.25j, 3j], np.complex64)]),
    Case("Resize", 19, [floats(), None, None, ints(0)], expected=[floats()]),
    Case("Resize", 19, [F(3), None, None, None], {"axes": []}, expected=[F(3)]),
    Case("Upsample", 1, [IMAGE], {"height_scale": 2.0, "width_scale": 1.5},
         expected=[IMAGE[:, :, [0, 0, 1, 1, 2, 2, 3, 3]][..., [0, 0, 1, 2, 2, 3, 4, 4, 5]]]),
    Case("Upsample", 1, [floats(0, 1).reshape(1, 1, 1, 2)],
         {"height_scale": 1.0, "width_scale": 2.0, "mode": "bilinear"},
         expected=[floats(0, 0.5, 1, 1).reshape(1, 1, 1, 4)]),
    Case("Upsample", 7, [IMAGE], {"scales": [1.0, 1.0, 2.0, 1.5]}),
    Case("Upsample", 7, [IMAGE], {"scales": [1.0, 1.0, 2.0, 1.5], "mode": "linear"}),
    Case("Upsample", 9, [IMAGE, floats(1, 1, 2.2, 1.6)]),
    Case("Upsample", 9, [IMAGE, floats(1, 1, 2.2, 1.6)], {"mode": "linear"}),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


MODES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)


@st.composite
def resizes(draw):
    """What ONNX Runtime can resize: (1, 2, H, W) along the last two axes."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    dtype = draw(st.sampled_from([F, F, np.uint8, np.int8, np.int32]))
    x = np.random.default_rng(draw(st.integers(0, 99))).uniform(0, 100, (1, 2, height, width))
    coordinates = draw(st.sampled_from(MODES))
    attributes = {
        "mode": draw(st.sampled_from(["nearest", "linear", "cubic"])),
        "coordinate_transformation_mode": coordinates,
    }
    # the middle of half_pixel_symmetric is exact here and a rounding off in ONNX Runtime
    assume("nearest" not in attributes.values() or "symmetric" not in coordinates)
    if attributes["mode"] == "nearest":
        modes = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = draw(st.sampled_from(modes))
    else:
        attributes["antialias"] = draw(st.integers(0, 1)) if "crop" not in coordinates else 0
    if attributes["mode"] == "cubic":
        attributes["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    if attributes["mode"] == "cubic" or attributes.get("antialias"):
        # ONNX Runtime has no cubic of integers, and rounds them between axes when antialiasing
        dtype = F
    roi = scales = sizes = None
    if coordinates == "tf_crop_and_resize":
        ends = draw(st.lists(st.integers(-2, 10), min_size=4, max_size=4))
        roi = floats(0, 0, *(e / 8 for e in ends[:2]), 1, 1, *(e / 8 for e in ends[2:]))
        attributes["extrapolation_value"] = 7.0
    if coordinates in ("align_corners", "tf_crop_and_resize") or draw(st.booleans()):
        sizes = ints(1, 2, draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    else:
        least = 1.0625 / min(height, width)
        scales = floats(
            1, 1, *(draw(st.floats(float(F(max(least, 0.2))), 3, width=32)) for _ in range(2))
        )
    return Case("Resize", 19, [x.astype(dtype), roi, scales, sizes], attributes)


@settings(max_examples=60, deadline=None)
@given(resizes())
def test_resize_like_onnxruntime(case):
    (expected,) = run_onnxruntime(one_node_model(case), feeds_of(case))
    (actual,) = run_directly(case)
    # ONNX Runtime copies where the length stays, whatever the roi, and though 2·1.25 is 2 and
    # x(1) is 0.7, not 1
    x, roi, scales, _ = case.inputs
    stays = (np.array(actual.shape) == x.shape)[2:]
    assume(not (stays.any() if scales is None and roi is not None else stays.all()))
    assume(scales is None or not (stays & (scales[2:] != 1)).any())
    if case.inputs[0].dtype != F:
        # where the interpolated value is within rounding of a step, either side of it will do
        real = replace(case, inputs=[case.inputs[0].astype(np.float64), *case.inputs[1:]])
        (exact,) = run_directly(real)
        step = abs(exact - np.rint(exact)) < 1e-3
        actual = np.where(step & (abs(actual - exact) < 1.001), expected, actual)
    assert_same(actual, expected, rtol=1e-4, atol=1e-3)


def test_axes_of_any_rank_are_resized_one_after_the_other():
    """What is separable: 5-D linear is two 1-D ones."""
    x = np.random.default_rng(0).random((2, 3, 4, 2, 5))
    both = run_directly(Case("Resize", 19, [x, None, floats(2, 1, 0.5, 1, 1)], {"mode": "linear"}))
    one = run_directly(Case("Resize", 19, [x, None, floats(2)], {"mode": "linear", "axes": [0]}))
    two = run_directly(
        Case("Resize", 19, [*one, None, floats(0.5)], {"mode": "linear", "axes": [2]})
    )
    assert_same(both, two)


def test_negative_axes_count_from_the_end():
    """ONNX Runtime answers (1, 2, 8, 6) here: its policy reads axes before it normalizes them."""
    policy = {"mode": "linear", "keep_aspect_ratio_policy": "not_larger"}
    inputs = [IMAGE, None, None, ints(7, 8)]
    found = run_directly(Case("Resize", 18, inputs, {"axes": [-1, 2], **policy}))
    assert found[0].shape == (1, 2, 5, 7)
    assert_same(found, run_directly(Case("Resize", 18, inputs, {"axes": [3, 2], **policy})))


def test_what_comes_out_is_the_callers_own():
    x = ROW.copy()
    (y,) = run_directly(Case("Resize", 19, [x, None, floats(1)]))
    assert y is not x and not np.shares_memory(x, y)


@pytest.mark.parametrize(
    "inputs, attributes, message",
    [
        ([ROW], {}, "either scales or sizes must be given"),
        ([ROW, None, floats(1), ints(4)], {}, "either scales or sizes must be given"),
        ([ROW, None, floats(1, 1)], {}, "scales of shape"),
        ([ROW, None, floats(-1)], {}, "should be positive"),
        ([ROW, None, None, ints(-1)], {}, "negative"),
        ([floats(), None, None, ints(1)], {}, "length 0"),
        ([ROW, None, floats(2)], {"mode": "quintic"}, "mode 'quintic'"),
        ([ROW, None, floats(2)], {"nearest_mode": "up"}, "nearest_mode 'up'"),
        ([ROW, None, floats(2)], {"coordinate_transformation_mode": "any"}, "'any'"),
        ([ROW, None, floats(2)], CROP, "needs a roi"),
        ([WORDS, None, floats(2)], {"mode": "linear"}, "only mode nearest"),
        ([ROW, None, None, ints(2)], {"keep_aspect_ratio_policy": "bend"}, "'bend'"),
    ],
)
def test_refused(inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case("Resize", 19, inputs, attributes))


def test_upsample_does_not_shrink():
    with pytest.raises(ValueError, match="at least 1"):
        run_directly(Case("Upsample", 9, [ROW, floats(0.5)]))
