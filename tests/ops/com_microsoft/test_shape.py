"""What com.microsoft has otherwise than ai.onnx, held against ONNX Runtime."""

import numpy as np
import pytest

from tests.support.harness import check, run_directly
from tests.support.microsoft import case, f, i32, normal

X = normal(2, 3, 4)
IMAGE = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3)).astype(np.uint8)

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
    *(case("UnfoldTensor", [X.astype(dtype)], {"dim": 1, "size": 2})
      for dtype in (np.float32, np.float64, np.int64)),
    case("UnfoldTensor", [X], {"size": 3, "step": 1}),
    case("UnfoldTensor", [normal(3, 8)], {"size": 3, "step": 2}),
    case("UnfoldTensor", [X[:0]], {"dim": -2, "size": 3}),
    case("UnfoldTensor", [np.array(list("abc"), object)], {"size": 2},
         [np.array([["a", "b"], ["b", "c"]], object)]),
    case("UnfoldTensor", [np.array([1, 2, 3], np.int8)], {"size": 2, "step": 5},
         [np.array([[1, 2]], np.int8)]),
    case("SampleOp", [X]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


# fmt: off
REFUSED = [
    (case("Unique", [X]), "vector"),
    (case("UnfoldTensor", [X], {"size": 5}), "should be from 1 to 4"),
    (case("UnfoldTensor", [X], {"size": 1, "step": 0}), "positive"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)
