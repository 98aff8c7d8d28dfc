"""CDist and DynamicTimeWarping, held against ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import check, run_directly
from tests.support.microsoft import case, f, like_onnxruntime

A, B = (np.random.default_rng(seed).normal(size=(n, 4)) for seed, n in ((0, 3), (1, 5)))
SPECIAL = A.copy()
SPECIAL[0, 1], SPECIAL[1, 2] = np.nan, np.inf
COSTS = f([[1, 2, 9], [3, 1, 1], [9, 1, 0]])

# fmt: off
CASES = [
    *(case("CDist", [a.astype(dtype), B.astype(dtype)], {"metric": metric})
      for metric in ("euclidean", "sqeuclidean")
      for dtype in (np.float32, np.float64)
      for a in (A, A[:0], SPECIAL)),
    case("CDist", [f([[0, 0]]), f([[3, 4], [0, 1]])], {"metric": "euclidean"}, [f([[5, 1]])]),
    case("CDist", [f([[0.1, 0.7]]), f([[0.1, 0.7]])], {"metric": "euclidean"}, [f([[0]])],
         atol=1e-3, note="no NaN where the difference comes out below 0"),
    case("CDist", [A[:, :0], B[:, :0]], expected=[np.zeros((3, 5))], note="points without numbers"),
    case("DynamicTimeWarping", [COSTS]),
    case("DynamicTimeWarping", [COSTS[None]]),
    case("DynamicTimeWarping", [COSTS], expected=[np.array([[0, 1, 2], [0, 1, 2]], np.int32)]),
    case("DynamicTimeWarping", [f([[1, 1], [1, 1]])],
         expected=[np.array([[0, 1], [0, 1]], np.int32)]),
    case("DynamicTimeWarping", [COSTS[:1]]),
    case("DynamicTimeWarping", [COSTS[:, :1]]),
    case("DynamicTimeWarping", [COSTS[:0]], expected=[np.zeros((2, 0), np.int32)]),
    case("DynamicTimeWarping", [COSTS[:, :0]], expected=[np.zeros((2, 0), np.int32)]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_paths_like_onnxruntime(data):
    """Small whole numbers: equal costs, and sums that are exact; infinities and NaN among them."""
    values = st.sampled_from([0, 1, 2, 3, -1, np.inf, -np.inf, np.nan])
    rows, columns = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    size = rows * columns
    costs = data.draw(st.lists(values, min_size=size, max_size=size))
    like_onnxruntime(case("DynamicTimeWarping", [f(costs).reshape(rows, columns)]))


REFUSED = [
    (case("CDist", [A, B[:, :3]]), "should be"),
    (case("CDist", [A[0], B]), "should be"),
    (case("DynamicTimeWarping", [np.zeros((2, 3, 4), np.float32)]), "should be"),
    (case("DynamicTimeWarping", [np.zeros(3, np.float32)]), "should be"),
]


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
