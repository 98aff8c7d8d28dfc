"""Steps of the optimizers of ai.onnx.preview.training in place, block by block, in scratch memory.

The same operations in the same order as the plain operators', so that results are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

#: elements of a block: what a step reads and writes of it stays in the cache
_BLOCK = 1 << 15

#: one step of a block: the tensor, its gradient (which isn't changed), the accumulators, scratch
Step: TypeAlias = Callable[..., None]


def update(step: Step, *arrays: np.ndarray) -> None:
    """Make ``step(x, g, …, scratch, scratch)`` of arrays of one shape, in blocks if they are
    contiguous."""
    x = arrays[0]
    if x.size <= _BLOCK or not all(a.flags.c_contiguous for a in arrays):
        step(*arrays, np.empty_like(x), np.empty_like(x))
        return
    first, second = np.empty((2, _BLOCK), x.dtype)
    for part in _blocks(x.size):
        count = part.stop - part.start
        step(*(a.reshape(-1)[part] for a in arrays), first[:count], second[:count])


def _blocks(size: int) -> Iterator[slice]:
    for start in range(0, size, _BLOCK):
        yield slice(start, min(start + _BLOCK, size))


def decayed(x: np.ndarray, g: np.ndarray, norm_coefficient: float, out: np.ndarray) -> np.ndarray:
    """The gradient plus norm_coefficient·x, in ``out`` unless it is the gradient itself."""
    if not norm_coefficient:
        return g
    np.multiply(x, norm_coefficient, out=out)
    return np.add(out, g, out=out)


def momentum_step(
    x: np.ndarray, g: np.ndarray, v: np.ndarray, first: np.ndarray, second: np.ndarray,
    *, rate: Any, alpha: float, scale: float, nesterov: bool, norm_coefficient: float,
) -> None:  # fmt: skip
    """v ← α·v + scale·g, x ← x - rate·v, or x - rate·(g + α·v) by Nesterov."""
    g = decayed(x, g, norm_coefficient, second)
    np.multiply(v, alpha, out=v)
    np.multiply(g, scale, out=first)
    np.add(v, first, out=v)
    if nesterov:
        np.multiply(v, alpha, out=first)
        np.add(g, first, out=first)
        np.multiply(first, rate, out=first)
    else:
        np.multiply(v, rate, out=first)
    np.subtract(x, first, out=x)


def plain_step(
    x: np.ndarray, g: np.ndarray, first: np.ndarray, second: np.ndarray,
    *, rate: Any, norm_coefficient: float,
) -> None:  # fmt: skip
    """x ← x - rate·g: ``momentum_step`` with an α of 0, which needs no v."""
    g = decayed(x, g, norm_coefficient, second)
    np.multiply(g, rate, out=first)
    np.subtract(x, first, out=x)


def adagrad_step(
    x: np.ndarray, g: np.ndarray, h: np.ndarray, first: np.ndarray, second: np.ndarray,
    *, rate: Any, epsilon: float, norm_coefficient: float,
) -> None:  # fmt: skip
    """h ← h + g², x ← x - rate·g / (√h + ε)."""
    g = decayed(x, g, norm_coefficient, second)
    np.multiply(g, g, out=first)
    np.add(h, first, out=h)
    np.sqrt(h, out=first)
    np.add(first, epsilon, out=first)
    np.multiply(g, rate, out=second)
    np.divide(second, first, out=second)
    np.subtract(x, second, out=x)


def adam_step(
    x: np.ndarray, g: np.ndarray, v: np.ndarray, h: np.ndarray,
    first: np.ndarray, second: np.ndarray,
    *, rate: Any, alpha: float, beta: float, epsilon: float, norm_coefficient: float,
    norm_coefficient_post: float,
) -> None:  # fmt: skip
    """v ← α·v + (1 - α)·g, h ← β·h + (1 - β)·g², x ← (1 - post)·(x - rate·v / (√h + ε))."""
    g = decayed(x, g, norm_coefficient, second)
    np.multiply(v, alpha, out=v)
    np.multiply(g, 1 - alpha, out=first)
    np.add(v, first, out=v)
    np.multiply(g, 1 - beta, out=first)
    np.multiply(first, g, out=first)
    np.multiply(h, beta, out=h)
    np.add(h, first, out=h)
    np.sqrt(h, out=first)
    np.add(first, epsilon, out=first)
    np.multiply(v, rate, out=second)
    np.divide(second, first, out=second)
    np.subtract(x, second, out=x)
    if norm_coefficient_post:
        np.multiply(x, 1 - norm_coefficient_post, out=x)
