"""Statistics of normalizations, and sums over neighbouring channels."""

from __future__ import annotations

import math

import numpy as np


def align_channels(parameter: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A parameter of shape (C) or (C, D1 … Dn), shaped so that it broadcasts over x.

    A vector x stands for one channel.
    """
    if x.ndim == 0:
        raise ValueError("a scalar has no channels to normalize")
    if x.ndim == 1:
        if parameter.size != 1:
            raise ValueError(
                f"a parameter of shape {parameter.shape} doesn't match the channels of x {x.shape}"
            )
        return parameter
    if parameter.ndim == 0 or parameter.shape != x.shape[1 : 1 + parameter.ndim]:
        raise ValueError(
            f"a parameter of shape {parameter.shape} doesn't match the channels of x {x.shape}"
        )
    return parameter.reshape(parameter.shape + (1,) * (x.ndim - 1 - parameter.ndim))


def moments(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, x - mean, and the variance; the axes stay, with one element."""
    n = math.prod(x.shape[axis] for axis in axes)
    mean = np.asarray(x.sum(axes, keepdims=True) / n, x.dtype)
    deviation = np.asarray(x - mean)
    if axes == tuple(range(x.ndim - len(axes), x.ndim)) and n:
        # the last axes: a scalar product of each line with itself, which needs no array of squares
        lines = deviation.reshape(-1, n)
        squares = np.vecdot(lines, lines).reshape(mean.shape)
    else:
        squares = np.square(deviation).sum(axes, keepdims=True)
    return mean, deviation, np.asarray(squares / n, x.dtype)


def sum_neighbours(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """For each channel c of (N, C, …) the sum of the channels c - before … c + after that exist."""
    channels = x.shape[1]
    total = np.zeros_like(x)
    for offset in range(-min(before, channels), min(after, channels) + 1):
        # add channel c + offset to channel c, for all c at once
        source = slice(max(offset, 0), channels + min(offset, 0))
        target = slice(max(-offset, 0), channels - max(offset, 0))
        total[:, target] += x[:, source]
    return total
