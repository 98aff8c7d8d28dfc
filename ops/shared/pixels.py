"""Reading an array between its elements, and the way back.

x is (N, C, D1 … Dr), each place has a coordinate along each of the r axes, and what is read is
(N, C, O1 …).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.shared.cost import PER_CALL
from onnxwalk.ops.shared.gradients import add_rows
from onnxwalk.ops.shared.interpolation import cubic, hat, slope_of_cubic, slope_of_hat
from onnxwalk.ops.shared.values import zero


class Kernel(NamedTuple):
    """w(d), its derivative, and the distance from which on it is 0."""

    weight: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    support: int


LINEAR = Kernel(hat, slope_of_hat, 1)


def cubic_kernel(a: float) -> Kernel:
    return Kernel(lambda d: cubic(d, a), lambda d: slope_of_cubic(d, a), 2)


#: (indices, length of the axis) -> indices, those outside replaced
MapOutside = Callable[[np.ndarray, int], np.ndarray]


def _as_they_are(i: np.ndarray, length: int) -> np.ndarray:
    return i


def read_pixels(x: np.ndarray, index: Sequence[np.ndarray]) -> np.ndarray:
    """x[n, *index[n]] for x (N, D1 … Dr, C) and index arrays (N, O…) of integers; 0 outside.

    The result is (N, O…, C): a pixel's channels are contiguous, and read at once.
    """
    is_inside = _is_inside(index, x.shape[1:])
    if not x.size:
        return np.full((*is_inside.shape, x.shape[-1]), zero(x.dtype), x.dtype)
    sample = np.arange(len(x)).reshape(-1, *[1] * (is_inside.ndim - 1))
    pixel = (sample, *(np.where(is_inside, i, 0).astype(np.intp) for i in index))
    y = x[pixel]
    if not is_inside.all():
        y[~is_inside] = zero(x.dtype)
    return y


def add_pixels(dy: np.ndarray, index: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """The way back through ``read_pixels``: each pixel of (N, D1 … Dr, C) is the sum of what was
    read there, dy (N, O…, C)."""
    is_inside = _is_inside(index, shape[1:])
    pixel = np.broadcast_to(
        np.arange(shape[0]).reshape(-1, *[1] * (is_inside.ndim - 1)), is_inside.shape
    )
    for i, length in zip(index, shape[1:], strict=False):
        pixel = pixel * length + np.where(is_inside, i, 0).astype(np.intp)
    return add_rows(dy[is_inside], pixel[is_inside], math.prod(shape[:-1])).reshape(shape)


def _is_inside(index: Sequence[np.ndarray], lengths: Sequence[int]) -> np.ndarray:
    is_inside = np.ones(index[0].shape, bool)
    for i, length in zip(index, lengths, strict=False):
        is_inside &= (i >= 0) & (i < length)
    return is_inside


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def interpolate(
    x: np.ndarray,
    places: Sequence[np.ndarray],
    kernel: Kernel,
    map_outside: MapOutside = _as_they_are,
) -> np.ndarray:
    """sum_i w(i1 - p1)·w(i2 - p2)·…·x[n, c, i1, i2, …] over the i within the kernel's support."""
    taps = [
        [(map_outside(i, length), kernel.weight(i - place)) for i in _near(place, kernel)]
        for place, length in zip(places, x.shape[2:], strict=True)
    ]
    pixels = channels_last(x)
    y = np.zeros((*places[0].shape, x.shape[1]), x.dtype)
    real = y.real.dtype
    for corner in itertools.product(*taps):
        part = read_pixels(pixels, [i for i, _ in corner])
        part *= np.prod([amount for _, amount in corner], axis=0).astype(real)[..., None]
        y += part
    return np.ascontiguousarray(np.moveaxis(y, -1, 1))


def through_interpolation(
    dy: np.ndarray,
    x: np.ndarray,
    places: Sequence[np.ndarray],
    kernel: Kernel,
    map_outside: MapOutside = _as_they_are,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The gradients of x and of the places."""
    taps = [
        [
            (map_outside(i, length), kernel.weight(i - place), -kernel.slope(i - place))
            for i in _near(place, kernel)
        ]
        for place, length in zip(places, x.shape[2:], strict=True)
    ]
    pixels, dy = channels_last(x), np.moveaxis(dy, 1, -1)
    dx, d_places = np.zeros_like(pixels), [np.zeros(p.shape, dy.dtype) for p in places]
    for corner in itertools.product(*taps):
        index = [i for i, _, _ in corner]
        weights = [w for _, w, _ in corner]
        dx += add_pixels(dy * _product(weights, dy.dtype)[..., None], index, dx.shape)
        read = (read_pixels(pixels, index) * dy).sum(-1)
        for axis, (_, _, slope) in enumerate(corner):
            others = [*weights[:axis], slope, *weights[axis + 1 :]]
            d_places[axis] += read * _product(others, dy.dtype)
    return np.moveaxis(dx, -1, 1), d_places


def _product(factors: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    return np.prod(factors, axis=0).astype(dtype)


def _near(place: np.ndarray, kernel: Kernel) -> Iterator[np.ndarray]:
    """The integers within the kernel's support around each place."""
    for step in range(1 - kernel.support, kernel.support + 1):
        yield np.floor(place) + step


def cost_of_reading(x: np.ndarray, places: int, rank: int, support: int, item: int) -> Cost:
    """The pixels, channels last; the coordinates along each axis, and for each tap (there are none
    for nearest) an index and a weight; the sum so far, and the pixels of one tap of each axis."""
    taps = 2 * support
    corners = max(taps, 1) ** rank
    coordinates = (40 + (40 * taps + 40 if taps else 0)) * rank * places
    read = 3 * item * places * x.shape[1]
    work = corners * places * (30 * rank + 30 * x.shape[1] + 20)
    return Cost(
        item * x.size + coordinates + read, work + 20 * x.size + 20 * corners * rank * PER_CALL
    )
