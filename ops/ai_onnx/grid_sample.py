"""Sampling at a grid of places: GridSample, and AffineGrid, which makes the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import dtype_limits, in_float32, wide
from onnxwalk.ops.shared.pixels import (
    LINEAR,
    MapOutside,
    add_pixels,
    channels_last,
    cost_of_reading,
    cubic_kernel,
    interpolate,
    read_pixels,
    through_interpolation,
)
from onnxwalk.ops.shared.values import as_ints, zero

# --------------------------------------------------------------------------------- GridSample


@op("GridSample", since=20)
def grid_sample(x, grid, *, align_corners=0, mode="linear", padding_mode="zeros"):
    """y[n, c, o] = x[n, c] at the place grid[n, o]: nearest, linear or cubic (Keys, a = -0.75)

    x (N, C, D1 … Dr), grid (N, O1 … Or, r) with the innermost axis first and each place between -1
    and 1: the outer edges of the corner pixels, or with ``align_corners`` their centres.
    y (N, C, O1 … Or). Outside lie ``zeros``, the ``border`` pixels, or a ``reflection``. nearest
    takes the even neighbour of two. Integers are interpolated in floating point, and cut off. NaN
    is no place: there y is NaN, or 0 if its type has none.

    Spec: GridSample-20, GridSample-22.
    """
    rank = x.ndim - 2
    if rank < 1 or grid.ndim != x.ndim or grid.shape[-1] != rank or len(grid) != len(x):
        raise ValueError(f"grid {grid.shape} and x {x.shape} are incompatible")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"padding_mode {padding_mode!r} is not zeros, border or reflection")
    if mode not in ("nearest", "linear", "cubic"):
        raise ValueError(f"mode {mode!r} is not nearest, linear or cubic")
    places, nowhere = _places(x.shape[2:], grid, align_corners, mode, padding_mode)
    map_outside = _outside(padding_mode, align_corners)
    if mode == "nearest":
        index = [map_outside(p, d) for p, d in zip(places, x.shape[2:], strict=True)]
        y = np.moveaxis(read_pixels(channels_last(x), index), -1, 1)
        return _without_places(y, nowhere)
    if x.dtype.kind in "Ob":
        raise ValueError(f"{x.dtype} can only be sampled with mode nearest, not {mode}")
    y = x.astype(np.float64) if x.dtype.kind in "iu" else wide(x)
    y = interpolate(y, places, _KERNELS[mode], map_outside)
    if x.dtype.kind in "iu":
        lowest, highest = dtype_limits(x.dtype)
        y = np.where(y >= highest, highest, np.where(y <= lowest, lowest, y))
    return _without_places(y.astype(x.dtype, copy=False), nowhere)


@op("GridSample", since=16)
def grid_sample_16(x, grid, *, align_corners=0, mode="bilinear", padding_mode="zeros"):
    """GridSample of (N, C, H, W) with the modes bilinear, nearest and bicubic. Spec: GridSample-16.

    The spec leaves open what nearest does between two pixels: the even one, as in 20.
    """
    if mode not in _MODES_16:
        raise ValueError(f"mode {mode!r} is not bilinear, nearest or bicubic")
    if x.ndim != 4:
        raise ValueError(f"x {x.shape} of GridSample-16 should be (N, C, H, W)")
    return grid_sample(
        x, grid, align_corners=align_corners, mode=_MODES_16[mode], padding_mode=padding_mode
    )


_MODES_16 = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}


@grid_sample.vjp
def vjp_of_grid_sample(dy, x, grid, *, align_corners, mode, padding_mode):
    places, nowhere = _places(x.shape[2:], grid, align_corners, mode, padding_mode)
    dy = np.where(nowhere[:, None], 0, dy)
    map_outside = _outside(padding_mode, align_corners)
    if mode == "nearest":
        index = [map_outside(p, d) for p, d in zip(places, x.shape[2:], strict=True)]
        pixels = (len(x), *x.shape[2:], x.shape[1])
        dx = add_pixels(np.moveaxis(dy, 1, -1), index, pixels)
        return np.moveaxis(dx, -1, 1), np.zeros_like(grid)
    dx, d_places = through_interpolation(dy, x, places, _KERNELS[mode], map_outside)
    factors = [(length - 1 if align_corners else length) / 2 for length in x.shape[2:]]
    by_axis = [d * factor for d, factor in zip(d_places, factors, strict=True)]
    return dx, np.stack(by_axis[::-1], -1).astype(grid.dtype)


@grid_sample_16.vjp
def vjp_of_grid_sample_16(dy, x, grid, *, align_corners, mode, padding_mode):
    return vjp_of_grid_sample(
        dy, x, grid, align_corners=align_corners, mode=_MODES_16[mode], padding_mode=padding_mode
    )


_KERNELS = {"linear": LINEAR, "cubic": cubic_kernel(-0.75)}


def _places(
    lengths: Sequence[int], grid: np.ndarray, align_corners: int, mode: str, padding_mode: str
) -> tuple[list[np.ndarray], np.ndarray]:
    """The coordinates along each axis, and which of them are NaN."""
    places = []
    for length, g in zip(lengths, np.moveaxis(grid, -1, 0)[::-1], strict=True):
        g = g.astype(np.float64)
        place = (g + 1) / 2 * (length - 1) if align_corners else ((g + 1) * length - 1) / 2
        place = _bring_near(place, length, padding_mode, align_corners)
        places.append(np.rint(place) if mode == "nearest" else place)
    nowhere = np.logical_or.reduce([np.isnan(place) for place in places])
    if nowhere.any():
        places = [np.where(nowhere, 0.0, place) for place in places]
    return places, nowhere


def _outside(padding_mode: str, align_corners: int) -> MapOutside:
    def map_outside(i: np.ndarray, length: int) -> np.ndarray:
        return _apply_padding_mode(i, length, padding_mode, align_corners)

    return map_outside


#: the largest coordinates that are read as they are: above 2**53, i + 1 is i
_FAR = 2.0**50


def _bring_near(
    place: np.ndarray, length: int, padding_mode: str, align_corners: int
) -> np.ndarray:
    """The coordinates, with those that are too large for their neighbours to be other numbers moved
    to nearer ones of the same value: just outside, or by whole periods of the reflection (infinity
    has none: NaN)."""
    first, last = _ends(length, align_corners)
    if padding_mode != "reflection" or last <= first:
        return place.clip(-3.0, length + 2.0)  # where even the neighbours of cubic are outside
    is_far = np.abs(place) > _FAR
    return np.where(is_far, np.mod(place, 2 * (last - first)), place) if is_far.any() else place


def _ends(length: int, align_corners: int) -> tuple[float, float]:
    """The coordinates of the image's ends: -1 and 1 in the grid."""
    return (0.0, length - 1.0) if align_corners else (-0.5, length - 0.5)


def _without_places(y: np.ndarray, nowhere: np.ndarray) -> np.ndarray:
    """y (N, C, O1 …) with NaN, or else 0, where there is no place (N, O1 …)."""
    if not nowhere.any():
        return y
    is_floating = np.issubdtype(wide(y[:0]).dtype, np.inexact)
    return np.where(
        nowhere[:, None], np.array(np.nan if is_floating else zero(y.dtype), y.dtype), y
    )


def _apply_padding_mode(
    place: np.ndarray, length: int, padding_mode: str, align_corners: int
) -> np.ndarray:
    """The coordinates with those outside moved to the pixels that padding_mode names."""
    first, last = _ends(length, align_corners)
    is_outside = (place < first) | (place > last)
    if padding_mode == "border":
        return np.where(is_outside, place.clip(0, length - 1), place)
    if padding_mode == "reflection":
        span = last - first
        if span <= 0:
            return np.where(is_outside, 0.0, place)
        there_and_back = np.mod(place - first, 2 * span)
        reflected = first + np.minimum(there_and_back, 2 * span - there_and_back)
        return np.where(is_outside, reflected, place)
    return place


@grid_sample.cost
@grid_sample_16.cost
def cost_of_grid_sample(x: np.ndarray, grid: np.ndarray, *, mode: str = "linear", **_: Any) -> Cost:
    support = {"nearest": 0, "cubic": 2, "bicubic": 2}.get(mode, 1)
    item = 8 if x.dtype.kind in "iu" and support else wide_itemsize(x.dtype)
    cost = cost_of_reading(x, size(grid.shape[:-1]), x.ndim - 2, support, item)
    y = size(grid.shape[:-1]) * x.shape[1]
    cast = item * x.size if item != x.itemsize else 0
    back = 4 * item * y if x.dtype.kind in "iu" and support else x.itemsize * y
    return Cost(cost.memory + cast + back, cost.work + 30 * y)


# --------------------------------------------------------------------------------- AffineGrid


@op("AffineGrid", since=20)
@in_float32
def affine_grid(theta, size, *, align_corners=0):
    """grid[n, h, w] = theta[n] @ (x[w], y[h], 1): places for GridSample

    theta (N, 2, 3) and size (N, C, H, W), or (N, 3, 4) and (N, C, D, H, W); grid (N, H, W, 2) or
    (N, D, H, W, 3). x goes evenly from the first pixel's outer edge, -1, to the last one's, 1, or
    with ``align_corners`` from centre to centre. There, a single pixel is at 0, as in PyTorch, to
    which the spec refers; the spec's function body divides 0 by 0.

    Spec: AffineGrid-20.
    """
    lengths = as_ints(size)[2:]
    rank = len(lengths)
    if rank not in (2, 3) or theta.shape != (as_ints(size)[0], rank, rank + 1) or min(lengths) < 0:
        raise ValueError(f"theta {theta.shape} and size {as_ints(size)} are incompatible")
    grid = products.matmul(
        _points(lengths, align_corners).astype(theta.dtype), np.swapaxes(theta, 1, 2)
    )
    return grid.reshape(len(theta), *lengths, rank)


@affine_grid.vjp
def vjp_of_affine_grid(dy, *, theta_shape, size, align_corners):
    points = _points(as_ints(size)[2:], align_corners).astype(dy.dtype)
    rows = dy.reshape(theta_shape[0], len(points), theta_shape[1])
    return products.matmul(np.swapaxes(rows, 1, 2), points)


def _points(lengths: Sequence[int], align_corners: int) -> np.ndarray:
    """(x, y, …, 1) for each pixel, row by row."""
    axes = []
    for length in lengths:
        i = np.arange(length, dtype=np.float64)
        if align_corners:
            axes.append(2 * i / (length - 1) - 1 if length > 1 else i)
        else:
            axes.append((2 * i + 1) / length - 1)
    corners = np.meshgrid(*axes, indexing="ij")
    return np.stack([*corners[::-1], np.ones(lengths)], -1).reshape(-1, len(lengths) + 1)


@affine_grid.cost
def cost_of_affine_grid(theta: np.ndarray, size: np.ndarray, **_: Any) -> Cost:
    """Coordinates in double: by axis, stacked, and in the dtype of theta; and the result."""
    lengths = as_ints(size)[2:]
    places, rank = math.prod(max(n, 0) for n in lengths), len(lengths)
    item = wide_itemsize(theta.dtype)
    memory = places * ((16 + item) * (rank + 1) + item * rank * len(theta)) + wide_copies(theta)
    rounded = theta.itemsize * places * rank * len(theta) if wide_copies(theta) else 0
    return Cost(memory + rounded, 30 * places * rank * (2 + len(theta)))


@vjp_of_grid_sample.cost
@vjp_of_grid_sample_16.cost
def cost_of_vjp_of_grid_sample(dy, x, grid, *, mode, **_):
    """As the forward; for each tap its part of the gradient of x, and of the places."""
    cost = cost_of_grid_sample(x, grid, mode=mode)
    item = wide_itemsize(x.dtype)
    more = item * (4 * x.size + 6 * dy.size) + 60 * grid.size + 40 * dy.size // max(x.shape[1], 1)
    return Cost(2 * cost.memory + more, 6 * cost.work)


@vjp_of_affine_grid.cost
def cost_of_vjp_of_affine_grid(dy, *, theta_shape, size, **_):
    return cost_of_affine_grid(np.zeros(theta_shape, dy.dtype), size)


_PADDING = {"padding_mode": "zeros border reflection"}
grid_sample.choices({"mode": "linear nearest cubic", **_PADDING})
grid_sample_16.choices({"mode": "bilinear nearest bicubic", **_PADDING})
