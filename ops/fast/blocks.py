"""Splitting work into blocks that fit the cache."""

from __future__ import annotations

import itertools

import numpy as np


def split_range(size: int, most: int) -> list[tuple[int, int]]:
    """(start, stop) of the pieces of ``range(size)``, nearly equal and at most ``most`` long."""
    count = -(-size // max(1, most))
    edges = [size * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


#: elements of a block of an elementwise chain that passes over its data several times
BLOCK_SIZE = 1 << 15


def cache_blocks(*arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Blocks of arrays of one shape, if all have the memory order of the first."""
    x = arrays[0]
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    turned = [array.transpose(order) for array in arrays]
    if x.size <= BLOCK_SIZE or not all(array.flags.c_contiguous for array in turned):
        return [arrays]
    flat = [array.reshape(-1) for array in turned]
    pieces = [slice(start, start + BLOCK_SIZE) for start in range(0, x.size, BLOCK_SIZE)]
    return [tuple(array[piece] for array in flat) for piece in pieces]
