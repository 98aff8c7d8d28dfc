"""Bound reductions against the plain operators."""

import numpy as np
import pytest

from onnxwalk.ops.ai_onnx import reduce
from onnxwalk.ops.fast.reduce import bind_reduce_sum, extreme_binder
from onnxwalk.ops.shared.numeric import wide
from onnxwalk.ops.shared.numpy_state import computing
from tests.support.bound import run_bound

BINDERS = {
    "ReduceSum": (bind_reduce_sum, reduce.reduce_sum),
    "ReduceMax": (extreme_binder(np.maximum), reduce.reduce_max),
    "ReduceMin": (extreme_binder(np.minimum), reduce.reduce_min),
}


def values(shape, dtype, seed=0):
    """Ordinary numbers, and all that is special to the type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    x = rng.standard_normal(shape).astype(dtype)
    x.reshape(-1)[:: max(1, x.size // 7)] = np.resize(
        [np.nan, np.inf, -np.inf, 0.0, 3.0], x.reshape(-1)[:: max(1, x.size // 7)].shape
    )
    return x


@pytest.mark.parametrize("name", BINDERS)
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5, 6, 3), 2),
        ((5, 6, 3), -1),
        ((4, 12), 1),
        ((4, 13), 1),
        ((4, 1), 1),
        ((3, 4), 0),
        ((7,), 0),
    ],
)
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "uint8", "int32", "int64"]
)
def test_along_one_axis(name, dtype, shape, axis, keepdims):
    bind, plain = BINDERS[name]
    x = values(shape, dtype)
    with computing():
        found = run_bound(bind, [x, np.array([axis])], known=[1], keepdims=keepdims)
        expected = plain(x, (axis % x.ndim,), bool(keepdims))
    if found is None:
        assert name == "ReduceSum" and np.dtype(dtype).kind == "f"
        assert dtype == "float16" or shape[axis] in (1, 13) or (axis == 0 and len(shape) == 2)
        return
    assert found[0].dtype == expected.dtype and found[0].shape == np.shape(expected)
    np.testing.assert_allclose(wide(found[0]), wide(np.asarray(expected)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("axes", [[0, 1], [1, 2], [0, 2], [0, 1, 2]])
def test_along_several_axes(name, axes):
    bind, plain = BINDERS[name]
    x = values((3, 4, 5), "float32", seed=3)
    with computing():
        (found,) = run_bound(bind, [x, np.array(axes)], known=[1], keepdims=0)
        np.testing.assert_array_equal(found, plain(x, tuple(axes), False))


def test_axes_that_change_are_left_to_the_operator():
    x = values((3, 4), "float32")
    for bind, _ in BINDERS.values():
        assert run_bound(bind, [x, np.array([1])]) is None
        assert run_bound(bind, [x[:0], np.array([1])], known=[1]) is None
