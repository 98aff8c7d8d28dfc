"""The binders of Erf and Gelu: one rational function, in blocks that fit the cache.

erf(x) = x P(x²) / Q(x²) on [-4, 4] and ±1 beyond, P of degree 6 and Q of degree 4, fitted to
erf on Chebyshev points with weights that equalize the error: 5e-8 in exact arithmetic, 3e-7 in
float32. (``ops.shared.erf``, the oracle, is exact to the last digits and three times as slow.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxwalk.ops.contract.space import Space, memory_order
from onnxwalk.ops.fast.blocks import BLOCK_SIZE, cache_blocks, split_range
from onnxwalk.ops.fast.calls import clip, scalar

_P = (
    1027.703432736161,
    194.8502661541071,
    47.754489091089006,
    3.9097502947572007,
    0.14165200911830636,
    -0.0018126940905101544,
    1.7502450314277654e-05,
)
#: the highest coefficient is 1: saves a pass
_Q = (910.7788486045924, 476.2693341756184, 110.01923475487632, 14.163076578617899, 1.0)


def _horner(space: Space, x: np.ndarray, coefficients: Sequence[float], into: np.ndarray) -> None:
    *lower, highest = coefficients
    sums = x
    if highest != 1:
        sums = into
        space.call(np.multiply, x, scalar(highest, x.dtype), into)
    for coefficient in lower[:0:-1]:
        space.call(np.add, sums, scalar(coefficient, x.dtype), into)
        space.call(np.multiply, into, x, into)
        sums = into
    space.call(np.add, sums, scalar(lower[0], x.dtype), into)


def erf_into(space: Space, x: np.ndarray, into: np.ndarray, factor: float = 1.0) -> None:
    """erf(factor·x) of a block that doesn't overlap ``into``."""
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
        space.free_scratch(array)


def bind_erf(space: Space, input: np.ndarray) -> np.ndarray | None:
    if input.dtype != np.float32 or not input.size:
        return None
    y = space.array(input.shape, input.dtype, memory_order(input))
    for source, result in cache_blocks(input, y):
        erf_into(space, source, result)
    return y


def bind_gelu(space: Space, x: np.ndarray, *, approximate: str = "none") -> np.ndarray | None:
    """h + h·erf(x/√2) or h + h·tanh(…), with h = x/2"""
    if x.dtype != np.float32 or not x.size or approximate not in ("none", "tanh"):
        return None
    y = space.array(x.shape, x.dtype, memory_order(x))
    _record_gelu(space, x, y, approximate)
    return y


def bind_bias_gelu(
    space: Space, x: np.ndarray, bias: np.ndarray | None = None, *, approximate: str = "none"
) -> np.ndarray | None:
    """Gelu(x + bias), in blocks of rows; bias (D) along the last axis"""
    if bias is None:
        return bind_gelu(space, x, approximate=approximate)
    if x.dtype != np.float32 or not x.size or not x.flags.c_contiguous:
        return None
    if bias.dtype != x.dtype or bias.shape != x.shape[-1:]:
        return None
    y = space.array(x.shape, x.dtype)
    rows, results = x.reshape(-1, len(bias)), y.reshape(-1, len(bias))
    for start, stop in split_range(len(rows), max(1, BLOCK_SIZE // len(bias))):
        source = space.scratch(rows[start:stop].shape, x.dtype)
        space.call(np.add, rows[start:stop], bias, source)
        _record_gelu(space, source, results[start:stop], approximate)
        space.free_scratch(source)
    return y


def _record_gelu(space: Space, x: np.ndarray, y: np.ndarray, approximate: str) -> None:
    for source, result in cache_blocks(x, y):
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
        space.free_scratch(half)
