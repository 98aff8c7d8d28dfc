"""The fast form of TopK against the plain operator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx.indexing import top_k
from onnxwalk.ops.fast.topk import bind_top_k
from tests.support.bound import run_bound

f32 = np.float32


def agree(x, k, **attributes):
    k = np.array([k])
    found = run_bound(bind_top_k, [x, k], known=[1], used_outputs=(True, True), **attributes)
    for one, other in zip(found, top_k(x, k, **attributes), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("largest", [0, 1])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_like_the_plain_operator(largest, data):
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 6), max_size=2))
    axis = draw(st.integers(0, len(shape)))
    shape.insert(axis, draw(st.integers(1, 700)))
    rng = np.random.default_rng(shape)
    x = rng.standard_normal(shape).astype(f32)
    if draw(st.booleans()):
        x = np.round(x * draw(st.integers(1, 20)))  # many are equal, and many are -0
    special = [np.nan, -np.nan, np.inf, -np.inf, 0, -0.0, 1e-45]
    for value in draw(st.lists(st.sampled_from(special), max_size=3)):
        x[rng.random(shape) < draw(st.sampled_from([0.01, 0.5]))] = value
    x = x.transpose(draw(st.permutations(range(x.ndim))))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    k = draw(st.integers(1, x.shape[axis]) | st.integers(1, min(9, x.shape[axis])))
    agree(x, k, axis=axis, largest=largest, sorted=draw(st.integers(0, 1)))


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_sorted_or_equal_elements(largest, sign):
    x = np.tile(np.arange(5000, dtype=f32) * sign, (3, 1))
    for source in (x, x // 100, np.zeros_like(x), np.full_like(x, np.nan)):
        for k in (1, 5, 100, 4999):
            agree(source, k, largest=largest)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("most", [100, 1 << 20])
def test_argsort_of_integers(largest, most):
    x = np.random.default_rng(0).integers(-most, most, (3, 500))
    found = run_bound(
        bind_top_k, [x, np.array([500])], known=[1], used_outputs=(False, True), largest=largest
    )
    np.testing.assert_array_equal(found[1], top_k(x, np.array([500]), largest=largest)[1])


def test_other_inputs_are_declined():
    x = np.zeros((2, 5), f32)
    assert run_bound(bind_top_k, [x, np.array([2])], used_outputs=(True, True)) is None
    for source, k in ((x.astype(np.float64), 2), (x, 0), (x[:, :0], 0), (x, 6)):
        known = {"known": [1], "used_outputs": (True, True)}
        assert run_bound(bind_top_k, [source, np.array([k])], **known) is None
