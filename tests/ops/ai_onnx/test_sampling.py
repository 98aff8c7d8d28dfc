"""GridSample, AffineGrid, RoiAlign and DeformConv: by hand, and against ONNX Runtime."""

import itertools

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

f32, f16 = np.float32, np.float16


def noise(*shape, seed=0, dtype=f32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def row(*values, dtype=f32):
    return np.array([[[values]]], dtype)


def along_x(*values):
    """A grid of one row at these x and y = 0."""
    return np.array([[[(x, 0) for x in values]]], f32)


IMAGE = noise(2, 3, 4, 5)
GRID = noise(2, 3, 6, 2)
VOLUME = noise(1, 2, 3, 4, 5)
VOLUME_GRID = noise(1, 2, 3, 2, 3)
ROIS = np.array([[0, 0, 3, 2], [1.5, 0.5, 4, 3.5], [2, 2, 2.2, 2.1]], f32)
WHICH = np.array([0, 1, 1], np.int64)
ONE = np.ones((1, 1, 1, 1), f32)

# fmt: off
CASES = [
    # edges are the outer edges of the corner pixels, or their centres
    Case("GridSample", 16, [row(1, 2, 3, 4), along_x(-1, 0, 0.5)],
         expected=[row(0.5, 2.5, 3.5)]),
    Case("GridSample", 16, [row(1, 2, 3, 4), along_x(-1, 0, 0.5)], {"align_corners": 1},
         expected=[row(1, 2.5, 3.25)]),
    # between two pixels nearest takes the even one; x = 1.5, 2.5 -> 2, 2
    Case("GridSample", 20, [row(1, 2, 3, 4), along_x(0, 0.5)], {"mode": "nearest"},
         expected=[row(3, 3)]),
    # far outside, and at no place at all
    *(Case("GridSample", 20, [row(1, 2, 3, 4), along_x(9, 1e20, np.inf, -np.inf, np.nan)],
           {"mode": mode, "padding_mode": padding}, [row(*expected, np.nan)],
           note=f"{mode} {padding}")
      for mode in ("nearest", "linear", "cubic")
      for padding, expected in (("zeros", [0, 0, 0, 0]), ("border", [4, 4, 4, 1]))),
    # a whole number of periods, 8, and one that is none
    Case("GridSample", 20, [row(1, 2, 3, 4), along_x(2.0**62, np.inf)],
         {"padding_mode": "reflection"}, expected=[row(1, np.nan)]),
    Case("GridSample", 20, [row(1, 2, dtype=np.uint8), along_x(np.nan, 0)],
         expected=[row(0, 1, dtype=np.uint8)], note="no NaN"),
    Case("GridSample", 16, [row("a", "b", dtype=object), along_x(-0.5, 0.5, 5)],
         {"mode": "nearest"}, expected=[row("a", "b", "", dtype=object)]),
    Case("GridSample", 20, [row(10, 20, dtype=np.uint8), along_x(0.1)],
         {"padding_mode": "border"}, expected=[row(15 + 1, dtype=np.uint8)]),
    Case("GridSample", 22, [row(1, 2, 3, 4, dtype=f16), along_x(-1.5).astype(f16)],
         {"padding_mode": "reflection"}, expected=[row(1.5, dtype=f16)]),
    Case("GridSample", 22, [row(1, dtype=f16), along_x(-9).astype(f16)],
         {"padding_mode": "reflection", "align_corners": 1}, expected=[row(1, dtype=f16)]),
    Case("GridSample", 20, [np.array([[[1, 2, 3, 4]]], f32), np.array([[[-1], [0.5]]], f32)],
         expected=[np.array([[[0.5, 3.5]]], f32)], note="one spatial axis"),
    *[Case("GridSample", 16, [IMAGE, GRID],
           {"mode": mode, "padding_mode": padding, "align_corners": align}, atol=1e-5)
      for mode in ("bilinear", "bicubic") for padding in ("zeros", "border", "reflection")
      for align in (0, 1)],
    *[Case("GridSample", 20, [VOLUME, VOLUME_GRID], {"mode": mode, "padding_mode": padding})
      for mode in ("linear", "nearest") for padding in ("zeros", "border", "reflection")],
    Case("AffineGrid", 20, [noise(2, 2, 3), np.array([2, 3, 4, 5])]),
    # a single pixel lies at 0: so PyTorch; the spec's body says NaN, and ONNX Runtime 1
    Case("AffineGrid", 20, [np.array([[[1, 0, 0], [0, 1, 0]]], f32), np.array([1, 3, 1, 3])],
         {"align_corners": 1}, expected=[np.array([[[[-1, 0], [0, 0], [1, 0]]]], f32)]),
    Case("AffineGrid", 20, [noise(1, 3, 4), np.array([1, 3, 2, 4, 5])], {"align_corners": 1}),
    Case("AffineGrid", 20, [np.array([[[1, 0, 0], [0, 1, 0]]], f16), np.array([1, 1, 1, 2])],
         expected=[np.array([[[[-0.5, 0], [0.5, 0]]]], f16)]),
    # 16 shifts by half a pixel: a region over the whole image reads pixels' centres
    Case("RoiAlign", 10, [row(1, 2, 3), np.array([[0, 0, 2, 1]], f32), WHICH[:1]],
         {"output_width": 2}, expected=[row(1.5, 2.5)]),
    Case("RoiAlign", 16, [row(1, 2, 3), np.array([[0, 0, 2, 1]], f32), WHICH[:1]],
         {"output_width": 2}, expected=[row(1, 2)]),
    Case("RoiAlign", 10, [IMAGE, ROIS, WHICH], {"output_height": 2, "output_width": 3}),
    Case("RoiAlign", 16, [IMAGE, ROIS, WHICH],
         {"output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.7}),
    Case("RoiAlign", 16, [IMAGE, ROIS, WHICH], {"output_height": 2, "mode": "max"}),
    Case("RoiAlign", 22, [row(1, 2, 3, dtype=f16), np.array([[0, 0, 2, 1]], f16), WHICH[:1]],
         {"output_width": 2}, expected=[row(1, 2, dtype=f16)]),
    # no offset is a Conv; half a pixel to the right is the mean of two
    Case("DeformConv", 19, [row(1, 2, 4), ONE, np.zeros((1, 2, 1, 3), f32)],
         expected=[row(1, 2, 4)]),
    Case("DeformConv", 19, [row(1, 2, 4), 2 * ONE,
                            np.array([[[[0, 0, 0]], [[0.5, 0.5, 0.5]]]], f32),
                            np.ones(1, f32), np.array([[[[1, 1, 10]]]], f32)],
         expected=[row(4, 7, 41)]),
    Case("DeformConv", 22, [row(1, 2, 4, dtype=f16), ONE.astype(f16), np.zeros((1, 2, 1, 3), f16)],
         expected=[row(1, 2, 4, dtype=f16)]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_grid_sample_like_onnxruntime(data):
    draw, size = data.draw, st.integers(1, 6)
    n, c = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    x = noise(n, c, draw(size), draw(size), seed=draw(st.integers(0, 99)))
    grid = noise(n, draw(size), draw(size), 2, seed=draw(st.integers(0, 99))) * draw(
        st.sampled_from([0.5, 3])
    )
    attributes = {
        "mode": draw(st.sampled_from(["linear", "nearest", "cubic"])),
        "padding_mode": draw(st.sampled_from(["zeros", "border"] + ["reflection"] * (x.size > 9))),
        "align_corners": draw(st.integers(0, 1)),
    }
    if attributes["align_corners"] and attributes["padding_mode"] == "reflection":
        x = np.concatenate([x, x], 2)  # ONNX Runtime divides by 0 where there is one pixel
        x = np.concatenate([x, x], 3)
    case = Case("GridSample", 20, [x, grid], attributes)
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_roi_align_like_onnxruntime(data):
    draw, size = data.draw, st.integers(1, 7)
    x = noise(2, draw(size), draw(size), draw(size))
    # never on a point where a region ends to the last bit: which side it is on is rounding's to say
    corner = st.integers(-8, 40).map(lambda quarter: quarter / 4 + 0.0371)
    rois = np.array([[draw(corner) for _ in range(4)] for _ in range(3)], f32)
    attributes = {
        "mode": draw(st.sampled_from(["avg", "max"])),
        "output_height": draw(st.integers(1, 4)),
        "output_width": draw(st.integers(1, 4)),
        "sampling_ratio": draw(st.integers(0, 3)),
        "spatial_scale": draw(st.sampled_from([1.0, 0.5])),
    }
    mode = draw(st.sampled_from(["half_pixel", "output_half_pixel"]))
    rois[:, 2:] = np.maximum(rois[:, 2:], rois[:, :2])
    case = Case(
        "RoiAlign", 16, [x, rois, WHICH], {"coordinate_transformation_mode": mode, **attributes}
    )
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_deform_conv_is_its_sum(data):
    """The sum of the docstring, one product at a time."""
    draw = data.draw
    group, parts = draw(st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]))
    stride, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x, w = noise(1, 4, 5, 6), noise(2, 4 // group, 2, 3)
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    high = (5 + pads[0] + pads[2] - dilation - 1) // stride + 1
    wide = (6 + pads[1] + pads[3] - 2 * dilation - 1) // stride + 1
    offset, mask = noise(1, parts * 12, high, wide), noise(1, parts * 6, high, wide)
    attributes = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": pads}
    attributes |= {"group": group, "offset_group": parts}
    expected = np.zeros((1, 2, high, wide))
    moved, weights = (
        offset.reshape(parts, 2, 3, 2, high, wide),
        mask.reshape(parts, 2, 3, high, wide),
    )
    for m, k, i, j, a, b in itertools.product(*map(range, (2, 4 // group, 2, 3, high, wide))):
        c = m // (2 // group) * (4 // group) + k
        part = c // (4 // parts)
        p = a * stride + i * dilation - pads[0] + moved[part, i, j, 0, a, b]
        q = b * stride + j * dilation - pads[1] + moved[part, i, j, 1, a, b]
        value = sum(
            x[0, c, r, s] * max(0, 1 - abs(p - r)) * max(0, 1 - abs(q - s))
            for r, s in itertools.product(range(5), range(6))
        )
        expected[0, m, a, b] += w[m, k, i, j] * weights[part, i, j, a, b] * value
    case = Case("DeformConv", 19, [x, w, offset, None, mask], attributes)
    assert_same(run_directly(case), [expected.astype(f32)], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "operator, opset, inputs, attributes, message",
    [
        ("GridSample", 20, [IMAGE, GRID], {"mode": "bilinear"}, "mode 'bilinear'"),
        ("GridSample", 16, [IMAGE, GRID], {"mode": "linear"}, "mode 'linear'"),
        ("GridSample", 16, [VOLUME, VOLUME_GRID], {}, "should be"),
        ("GridSample", 20, [IMAGE, GRID], {"padding_mode": "wrap"}, "'wrap'"),
        ("GridSample", 20, [IMAGE, VOLUME_GRID], {}, "are incompatible"),
        ("AffineGrid", 20, [noise(2, 2, 3), np.array([2, 3, 4])], {}, "are incompatible"),
        ("RoiAlign", 16, [IMAGE, ROIS, WHICH[:2]], {}, "batch_indices"),
        ("RoiAlign", 16, [IMAGE, ROIS, WHICH + 5], {}, "out of range"),
        ("DeformConv", 19, [row(1, 2), ONE, ONE], {}, "offset"),
        ("DeformConv", 19, [row(1, 2), ONE, np.zeros((1, 2, 1, 2), f32)], {"group": 2}, "group 2"),
    ],
)
def test_refused(operator, opset, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, opset, inputs, attributes))
