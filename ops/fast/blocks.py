"""Splitting work into blocks that fit the cache."""

from __future__ import annotations

import itertools

import numpy as np

from onnxwalk.ops.contract.space import Space


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


#: elements of a row with which a ufunc that broadcasts rows is as quick as without
_LONG_ROW = 2048


def call_with_vector(
    space: Space, ufunc: np.ufunc, x: np.ndarray, vector: np.ndarray, into: np.ndarray
) -> None:
    """ufunc(x, vector, into) of arrays (…, C); a vector (C) is repeated to long rows, as a ufunc
    that broadcasts rows of 64 elements takes twice the time of one with 2,048."""
    channels, is_contiguous = x.shape[-1], x.flags.c_contiguous and into.flags.c_contiguous
    if vector.shape == (channels,) and 0 < 2 * channels <= _LONG_ROW and is_contiguous:
        places = x.size // channels
        count = next(n for n in range(_LONG_ROW // channels, 0, -1) if places % n == 0)
        long = (-1, count * channels)
        x, vector, into = x.reshape(long), np.tile(vector, count), into.reshape(long)
    space.call(ufunc, x, vector, into)
