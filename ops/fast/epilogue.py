"""Operations on a block of a result while it is in the cache: bias, sum, activation, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.bits import call_clip, call_raise, max_pool_2x2
from onnxwalk.ops.fast.blocks import call_with_vector
from onnxwalk.ops.fast.calls import maximum_into, minimum_into, scalar

#: activation(space, block, into, work=None) records the calls from a block to ``into``; they may
#: overwrite ``work``, by default the block itself
Activation = Callable[..., None]


class Epilogue(NamedTuple):
    """``activation(y + bias + residual)``, block by block; with ``pool``, after a 2 × 2 maximum: it
    may come before a bias and a monotonic activation, which then have a quarter of the work.
    ``is_pooled``: the maximum has been taken, but may be NaN or infinite yet."""

    bias: np.ndarray | None = None
    activation: Activation | None = None
    pool: bool = False
    is_pooled: bool = False

    def apply(
        self,
        space: Space,
        block: np.ndarray,
        into: np.ndarray,
        residual: np.ndarray | None = None,
        *,
        with_bias: bool = True,
    ) -> None:
        """Record the calls from a block (…, M), which may be ``into`` itself, to ``into``.

        The last call writes to ``into``: a result that isn't contiguous needs no extra pass. With
        ``pool``, the block is (n, H, W, M), and ``into`` (n, H / 2, W / 2, M).
        """
        if self.pool:
            block = max_pool_2x2(space, block)
        added = [self.bias] if self.bias is not None and with_bias else []
        if residual is not None:
            added.append(residual)
        for number, other in enumerate(added, 1):
            last = number == len(added) and self.activation is None
            call_with_vector(space, np.add, block, other, into if last else block)
        if self.activation is not None:
            self.activation(space, block, into)
        elif not added and block is not into:
            space.call(np.copyto, into, block)
        if self.pool or self.is_pooled:
            raise_to_finite(space, into)


def raise_to_finite(space: Space, block: np.ndarray, places: slice | None = None) -> None:
    """NaN and -infinity become the lowest finite number, with which MaxPool of float32 begins."""
    call_raise(space, block, np.finfo(block.dtype).min)


#: memory that an activation may overwrite
Work = np.ndarray | None

#: monotonic activations: a maximum may be taken before them
MONOTONIC = frozenset({"Relu", "Clip", "Tanh", "Sigmoid", "Requantize"})


def activation(
    name: str | None, parameters: Sequence[float] = (), **named: float
) -> Activation | None:
    """The activation with this name, with its parameters by name, or in the order of
    com.microsoft.FusedConv's ``activation_params``.

    ``None`` without a name; raises KeyError for a name that has no fast form.
    """
    return _ACTIVATIONS[name](*parameters, **named) if name else None


def _clip(lowest: float, highest: float) -> Activation:
    def apply(space: Space, x: np.ndarray, into: np.ndarray, work: Work = None) -> None:
        call_clip(space, x, lowest, highest, into)

    return apply


def _leaky_relu(alpha: float = 0.01) -> Activation:
    """max(x, alpha * x), or min for alpha > 1; a selection if the product may be NaN"""

    def apply(space: Space, x: np.ndarray, into: np.ndarray, work: Work = None) -> None:
        scaled = space.scratch(x.shape, x.dtype)
        space.call(np.multiply, x, scalar(alpha, x.dtype), scaled)
        if not 0 < abs(alpha) < math.inf:
            below = space.scratch(x.shape, bool)
            space.call(np.less, x, scalar(0, x.dtype), below)
            space.call(np.copyto, into, x)
            space.call(partial(np.copyto, where=below), into, scaled)
            return
        space.call((maximum_into if alpha <= 1 else minimum_into)(into), x, scaled)

    return apply


def _tanh() -> Activation:
    return lambda space, x, into, work=None: space.call(np.tanh, x, into)


def _sigmoid() -> Activation:
    """1 / (1 + exp(-x))"""

    def apply(space: Space, x: np.ndarray, into: np.ndarray, work: Work = None) -> None:
        work = x if work is None else work
        one = scalar(1, x.dtype)
        space.call(np.negative, x, work)
        space.call(np.exp, work, work)
        space.call(np.add, work, one, work)
        space.call(np.divide, one, work, into)  # takes half of the time of np.reciprocal

    return apply


def _swish() -> Activation:
    """x / (1 + exp(-x)); tanh would save a pass, but exp takes half of its time"""

    def apply(space: Space, x: np.ndarray, into: np.ndarray, work: Work = None) -> None:
        other = space.scratch(x.shape, x.dtype)
        space.call(np.negative, x, other)
        space.call(np.exp, other, other)
        space.call(np.add, other, scalar(1, x.dtype), other)
        space.call(np.divide, x, other, into)

    return apply


def _hard_sigmoid(alpha: float = 0.2, beta: float = 0.5) -> Activation:
    def apply(space: Space, x: np.ndarray, into: np.ndarray, work: Work = None) -> None:
        work = x if work is None else work
        space.call(np.multiply, x, scalar(alpha, x.dtype), work)
        space.call(np.add, work, scalar(beta, x.dtype), work)
        call_clip(space, work, 0, 1, into)

    return apply


def _hard_swish(*fixed: float) -> Activation:
    """x * min(max(x + 3, 0), 6) / 6; ignores FusedConv's parameters, which are always 1/6, 1/2"""

    def apply(space: Space, x: np.ndarray, into: np.ndarray, work: Work = None) -> None:
        other = space.scratch(x.shape, x.dtype)
        space.call(np.add, x, scalar(3, x.dtype), other)
        call_clip(space, other, 0, 6, other)
        space.call(np.multiply, other, scalar(1 / 6, x.dtype), other)
        space.call(np.multiply, other, x, into)

    return apply


def requantize(multiplier: np.ndarray, low: float, high: float) -> Activation:
    """round(x·multiplier), halves to even, between low and high; the multiplier broadcasts."""

    def apply(space: Space, x: np.ndarray, into: np.ndarray, work: Work = None) -> None:
        work = x if work is None else work
        call_with_vector(space, np.multiply, x, multiplier, work)
        space.call(np.rint, work, work)
        call_clip(space, work, low, high, into)

    return apply


def _requantize(low: float, high: float, *multipliers: float) -> Activation:
    shape = (-1,) if len(multipliers) > 1 else ()
    return requantize(np.array(multipliers, np.float32).reshape(shape), low, high)


_ACTIVATIONS: dict[str, Callable[..., Activation]] = {
    "Relu": lambda: _clip(0, math.inf),
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "Tanh": _tanh,
    "Sigmoid": _sigmoid,
    "Swish": _swish,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Requantize": _requantize,
}

#: the names of the activations
ACTIVATION_NAMES = frozenset(_ACTIVATIONS)
