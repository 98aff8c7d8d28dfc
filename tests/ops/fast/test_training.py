"""Bound forms of a training step against the plain functions, for shapes of several blocks too."""

import numpy as np
import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.ai_onnx.conv import bind_conv_of_varying_weights
from onnxwalk.ops.ai_onnx.conv_gradients import bind_vjp_of_conv, vjp_of_conv
from onnxwalk.ops.ai_onnx.pool_gradients import (
    bind_vjp_of_max_pool,
    max_pool_keeping,
    vjp_of_max_pool,
)
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.pool_gradients import bind_max_pool_keeping

CONVOLUTIONS = [
    ((5, 3, 20, 24), (7, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((40, 16, 16, 16), (24, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 6, 40, 90), (5, 6, 5, 7), {}),
    ((32, 32, 16, 16), (64, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((3, 24, 41, 90), (33, 24, 3, 3), {}),
    ((2, 32, 40, 200), (48, 32, 3, 3), {"pads": [0, 2, 1, 0]}),
    ((7, 20, 29, 31), (40, 20, 3, 3), {"pads": [2, 2, 3, 3]}),
    ((3, 8, 12, 13), (4, 8, 3, 3), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    ((3, 5, 14, 15), (6, 5, 3, 2), {"dilations": [2, 3], "auto_pad": "SAME_LOWER"}),
    ((2, 5, 9, 9), (3, 5, 1, 1), {"pads": [1, 1, 1, 1]}),
    ((2, 5, 2, 2), (3, 5, 2, 2), {}),
]


def random(shape, dtype, last):
    """Numbers in the memory order that follows from a plain or from a bound convolution."""
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else x


def rerun(space, arrays, values):
    """The recorded calls, after other numbers have come into the inputs."""
    for array, value in zip(arrays, values, strict=True):
        array[...] = value
    for function, operands in space.calls:
        function(*operands)


def arguments(shape, kernel, dtype, last):
    conv = registry.lookup("", "Conv", 11).function
    x, w = random(shape, dtype, last), random(kernel, dtype, False)
    b = np.random.default_rng(1).standard_normal(len(w)).astype(dtype)
    return conv, x, w, b


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "kernel", "attributes"), CONVOLUTIONS, ids=str)
def test_convolution_of_weights_that_vary(shape, kernel, attributes, dtype, last):
    conv, x, w, b = arguments(shape, kernel, dtype, last)
    for bias in (None, b):
        space = Space()
        inputs = [a.copy("K") for a in (x, w) if a is not None]
        given_bias = None if bias is None else np.zeros_like(bias)
        y = bind_conv_of_varying_weights(space, *inputs, given_bias, **attributes)
        values = [2 * x, w[::-1]]
        if bias is not None:
            inputs, values = [*inputs, given_bias], [*values, bias]
        rerun(space, inputs, values)
        expected = conv(2 * x, np.ascontiguousarray(w[::-1]), bias, **attributes)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "kernel", "attributes"), CONVOLUTIONS, ids=str)
def test_gradient_of_convolution(shape, kernel, attributes, dtype, last):
    conv, x, w, b = arguments(shape, kernel, dtype, last)
    dy = random(conv(x, w, b, **attributes).shape, dtype, last)
    space = Space()
    inputs = [np.zeros_like(a) for a in (dy, x, w)]
    rest = {"group": 1, "kernel_shape": None, "x_shape": x.shape, "w_shape": w.shape}
    rest |= {"wanted": (True, True, True), **attributes}
    found = bind_vjp_of_conv(space, *inputs, **rest)
    rerun(space, inputs, [dy, x, w])
    for result, expected in zip(found, vjp_of_conv(dy, x, w, **rest), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(result / scale, expected / scale, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((40, 32, 16, 16), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((3, 5, 7, 9), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((3, 5, 9, 9), {"kernel_shape": [3, 3], "strides": [3, 3]}),
        ((3, 5, 9, 8), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
        ((3, 5, 9, 8), {"kernel_shape": [2, 2], "dilations": [2, 3]}),
        ((3, 5, 24), {"kernel_shape": [2], "strides": [2]}),
    ],
    ids=str,
)
def test_gradient_of_max_pool(shape, attributes, last):
    """Also where numbers are equal: the first of a window gets the gradient."""
    x = np.random.default_rng(0).integers(-2, 3, shape).astype(np.float32)
    if last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    (y,), (taken,) = max_pool_keeping(x, **attributes)
    space = Space()
    inputs = [np.zeros_like(x)]
    if (bound := bind_max_pool_keeping(space, *inputs, **attributes)) is not None:
        rerun(space, inputs, [x])
        np.testing.assert_array_equal(bound[0][0], y)
        np.testing.assert_array_equal(bound[1][0], taken)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    space = Space()
    inputs = [np.zeros_like(dy), np.zeros_like(taken)]
    dx = bind_vjp_of_max_pool(space, inputs[0], taken=inputs[1], x_shape=x.shape, **attributes)
    rerun(space, inputs, [dy, taken])
    expected = vjp_of_max_pool(dy, taken=taken, x_shape=x.shape, **attributes)
    np.testing.assert_allclose(dx, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"pads": [1, 1, 0, 0]}], ids=str)
def test_max_pool_of_nan(attributes):
    """NaN is passed over; where a window has nothing else the last tap is taken. In float64 NaN is
    the largest, and the last tap is taken too."""
    x = np.ones((1, 2, 4, 4), np.float32)
    x[0, 0, :2, :3], x[0, 1, 0, 1] = np.nan, np.nan
    attributes = {"kernel_shape": [2, 2], **attributes}
    (y,), (taken,) = max_pool_keeping(x, **attributes)
    _, (bound,) = bind_max_pool_keeping(Space(), x, **attributes)
    np.testing.assert_array_equal(bound, taken)
    _, (wide,) = max_pool_keeping(x.astype(np.float64), **attributes)
    _, (bound,) = bind_max_pool_keeping(Space(), x.astype(np.float64), **attributes)
    np.testing.assert_array_equal(bound, wide)
    dx = vjp_of_max_pool(np.ones_like(y), taken=taken, x_shape=x.shape, **attributes)
    of_nan_alone = 1 if "strides" in attributes else 6  # windows
    assert dx.sum() == y.size and dx[np.isnan(x)].sum() == of_nan_alone


@pytest.mark.parametrize("where", ["x", "w", "dy"])
@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_one_value_is_much_larger_than_the_others(where, value):
    """Then a block is computed directly: nothing beside it loses digits or becomes NaN."""
    attributes = {"pads": [1, 1, 1, 1]}
    conv, x, w, b = arguments((6, 32, 15, 16), (40, 32, 3, 3), np.float32, True)
    dy = random(conv(x, w, b, **attributes).shape, np.float32, True)
    {"x": x, "w": w, "dy": dy}[where][1, 2, 0, 1] = value
    rest = {"group": 1, "kernel_shape": None, "x_shape": x.shape, "w_shape": w.shape}
    rest |= {"wanted": (True, True, True), **attributes}
    with np.errstate(invalid="ignore"):
        found = bind_conv_of_varying_weights(Space(), x, w, b, **attributes)
        gradients = bind_vjp_of_conv(Space(), dy, x, w, **rest)
        expected = (conv(x, w, b, **attributes), *vjp_of_conv(dy, x, w, **rest))
    for result, right in zip((found, *gradients), expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False)])
def test_one_gradient_of_a_convolution_is_wanted(wanted):
    _, x, w, _ = arguments((6, 32, 15, 16), (40, 32, 3, 3), np.float32, True)
    dy = random((6, 40, 13, 14), np.float32, True)
    rest = {"group": 1, "kernel_shape": None, "x_shape": x.shape, "w_shape": w.shape}
    rest |= {"wanted": wanted}
    given = (dy, x if wanted[1] else None, w if wanted[0] else None)
    found = bind_vjp_of_conv(Space(), *given, **rest)
    expected = vjp_of_conv(*given, **rest)
    for result, right in zip(found, expected, strict=True):
        assert (result is None) == (right is None)
        if result is not None:
            np.testing.assert_allclose(result, right, rtol=1e-4, atol=2e-3)
