"""Fast forms of pools against the plain operators, on random shapes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx import pool
from onnxwalk.ops.fast import pool as fast
from tests.support.bound import run_bound

f32, f64 = np.float32, np.float64
BINDS = {
    pool.max_pool: fast.bind_max_pool,
    pool.average_pool: fast.bind_average_pool,
}


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def agree(function, x, margin=(0, 0, 0, 0), **attributes):
    expected = function(x, **attributes)
    expected = expected[0] if isinstance(expected, tuple) else expected
    found = run_bound(BINDS[function], [x], margin=margin, **attributes)
    if found is None:
        return False
    assert found[0].dtype == x.dtype and found[0].shape == expected.shape
    if function is pool.max_pool:
        np.testing.assert_array_equal(found[0], expected)
    else:
        tolerance = 1e-5 if x.dtype == f32 else 1e-13
        np.testing.assert_allclose(found[0], expected, rtol=tolerance, atol=tolerance)
    return True


@pytest.mark.parametrize("function", BINDS)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_like_the_plain_operator(function, data):
    draw = data.draw
    shape = [draw(st.integers(1, most)) for most in (3, 4, 12, 12)]
    x = np.random.default_rng(shape).standard_normal(shape)
    x = x.astype(draw(st.sampled_from([f32, f64])))
    for value in draw(st.lists(st.sampled_from([np.inf, -np.inf, np.nan]), max_size=2)):
        x[tuple(draw(st.integers(0, n - 1)) for n in shape)] = value
    if draw(st.booleans()):
        x = channels_last(x)
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    attributes = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        "pads": [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)],
        "dilations": [draw(st.sampled_from([1, 1, 2])) for _ in range(2)],
        "ceil_mode": draw(st.integers(0, 1)),
    }
    if function is pool.average_pool:
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    margin = draw(st.sampled_from([(0, 0, 0, 0), (1, 2, 0, 1)]))
    try:
        function(x, **attributes)
    except ValueError:  # windows that hold nothing, or none at all
        assume(False)
    agree(function, x, margin, **attributes)


@pytest.mark.parametrize("function", BINDS)
@pytest.mark.parametrize("shape", [(2, 50, 40, 41), (1, 3, 400, 300), (40, 1, 40, 40)])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 1, 2)])
def test_several_blocks(function, shape, kernel, stride, pad):
    x = np.random.default_rng(shape).standard_normal(shape).astype(f32)
    for source in (x, channels_last(x)):
        assert agree(
            function, source, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )


@pytest.mark.parametrize("shape", [(1, 1280, 7, 7), (3, 5, 40), (2, 3, 4, 5, 6), (2, 1, 1, 1)])
def test_global_average_pool(shape):
    x = np.random.default_rng(shape).standard_normal(shape).astype(f32)
    x[:, -1] = x[:, 0]
    for order in (range(x.ndim), [0, *range(2, x.ndim), 1]):
        source = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        (found,) = run_bound(fast.bind_global_average_pool, [source])
        np.testing.assert_allclose(found, pool.global_average_pool(x), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[:, -1], found[:, 0])


@pytest.mark.parametrize("channels", [1, 5, 16, 33, 48, 1000, 1280])
def test_equal_channels_have_one_mean(channels):
    """The last bit may matter later: light_squeezenet's logits are 1e10."""
    one = np.random.default_rng(channels).random((2, 1, 7, 9), np.float32)
    x = channels_last(np.repeat(one, channels, 1))
    (y,) = run_bound(fast.bind_global_average_pool, [x])
    assert (y == y[:, :1]).all()
    np.testing.assert_allclose(y[:, :1, 0, 0], one.mean((2, 3)), rtol=1e-6)


@pytest.mark.parametrize("value", [7, 1e6, -3e5])
@pytest.mark.parametrize("shape", [(2, 64, 7, 7), (2, 8, 30, 41), (2, 5, 12, 12)])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
def test_the_mean_of_equal_numbers_is_that_number(value, shape, layout):
    """Subtracted from them, as normalizations of several nodes do, it must leave zeros."""
    x = layout(np.full(shape, value, np.float32))
    found = run_bound(fast.bind_global_average_pool, [x])[0]
    assert (found == np.float32(value)).all()
