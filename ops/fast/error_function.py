"""erf and Gelu bound to their shapes: one rational function, in blocks that stay in the cache.

erf(x) = x P(x²) / Q(x²) on [-4, 4] and ±1 beyond, P of degree 6 and Q of degree 4, fitted to
erf on Chebyshev's points with weights that level the error: 5e-8 in exact arithmetic, 3e-7 in
float32. (``ops._erf``, the oracle, is exact to the last digits and takes three times as long.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ops import activation as _activation
from ops import mathfunctions as _math
from ops.fast.blocks import runs
from ops.fast.calls import clip, scalar
from ops.space import Space

_P = (
    1.1283786775579046,
    0.2139380668014391,
    0.05243258466559015,
    0.004292754822696358,
    0.0001555284351797716,
    -1.9902681021714432e-06,
    1.9217014471837176e-08,
)
_Q = (1.0, 0.5229253346246593, 0.12079687063817654, 0.015550511082154795, 0.0010979613783654546)


def _horner(space: Space, x: np.ndarray, coefficients: Sequence[float], into: np.ndarray) -> None:
    *lower, highest = coefficients
    space.call(np.multiply, x, scalar(highest, x.dtype), into)
    for coefficient in lower[:0:-1]:
        space.call(np.add, into, scalar(coefficient, x.dtype), into)
        space.call(np.multiply, into, x, into)
    space.call(np.add, into, scalar(lower[0], x.dtype), into)


def erf_into(space: Space, x: np.ndarray, into: np.ndarray, factor: float = 1.0) -> None:
    """erf(factor·x) for a block that doesn't overlap ``into``."""
    bounded, square, divisor = (space.scratch(x.shape, x.dtype) for _ in range(3))
    if factor != 1:
        space.call(np.multiply, x, scalar(factor, x.dtype), bounded)
        x = bounded
    space.call(clip, x, scalar(-4, x.dtype), scalar(4, x.dtype), bounded)
    space.call(np.multiply, bounded, bounded, square)
    _horner(space, square, _P, into)
    space.call(np.multiply, into, bounded, into)
    _horner(space, square, _Q, divisor)
    space.call(np.divide, into, divisor, into)
    for array in (bounded, square, divisor):
        space.reuse(array)


@_math.erf.bind
def bind_erf(space: Space, input: np.ndarray) -> np.ndarray | None:
    if input.dtype != np.float32 or not input.size:
        return None
    y = space.array(input.shape, input.dtype) if input.flags.c_contiguous else None
    if y is None:
        return None
    for source, result in runs(input, y):
        erf_into(space, source, result)
    return y


@_activation.gelu.bind
def bind_gelu(space: Space, x: np.ndarray, *, approximate: str = "none") -> np.ndarray | None:
    """h + h·erf(x/√2) or h + h·tanh(…), with h = x/2"""
    if x.dtype != np.float32 or not x.size or approximate not in ("none", "tanh"):
        return None
    if not x.flags.c_contiguous:
        return None
    y = space.array(x.shape, x.dtype)
    for source, result in runs(x, y):
        if approximate == "none":
            erf_into(space, source, result, 1 / math.sqrt(2))
        else:
            # √(2/π)·(x + 0.044715·x³)
            space.call(np.multiply, source, source, result)
            space.call(np.multiply, result, scalar(0.044715, x.dtype), result)
            space.call(np.add, result, scalar(1, x.dtype), result)
            space.call(np.multiply, result, source, result)
            space.call(np.multiply, result, scalar(math.sqrt(2 / math.pi), x.dtype), result)
            space.call(np.tanh, result, result)
        half = space.scratch(source.shape, x.dtype)
        space.call(np.multiply, source, scalar(0.5, x.dtype), half)
        space.call(np.multiply, result, half, result)
        space.call(np.add, result, half, result)
        space.reuse(half)
    return y
