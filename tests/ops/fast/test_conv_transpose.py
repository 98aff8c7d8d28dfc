"""The fast form of ConvTranspose against the plain operator in float64, on random shapes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx.conv_transpose import conv_transpose, prepare_conv_transpose
from tests.support.bound import run_bound

f32 = np.float32


def noise(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(f32)


def agree(x, w, b, margin=(0, 0, 0, 0), **attributes):
    found = run_bound(prepare_conv_transpose(w, b, **attributes).bind, [x], margin=margin)
    if found is None:
        return False
    wide = [None if a is None else a.astype(np.float64) for a in (x, w, b)]
    expected = conv_transpose(*wide, **attributes)
    assert found[0].dtype == f32 and found[0].shape == expected.shape
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-4)
    return True


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_like_the_plain_operator(data):
    draw = data.draw
    n, h, v = (draw(st.integers(1, most)) for most in (2, 9, 9))
    channels, outputs = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kernel = [draw(st.integers(1, 5)) for _ in range(2)]
    strides = [draw(st.integers(1, 3)) for _ in range(2)]
    attributes = {
        "strides": strides,
        "pads": [draw(st.integers(0, k)) for k in (*kernel, *kernel)],
        "output_padding": [draw(st.integers(0, s - 1)) for s in strides],
        "dilations": [draw(st.sampled_from([1, 1, 1, 2])) for _ in range(2)],
        "auto_pad": draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER"])),
    }
    if attributes["auto_pad"] != "NOTSET":
        del attributes["pads"]
    x, w = noise(n, channels, h, v), noise(channels, outputs, *kernel, seed=1)
    if draw(st.booleans()):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    b = draw(st.none() | st.just(noise(outputs, seed=2)))
    try:
        conv_transpose(x, w, b, **attributes)
    except ValueError:  # pads that leave less than nothing
        assume(False)
    margin = draw(st.sampled_from([(0, 0, 0, 0), (1, 2, 0, 1)]))
    agree(x, w, b, margin, **attributes)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(4, 2, 1), (2, 2, 0), (3, 1, 1), (3, 2, 1)])
def test_typical_layers_have_a_fast_form(kernel, stride, pad):
    x, w = noise(2, 40, 20, 30), noise(40, 24, kernel, kernel, seed=1)
    assert agree(x, w, noise(24, seed=2), strides=[stride] * 2, pads=[pad] * 4)


def test_infinities_do_not_spread():
    x, w = noise(1, 3, 6, 6), noise(3, 2, 4, 4, seed=1)
    x[0, 1, 2, 2], x[0, 0, 5, 5] = np.inf, np.nan
    assert agree(x, w, None, strides=[2, 2], pads=[1] * 4)
