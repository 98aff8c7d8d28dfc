"""Elementwise operators, and those that only look at the same memory in another way."""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation as _activations
from onnxwalk.ops.ai_onnx import arithmetic as _arithmetic
from onnxwalk.ops.ai_onnx import logic as _logic
from onnxwalk.ops.ai_onnx import mathfunctions as _math
from onnxwalk.ops.ai_onnx import shape as _shape
from onnxwalk.ops.contract.dtypes import is_plain
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.blocks import runs
from onnxwalk.ops.fast.calls import clip, scalar
from onnxwalk.ops.fast.epilogue import activation
from onnxwalk.ops.shared.numeric import limits


def _binary(function: Any, ufunc: np.ufunc, kinds: str = "fiu") -> None:
    @function.bind
    def bind(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        if a.dtype != b.dtype or not is_plain(a.dtype, kinds):
            return None
        y = _result(space, a, b)
        space.call(ufunc, _filled_up(a, y), _filled_up(b, y), y)
        return y


def _filled_up(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x in the shape of y, where that only takes leading axes of size 1: operands of one shape cost
    a third of the call that broadcasts."""
    return x.reshape(y.shape) if x.size == y.size and x.ndim < y.ndim else x


def _result(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Memory for what ``a`` and ``b`` broadcast to."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    if a.shape == shape:
        return space.like(a, None, b)
    if b.shape == shape:
        return space.like(b)
    return space.array(shape, a.dtype)


_binary(_arithmetic.add, np.add)
_binary(_arithmetic.sub, np.subtract)
_binary(_arithmetic.mul, np.multiply)
_binary(_arithmetic.div, np.divide, kinds="f")


def _comparison(function: Any, ufunc: np.ufunc, kinds: str = "fiub") -> None:
    @function.bind
    def bind(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        if a.dtype != b.dtype or not is_plain(a.dtype, kinds):
            return None
        y = space.array(np.broadcast_shapes(a.shape, b.shape), np.bool_)
        space.call(ufunc, a, b, y)
        return y


_comparison(_logic.equal, np.equal)
_comparison(_logic.greater, np.greater)
_comparison(_logic.less, np.less)
_comparison(_logic.greater_or_equal, np.greater_equal)
_comparison(_logic.less_or_equal, np.less_equal)
_comparison(_logic.logical_and, np.logical_and, kinds="b")
_comparison(_logic.logical_or, np.logical_or, kinds="b")


@_logic.logical_not.bind
def bind_not(space: Space, x: np.ndarray) -> np.ndarray | None:
    if x.dtype != np.bool_:
        return None
    y = space.like(x)
    space.call(np.logical_not, x, y)
    return y


@_logic.where.bind
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


def _unary(function: Any, ufunc: np.ufunc) -> None:
    @function.bind
    def bind(space: Space, x: np.ndarray) -> np.ndarray | None:
        if x.dtype not in (np.float32, np.float64):
            return None
        y = space.like(x)
        space.call(ufunc, x, y)
        return y


_unary(_math.sqrt, np.sqrt)
_unary(_math.exp, np.exp)
_unary(_math.neg, np.negative)
_unary(_math.reciprocal, np.reciprocal)
_unary(_activations.tanh, np.tanh)


def _activation(function: Any, name: str, *names: str) -> None:
    """An operator whose attributes ``names`` are the parameters of a fast activation."""
    defaults = {n: inspect.signature(function).parameters[n].default for n in names}

    @function.bind
    def bind(space: Space, x: np.ndarray, **attributes: Any) -> np.ndarray | None:
        if x.dtype not in (np.float32, np.float64):
            return None
        if set(attributes) - set(names):
            return None
        apply = activation(name, [attributes.get(n, defaults[n]) for n in names])
        assert apply is not None
        y = space.like(x)
        for source, result in runs(x, y):
            apply(space, source, result, result)
        return y


@_activations.relu.bind
def bind_relu(space: Space, x: np.ndarray) -> np.ndarray | None:
    if x.dtype not in (np.float32, np.float64):
        return None
    y = space.like(x)
    space.call(clip, x, scalar(0, x.dtype), scalar(math.inf, x.dtype), y)
    return y


_activation(_activations.sigmoid, "Sigmoid")
_activation(_activations.swish, "Swish")
_activation(_activations.leaky_relu, "LeakyRelu", "alpha")
_activation(_activations.hard_swish, "HardSwish")
_activation(_activations.hard_sigmoid, "HardSigmoid", "alpha", "beta")


@_arithmetic.power.bind
def bind_power(space: Space, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """x², which is most of what models ask for"""
    if x.dtype not in (np.float32, np.float64) or not space.known(y):
        return None
    if y.size != 1 or y.ndim > x.ndim or y.reshape(-1)[0] != 2:
        return None
    result = space.like(x)
    space.call(np.multiply, x, x, result)
    return result


@_arithmetic.clip.bind
def bind_clip(space: Space, input, min=None, max=None):
    if input.dtype not in (np.float32, np.float64) or not space.known(min, max):
        return None
    lowest, highest = limits(input.dtype)
    low = lowest if min is None else min.item()
    high = highest if max is None else max.item()
    if not low <= high:
        return None
    y = space.like(input)
    space.call(clip, input, scalar(low, input.dtype), scalar(high, input.dtype), y)
    return y


# ---------------------------------------------------------------------- the same memory, seen anew


def _view(function: Any) -> None:
    """An operator that NumPy answers with a view: nothing is left to do in a run. Where it would
    have to copy, the copy is made in every run."""

    @function.bind
    def bind(space: Space, x: np.ndarray, *known: Any, **attributes: Any) -> np.ndarray | None:
        if not space.known(*known):
            return None
        y = function(x, *known, **attributes)
        if np.may_share_memory(x, y) or not x.size:
            return y if x.size else space.array(y.shape, y.dtype)
        # The copy goes to where a view of the result has the shape of x. An image whose channels
        # are its fastest axis stays one (a shuffle of channels is such a copy).
        if y.ndim == 4 and x.ndim > 2 and abs(x.strides[-1]) != x.itemsize:
            image = space.image(y.shape, y.dtype)
            seen = image.reshape(x.shape)
            if np.may_share_memory(seen, image):
                space.call(np.copyto, seen, x)
                return image
        result = space.array(y.shape, y.dtype)
        space.call(np.copyto, result.reshape(x.shape), x)
        return result


for _function in (
    _shape.reshape,
    _shape.flatten,
    _shape.flatten_from_the_front,
    _shape.squeeze,
    _shape.squeeze_by_attribute,
    _shape.unsqueeze,
    _shape.unsqueeze_by_attribute,
    _shape.identity,
    _shape.transpose,
):
    _view(_function)


@_shape.shape.bind
def bind_shape(space: Space, data: np.ndarray, **attributes: Any) -> np.ndarray:
    return space.constant(_shape.shape(data, **attributes))


@_shape.size.bind
def bind_size(space: Space, data: np.ndarray) -> np.ndarray:
    return space.constant(_shape.size(data))
