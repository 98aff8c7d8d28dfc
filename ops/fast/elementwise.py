"""Binders of elementwise operators and of views."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import is_plain
from onnxwalk.ops.contract.space import Bind, Space, memory_order
from onnxwalk.ops.fast.bits import call_clip
from onnxwalk.ops.fast.blocks import cache_blocks, call_with_vector
from onnxwalk.ops.fast.calls import maximum_into, scalar
from onnxwalk.ops.fast.epilogue import activation
from onnxwalk.ops.shared.numeric import dtype_limits


def binary_binder(ufunc: np.ufunc, kinds: str = "fiu") -> Bind:
    """The binder of a ufunc of two inputs that broadcast, for types of these kinds."""

    def bind(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        if a.dtype != b.dtype or not is_plain(a.dtype, kinds):
            return None
        y = _result(space, a, b)
        space.call(ufunc, _with_leading_axes(a, y), _with_leading_axes(b, y), y)
        return y

    return bind


def variadic_binder(ufunc: np.ufunc, is_mean: bool = False) -> Bind:
    """The binder of a ufunc over any number of inputs, one after the other."""

    def bind(space: Space, *inputs: np.ndarray) -> np.ndarray | None:
        if len(inputs) < 2 or not is_plain(inputs[0].dtype, "fiu"):
            return None
        if any(x.dtype != inputs[0].dtype for x in inputs):
            return None
        first, second, *others = inputs
        if len(inputs) == 2:
            y = _result(space, first, second)
        else:  # other inputs are read after the first result is written
            y = space.array(np.broadcast_shapes(*(x.shape for x in inputs)), first.dtype)
            if np.broadcast_shapes(first.shape, second.shape) != y.shape:
                return None
        write = partial(ufunc, out=y)  # the position of ``out`` is deprecated for np.maximum
        space.call(write, _with_leading_axes(first, y), _with_leading_axes(second, y))
        for x in others:
            space.call(write, y, _with_leading_axes(x, y))
        if is_mean:
            space.call(np.divide, y, scalar(len(inputs), y.dtype), y)
        return y

    return bind


def _with_leading_axes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x with leading axes of size 1, if it then has the shape of y: a call with equal shapes takes
    a third of the time of one that broadcasts."""
    return x.reshape(y.shape) if x.size == y.size and x.ndim < y.ndim else x


def _result(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Memory for a result of the shape to which a and b broadcast."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    if a.shape == shape:
        return space.like(a, None, b)
    if b.shape == shape:
        return space.like(b)
    return space.array(shape, a.dtype)


def comparison_binder(ufunc: np.ufunc, kinds: str = "fiub") -> Bind:
    """The binder of a ufunc of two inputs that broadcast, with a boolean result."""

    def bind(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        if a.dtype != b.dtype or not is_plain(a.dtype, kinds):
            return None
        y = space.array(np.broadcast_shapes(a.shape, b.shape), np.bool_)
        space.call(ufunc, a, b, y)
        return y

    return bind


def bind_where(
    space: Space, condition: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray | None:
    if x.dtype != y.dtype or not is_plain(x.dtype) or condition.dtype != np.bool_:
        return None
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    result = space.array(shape, x.dtype)
    space.call(np.copyto, result, y)
    space.call(partial(np.copyto, where=condition), result, x)
    return result


def unary_binder(ufunc: np.ufunc, *dtypes: type[np.generic]) -> Bind:
    """The binder of a ufunc of one input of these dtypes, by default float32 or float64."""

    def bind(space: Space, x: np.ndarray) -> np.ndarray | None:
        if x.dtype not in (dtypes or (np.float32, np.float64)):
            return None
        y = space.like(x)
        space.call(ufunc, x, y)
        return y

    return bind


bind_not = unary_binder(np.logical_not, np.bool_)


def activation_binder(name: str, *names: str) -> Bind:
    """The binder of an activation of ``epilogue`` with attributes of these names."""

    def bind(space: Space, x: np.ndarray, **attributes: Any) -> np.ndarray | None:
        if x.dtype not in (np.float32, np.float64) or set(attributes) - set(names):
            return None
        apply = activation(name, **attributes)
        assert apply is not None
        y = space.like(x)
        for source, result in cache_blocks(x, y):
            apply(space, source, result, result)
        return y

    return bind


def bind_prelu(space: Space, x: np.ndarray, slope: np.ndarray) -> np.ndarray | None:
    """max(x, slope·x) where no slope is above 1; a selection if the product may be NaN"""
    if x.dtype not in (np.float32, np.float64) or slope.dtype != x.dtype:
        return None
    if not space.is_constant(slope) or np.broadcast_shapes(x.shape, slope.shape) != x.shape:
        return None
    sizes = np.abs(slope)
    y = space.like(x)
    order = memory_order(x)
    source, result = x.transpose(order), y.transpose(order)
    by_channel = slope.ndim >= x.ndim - 1 > 0 and slope.size == slope.shape[-x.ndim + 1]
    if by_channel and order[-1] == 1:  # the channels are what lies side by side
        factor = slope.reshape(-1)
    else:
        factor = np.broadcast_to(slope, x.shape).transpose(order)
    scaled = space.scratch(source.shape, x.dtype)
    call_with_vector(space, np.multiply, source, factor, scaled)
    if sizes.min() > 0 and slope.max() <= 1 and sizes.max() < math.inf:
        space.call(maximum_into(result), source, scaled)
        return y
    below = space.scratch(source.shape, np.bool_)
    space.call(np.less, source, scalar(0, x.dtype), below)
    if y is not x:
        space.call(np.copyto, result, source)
    space.call(partial(np.copyto, where=below), result, scaled)
    return y


def bind_quick_gelu(
    space: Space, x: np.ndarray, *, alpha: float = 1.7020000219345093
) -> np.ndarray | None:
    """x / (1 + exp(-alpha·x))"""
    if x.dtype != np.float32:
        return None
    y = space.like(x)
    for source, result in cache_blocks(x, y):
        divisor = space.scratch(source.shape, x.dtype)
        space.call(np.multiply, source, scalar(-alpha, x.dtype), divisor)
        space.call(np.exp, divisor, divisor)
        space.call(np.add, divisor, scalar(1, x.dtype), divisor)
        space.call(np.divide, source, divisor, result)
        space.free_scratch(divisor)
    return y


def bind_relu(space: Space, x: np.ndarray) -> np.ndarray | None:
    if x.dtype not in (np.float32, np.float64):
        return None
    y = space.like(x)
    call_clip(space, x, 0, math.inf, y)
    return y


def bind_power(space: Space, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """x² and x³, the most frequent powers in models"""
    if x.dtype not in (np.float32, np.float64) or not space.is_constant(y):
        return None
    if y.size != 1 or y.ndim > x.ndim or y.item() not in (2, 3):
        return None
    result = space.like(x)
    if y.item() == 2:
        space.call(np.multiply, x, x, result)
        return result
    for source, cube in cache_blocks(x, result):
        square = space.scratch(source.shape, x.dtype)  # the result may be x itself
        space.call(np.multiply, source, source, square)
        space.call(np.multiply, square, source, cube)
        space.free_scratch(square)
    return result


def bind_clip(space: Space, input, min=None, max=None):
    if input.dtype not in (np.float32, np.float64) or not space.is_constant(min, max):
        return None
    lowest, highest = dtype_limits(input.dtype)
    low = lowest if min is None else min.item()
    high = highest if max is None else max.item()
    return _bind_limits(space, input, low, high)


def bind_clip_6(space, input, *, max=3.4028234663852886e38, min=-3.4028234663852886e38):
    """Clip before opset 11, whose limits are attributes."""
    if input.dtype not in (np.float32, np.float64):
        return None
    return _bind_limits(space, input, min, max)


def _bind_limits(space: Space, x: np.ndarray, low: float, high: float) -> np.ndarray | None:
    if not low <= high:
        return None
    y = space.like(x)
    call_clip(space, x, low, high, y)
    return y


# ------------------------------------------------------------------------------------------ views


def view_binder(function: Callable[..., np.ndarray]) -> Bind:
    """The binder of an operator whose result is a view, with nothing to do in a run. If NumPy has
    to copy, each run copies."""

    def bind(space: Space, x: np.ndarray, *known: Any, **attributes: Any) -> np.ndarray | None:
        if not space.is_constant(*known):
            return None
        y = function(x, *known, **attributes)
        if np.may_share_memory(x, y) or not x.size:
            return y if x.size else space.array(y.shape, y.dtype)
        # Copy to a view of the result that has the shape of x. A channels-last image remains one
        # (a channel shuffle is such a copy).
        if y.ndim == 4 and x.ndim > 2 and abs(x.strides[-1]) != x.itemsize:
            image = space.image(y.shape, y.dtype)
            reshaped = image.reshape(x.shape)
            if np.may_share_memory(reshaped, image):
                space.call(np.copyto, reshaped, x)
                return image
        result = space.array(y.shape, y.dtype)
        space.call(np.copyto, result.reshape(x.shape), x)
        return result

    return bind


def constant_binder(function: Callable[..., np.ndarray]) -> Bind:
    """The binder of an operator whose result depends on shapes only."""

    def bind(space: Space, x: np.ndarray, **attributes: Any) -> np.ndarray:
        return space.mark_constant(function(x, **attributes))

    return bind
