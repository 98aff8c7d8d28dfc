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


def cache_blocks(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of blocks of two arrays of one shape, if both have the same memory order."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    a, b = x.transpose(order), y.transpose(order)
    if x.size <= BLOCK_SIZE or not (a.flags.c_contiguous and b.flags.c_contiguous):
        return [(x, y)]
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    pieces = [slice(start, start + BLOCK_SIZE) for start in range(0, x.size, BLOCK_SIZE)]
    return [(flat_a[piece], flat_b[piece]) for piece in pieces]
