"""The fast forms of Resize against the plain operator."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx.image import resize
from onnxwalk.ops.fast.image import bind_resize
from tests.support.bound import run_bound


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_nearest(data):
    draw = data.draw
    shape = [draw(st.integers(1, most)) for most in (3, 4, 9, 9)]
    x = np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
    if draw(st.booleans()):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    attributes = {
        "coordinate_transformation_mode": draw(
            st.sampled_from(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
        ),
        "nearest_mode": draw(
            st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
        ),
    }
    factors = [draw(st.sampled_from([0.5, 1, 1.5, 2, 3])) for _ in range(2)]
    scales = np.array([1, 1, *factors], np.float32)
    expected = resize(x, None, scales, **attributes)
    assume(expected.size)
    margin = draw(st.sampled_from([(0, 0, 0, 0), (1, 2, 0, 1)]))
    found = run_bound(bind_resize, [x, None, scales], known=[2], margin=margin, **attributes)
    np.testing.assert_array_equal(found[0], expected)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_linear(data):
    draw = data.draw
    shape = [draw(st.integers(1, most)) for most in (3, 4, 9, 9)]
    x = np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
    if draw(st.booleans()):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    mode = draw(st.sampled_from(modes))
    attributes = {"mode": "linear", "coordinate_transformation_mode": mode}
    factors = [draw(st.integers(1, 4)) for _ in range(2)]
    if mode == "half_pixel" and draw(st.booleans()):
        x[..., -1, draw(st.integers(0, shape[3] - 1))] = draw(st.sampled_from([np.inf, np.nan]))
    scales = np.array([1, 1, *factors], np.float32)
    margin = draw(st.sampled_from([(0, 0, 0, 0), (1, 2, 0, 1)]))
    found = run_bound(bind_resize, [x, None, scales], known=[2], margin=margin, **attributes)
    if factors == [1, 1]:
        assert found is None
        return
    expected = resize(x, None, scales, **attributes)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)


def test_linear_in_several_blocks():
    x = np.random.default_rng(0).standard_normal((2, 40, 50, 60)).astype(np.float32)
    for sizes in ([2, 40, 100, 120], [2, 40, 50, 180], [2, 40, 150, 60]):
        known = [None, None, np.array(sizes)]
        expected = resize(x, *known, mode="linear")
        for order in ([0, 1, 2, 3], [0, 2, 3, 1]):
            source = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
            (found,) = run_bound(bind_resize, [source, *known], known=[3], mode="linear")
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_other_inputs_are_declined():
    x = np.zeros((1, 2, 4, 4), np.float32)
    for scales, attributes in (
        ([1, 1, 1.5, 2], {}),
        ([1, 1, 0.5, 0.5], {}),
        ([1, 2, 2, 2], {}),
        ([1, 1, 2, 2], {"antialias": 1}),
        ([1, 1, 2, 2], {"exclude_outside": 1}),
    ):
        given_scales = np.array(scales, np.float32)
        inputs = [x, None, given_scales]
        assert run_bound(bind_resize, inputs, known=[2], mode="linear", **attributes) is None
