"""CropAndResize, GridSample and MaxpoolWithMask, held against ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import check, run_directly
from tests.support.microsoft import case, f, i32, like_onnxruntime, normal

ROIS = f([[0, 0, 1, 1], [0.1, 0.2, 0.9, 1.2], [0.8, 0.1, 0.3, 0.6]])
MASK = np.random.default_rng(0).integers(0, 3, (1, 1, 5, 6)).astype(np.int32)
SPECIAL = normal(2, 3, 5, 6)
SPECIAL[0, 0, 1, 1:4] = np.nan, -np.inf, np.inf

# fmt: off
CASES = [
    case("CropAndResize", [normal(2, 2, 4, 5), ROIS, i32(0, 1, 1), i32(3, 4)],
         {"extrapolation_value": 9.0}, atol=1e-5),
    case("CropAndResize", [normal(2, 2, 4, 5), ROIS, i32(0, 1, 1), i32(3, 4)],
         {"mode": "nearest"}),
    case("CropAndResize", [f([[[[0, 1, 2], [10, 11, 12], [20, 21, 22]]]]), f([[0, 0, 1, 0.5]]),
                           i32(0), i32(1, 2)], expected=[f([[[[10, 11]]]])], note="one row"),
    *(case("GridSample", [normal(2, 3, 4, 5), 1.2 * normal(2, 3, 2, 2, seed=1)],
           {"mode": mode, "padding_mode": padding, "align_corners": align}, atol=1e-5)
      for mode in ("bilinear", "nearest", "bicubic")
      for padding in ("zeros", "border", "reflection")
      for align in (0, 1)),
    case("GridSample", [normal(2, 3, 4, 5)[:0], normal(2, 3, 2, 2)[:0]]),
    case("GridSample", [normal(1, 1, 2, 2).astype(np.float64), np.zeros((1, 1, 1, 2))],
         expected=[normal(1, 1, 2, 2).astype(np.float64).mean().reshape(1, 1, 1, 1)]),
    case("MaxpoolWithMask", [SPECIAL, MASK], {"kernel_shape": [2, 3]}),
    case("MaxpoolWithMask", [SPECIAL, MASK], {
        "kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 0, 1, 2]}),
    case("MaxpoolWithMask", [SPECIAL, MASK], {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}),
    case("MaxpoolWithMask", [SPECIAL, 0 * MASK], {"kernel_shape": [5, 6]}),
    case("MaxpoolWithMask", [SPECIAL[:0], MASK], {"kernel_shape": [2, 2]}),
    case("MaxpoolWithMask", [f([[[1, 2, 5]]]), i32([[1, 0, 1]])], {"kernel_shape": [3]},
         [f([[[1]]])]),
    case("MaxpoolWithMask", [f([[[1, 2, 5]]]), i32([[0, 1, 1]])], {"kernel_shape": [2]},
         [f([[[np.finfo(np.float32).min, 5]]])]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_crops_like_onnxruntime(data):
    boxes, channels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rois = rng.uniform(-0.2, 1.2, (boxes, 4)).astype(np.float32)
    size = i32(data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5)))
    which = rng.integers(0, 2, boxes).astype(np.int32)
    made = case("CropAndResize", [normal(2, channels, height, width), rois, which, size])
    like_onnxruntime(made, rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_masked_pools_like_onnxruntime(data):
    rank = data.draw(st.integers(1, 3))
    spatial = [data.draw(st.integers(2, 6)) for _ in range(rank)]
    kernel = [data.draw(st.integers(1, min(3, n))) for n in spatial]
    attributes = {
        "kernel_shape": kernel,
        "strides": [data.draw(st.integers(1, 3)) for _ in range(rank)],
        "pads": [data.draw(st.integers(0, k - 1)) for k in kernel * 2],
    }
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.choice([-2, -1, 0, 1, 2, np.nan, np.inf, -np.inf], (2, 2, *spatial)).astype(np.float32)
    mask = rng.integers(0, 3, (1, 1, *spatial)).astype(np.int32)
    like_onnxruntime(case("MaxpoolWithMask", [x, mask], attributes))


# fmt: off
REFUSED = [
    (case("CropAndResize", [normal(1, 1, 2, 2), ROIS, i32(0, 1, 0), i32(1, 1)]), "from 0 to 0"),
    (case("CropAndResize", [normal(1, 1, 2, 2), ROIS, i32(0), i32(1, 1)]), "boxes, 4"),
    (case("CropAndResize", [normal(1, 1, 2, 2), ROIS[:1], i32(0), i32(1, 1)], {"mode": "cubic"}),
     "'cubic'"),
    (case("GridSample", [normal(1, 1, 2, 2), normal(1, 1, 1, 2)], {"mode": "cubic"}), "'cubic'"),
    (case("MaxpoolWithMask", [SPECIAL, MASK.repeat(2, 1)], {"kernel_shape": [2, 2]}), "planes"),
    (case("MaxpoolWithMask", [SPECIAL, MASK[:, :, :4]], {"kernel_shape": [2, 2]}), "spatial axes"),
    (case("MaxpoolWithMask", [SPECIAL, MASK]), "rank"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
