"""Bound forms of a training step against the plain functions, for shapes of several blocks too."""

from functools import partial

import numpy as np
import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.ai_onnx.conv import bind_conv_of_varying_weights
from onnxwalk.ops.ai_onnx.conv_gradients import bind_vjp_of_conv, vjp_of_conv
from onnxwalk.ops.ai_onnx.pool_gradients import bind_vjp_of_max_pool, vjp_of_max_pool
from onnxwalk.ops.contract.space import Space

CONVOLUTIONS = [
    ((5, 3, 20, 24), (7, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((40, 16, 16, 16), (24, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 6, 40, 90), (5, 6, 5, 7), {}),
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
    y = registry.lookup("", "MaxPool", 12).function(x, **attributes)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    space = Space()
    inputs = [np.zeros_like(a) for a in (dy, x, y)]
    bound = partial(bind_vjp_of_max_pool, space, inputs[0], inputs[1])
    dx = bound(y=inputs[2], **attributes)
    rerun(space, inputs, [dy, x, y])
    expected = vjp_of_max_pool(dy, x, y=y, **attributes)
    np.testing.assert_allclose(dx, expected, rtol=1e-6, atol=1e-6)
