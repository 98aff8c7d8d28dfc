"""Resize to the nearest pixel, bound, against the plain operator."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ops.fast.image import bind_resize
from ops.image import resize
from tests.bound import run_bound


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_as_the_plain_operator(data):
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
