"""Sums along axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.shared.numeric import wide

#: how many neighbours are added up at a time
BLOCK = 32


def sum_over(data: np.ndarray, axes: tuple[int, ...], keepdims: Any) -> np.ndarray:
    """The sum, in the dtype of data; short floats are added up in float32 and stay so."""
    data = wide(data)
    if len(axes) == 1 and data.dtype.kind in "fc" and data.strides[axes[0]] != data.itemsize:
        while data.shape[axes[0]] > 2 * BLOCK:
            data = _sum_blocks(data, axes[0])
    return np.add.reduce(data, axes, data.dtype, keepdims=keepdims)


def _sum_blocks(data: np.ndarray, axis: int) -> np.ndarray:
    """Sums of blocks of neighbours along an axis, still to be added up.

    NumPy does so itself, but along the fastest axis in memory only; along others it adds one to
    the next, and the rounding error grows with their number.
    """
    blocks, rest = divmod(data.shape[axis], BLOCK)
    before, after = data.shape[:axis], data.shape[axis + 1 :]
    full, left = np.split(data, [blocks * BLOCK], axis)
    sums = np.add.reduce(full.reshape(*before, blocks, BLOCK, *after), axis + 1, data.dtype)
    return np.concatenate([sums, left], axis) if rest else sums
