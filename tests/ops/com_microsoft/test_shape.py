"""What com.microsoft has otherwise than ai.onnx, held against ONNX Runtime."""

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

MS = "com.microsoft"


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def i32(*values):
    return np.array(values, np.int32)


def case(operator, inputs, attributes=None, expected=None, outputs=1, **more):
    return Case(operator, 1, inputs, attributes or {}, expected, outputs, MS, **more)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X = normal(2, 3, 4)
IMAGE = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3)).astype(np.uint8)
ROIS = f([[0, 0, 1, 1], [0.1, 0.2, 0.9, 1.2], [0.8, 0.1, 0.3, 0.6]])

# fmt: off
CASES = [
    case("Trilu", [X, np.array(1)]),
    case("Trilu", [X], {"upper": 0}),
    case("Pad", [X, np.array([0, 1, 2, 1, -1, 0]), f([5])]),
    case("Pad", [X, np.array([[0, 1, 2, 1, 0, 0]])], {"mode": "edge"}, note="pads in a row"),
    case("ExpandDims", [X, np.array(-1, np.int32)]),
    case("ExpandDims", [X, np.array([1], np.int32)]),
    case("GatherND", [X, np.array([[0, 1], [1, 2]])]),
    case("GatherND", [X, i32([0, 1, 3], [1, 2, -1])]),
    case("Unique", [f([2, 1, 1, 3, 4, 3])], outputs=3),
    case("Range", [np.array(1), np.array(8), np.array(3)]),
    case("Range", [f(3), f(0), f(-0.5)]),
    case("Range", [i32(2).reshape(()), i32(5).reshape(())], expected=[i32(2, 3, 4)]),
    case("NhwcMaxPool", [IMAGE], {"kernel_shape": [2, 3], "strides": [2, 1]}),
    case("NhwcMaxPool", [IMAGE.view(np.int8)], {"kernel_shape": [3, 3], "pads": [1, 1, 0, 1]}),
    case("CropAndResize", [normal(2, 2, 4, 5), ROIS, i32(0, 1, 1), i32(3, 4)],
         {"extrapolation_value": 9.0}, atol=1e-5),
    case("CropAndResize", [normal(2, 2, 4, 5), ROIS, i32(0, 1, 1), i32(3, 4)],
         {"mode": "nearest"}),
    case("CropAndResize", [f([[[[0, 1, 2], [10, 11, 12], [20, 21, 22]]]]), f([[0, 0, 1, 0.5]]),
                           i32(0), i32(1, 2)], expected=[f([[[[10, 11]]]])], note="one row"),
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
    expected = run_onnxruntime(one_node_model(made), feeds_of(made))
    assert_same(run_directly(made), expected, rtol=1e-4, atol=1e-5)


# fmt: off
REFUSED = [
    (case("Unique", [X]), "vector"),
    (case("CropAndResize", [normal(1, 1, 2, 2), ROIS, i32(0, 1, 0), i32(1, 1)]), "from 0 to 0"),
    (case("CropAndResize", [normal(1, 1, 2, 2), ROIS, i32(0), i32(1, 1)]), "boxes, 4"),
    (case("CropAndResize", [normal(1, 1, 2, 2), ROIS[:1], i32(0), i32(1, 1)], {"mode": "cubic"}),
     "'cubic'"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)
