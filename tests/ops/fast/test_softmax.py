"""Fast forms of Softmax and LogSoftmax against the plain operators."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx.softmax import log_softmax, softmax
from onnxwalk.ops.fast import softmax as fast
from tests.support.bound import run_bound

f32, f64 = np.float32, np.float64
BINDS = {softmax: fast.bind_softmax, log_softmax: fast.bind_log_softmax}


def agree(function, x, axis, expiring=()):
    found = run_bound(BINDS[function], [x], expiring=expiring, axis=axis)
    if found is None:
        assert function is log_softmax
        return
    expected = function(x, axis=axis)
    assert found[0].dtype == x.dtype and found[0].shape == x.shape
    tolerance = 1e-5 if x.dtype == f32 else 1e-13
    absolute = 1e-35 if function is softmax else tolerance / 10  # log(1 + e) loses digits of e
    np.testing.assert_allclose(found[0], expected, rtol=tolerance, atol=absolute)


@pytest.mark.parametrize("function", BINDS)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_like_the_plain_operator(function, data):
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(shape)
    spread = draw(st.sampled_from([0, 1, 10, 60, 1000, 1e30]))
    x = (rng.standard_normal(shape) * spread).astype(draw(st.sampled_from([f32, f64])))
    x += x.dtype.type(draw(st.sampled_from([0, 20, -20, 100, -100])))
    for value in draw(st.lists(st.sampled_from([np.inf, -np.inf, np.nan, -1e9, 3e38]))):
        x[tuple(draw(st.integers(0, n - 1)) for n in shape)] = value
    if x.ndim == 4 and draw(st.booleans()):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    agree(function, x, axis, draw(st.sampled_from([(), (0,)])))


@pytest.mark.parametrize("function", BINDS)
@pytest.mark.parametrize("shape", [(700, 200), (3, 70000), (2, 400, 500), (1, 1000), (5000, 1)])
def test_several_blocks_of_which_one_is_special(function, shape):
    x = np.random.default_rng(shape).standard_normal(shape).astype(f32)
    agree(function, x, -1)
    for value in (np.inf, -np.inf, np.nan, 200, -200):
        x[-1] = value
        agree(function, x, -1)
    x[0, ..., 0] = np.inf
    agree(function, x, -1, expiring=(0,))


def test_an_axis_of_one_element():
    x = np.linspace(-200, 200, 1000, dtype=f32)[:, None]
    np.testing.assert_array_equal(run_bound(fast.bind_softmax, [x])[0], 1)


def test_other_inputs_are_declined():
    for bind in BINDS.values():
        assert run_bound(bind, [np.zeros((2, 3), np.float16)]) is None
        assert run_bound(bind, [np.zeros((2, 0), f32)]) is None
