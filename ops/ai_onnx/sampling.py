"""Operators that read a tensor at places computed at run time: GridSample, RoiAlign, DeformConv."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.conv import check_bias, check_weights
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import PER_CALL, fill_cost, multiply_adds, wide_copies, wide_itemsize
from onnxwalk.ops.shared.interpolation import cubic, hat
from onnxwalk.ops.shared.numeric import dtype_limits, in_float32, wide
from onnxwalk.ops.shared.values import all_ints, as_ints, zero
from onnxwalk.ops.shared.windows import window_axes

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
    places = []
    for length, g in zip(x.shape[2:], np.moveaxis(grid, -1, 0)[::-1], strict=True):
        g = g.astype(np.float64)
        place = (g + 1) / 2 * (length - 1) if align_corners else ((g + 1) * length - 1) / 2
        place = _bring_near(place, length, padding_mode, align_corners)
        places.append(np.rint(place) if mode == "nearest" else place)
    nowhere = np.logical_or.reduce([np.isnan(place) for place in places])
    if nowhere.any():
        places = [np.where(nowhere, 0.0, place) for place in places]

    def map_outside(i: np.ndarray, length: int) -> np.ndarray:
        return _apply_padding_mode(i, length, padding_mode, align_corners)

    if mode == "nearest":
        index = [map_outside(p, d) for p, d in zip(places, x.shape[2:], strict=True)]
        y = np.moveaxis(_read_pixels(_channels_last(x), index), -1, 1)
        return _without_places(y, nowhere)
    if x.dtype.kind in "Ob":
        raise ValueError(f"{x.dtype} can only be sampled with mode nearest, not {mode}")
    y = x.astype(np.float64) if x.dtype.kind in "iu" else wide(x)
    if mode == "linear":
        y = _interpolate(y, places, hat, 1, map_outside)
    else:
        y = _interpolate(y, places, lambda d: cubic(d, -0.75), 2, map_outside)
    if x.dtype.kind in "iu":
        lowest, highest = dtype_limits(x.dtype)
        y = np.where(y >= highest, highest, np.where(y <= lowest, lowest, y))
    return _without_places(y.astype(x.dtype, copy=False), nowhere)


@op("GridSample", since=16)
def grid_sample_16(x, grid, *, align_corners=0, mode="bilinear", padding_mode="zeros"):
    """GridSample of (N, C, H, W) with the modes bilinear, nearest and bicubic. Spec: GridSample-16.

    The spec leaves open what nearest does between two pixels: the even one, as in 20.
    """
    modes = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}
    if mode not in modes:
        raise ValueError(f"mode {mode!r} is not bilinear, nearest or bicubic")
    if x.ndim != 4:
        raise ValueError(f"x {x.shape} of GridSample-16 should be (N, C, H, W)")
    return grid_sample(
        x, grid, align_corners=align_corners, mode=modes[mode], padding_mode=padding_mode
    )


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


def _read_pixels(x: np.ndarray, index: Sequence[np.ndarray]) -> np.ndarray:
    """x[n, *index[n]] for x (N, D1 … Dr, C) and index arrays (N, O…) of integers; 0 outside.

    The result is (N, O…, C): a pixel's channels are contiguous, and read at once.
    """
    is_inside = np.ones(index[0].shape, bool)
    for i, length in zip(index, x.shape[1:], strict=False):
        is_inside &= (i >= 0) & (i < length)
    if not x.size:
        return np.full((*is_inside.shape, x.shape[-1]), zero(x.dtype), x.dtype)
    sample = np.arange(len(x)).reshape(-1, *[1] * (is_inside.ndim - 1))
    pixel = (sample, *(np.where(is_inside, i, 0).astype(np.intp) for i in index))
    y = x[pixel]
    if not is_inside.all():
        y[~is_inside] = zero(x.dtype)
    return y


def _channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _interpolate(
    x: np.ndarray,
    places: Sequence[np.ndarray],
    w: Callable[[np.ndarray], np.ndarray],
    support: int,
    map_outside: Callable[[np.ndarray, int], np.ndarray] = lambda i, length: i,
) -> np.ndarray:
    """sum_i w(i1 - p1)·w(i2 - p2)·…·x[n, c, i1, i2, …] over the i nearer than ``support``."""
    taps = []
    for place, length in zip(places, x.shape[2:], strict=True):
        near = [np.floor(place) + step for step in range(1 - support, support + 1)]
        taps.append([(map_outside(i, length), w(i - place)) for i in near])
    pixels = _channels_last(x)
    y = np.zeros((*places[0].shape, x.shape[1]), x.dtype)
    real = y.real.dtype
    for corner in itertools.product(*taps):
        part = _read_pixels(pixels, [i for i, _ in corner])
        part *= np.prod([amount for _, amount in corner], axis=0).astype(real)[..., None]
        y += part
    return np.ascontiguousarray(np.moveaxis(y, -1, 1))


@grid_sample.cost
@grid_sample_16.cost
def cost_of_grid_sample(x: np.ndarray, grid: np.ndarray, *, mode: str = "linear", **_: Any) -> Cost:
    support = {"nearest": 0, "cubic": 2, "bicubic": 2}.get(mode, 1)
    item = 8 if x.dtype.kind in "iu" and support else wide_itemsize(x.dtype)
    cost = _cost_of_reading(x, size(grid.shape[:-1]), x.ndim - 2, support, item)
    y = size(grid.shape[:-1]) * x.shape[1]
    cast = item * x.size if item != x.itemsize else 0
    back = 4 * item * y if x.dtype.kind in "iu" and support else x.itemsize * y
    return Cost(cost.memory + cast + back, cost.work + 30 * y)


def _cost_of_reading(x: np.ndarray, places: int, rank: int, support: int, item: int) -> Cost:
    """The pixels, channels last; the coordinates along each axis, and for each tap an index and a
    weight; the sum so far, and the pixels of one tap of each axis."""
    taps = 2 * support
    corners = max(taps, 1) ** rank
    coordinates = (40 + 40 * taps + 40) * rank * places
    read = 3 * item * places * x.shape[1]
    work = corners * places * (30 * rank + 30 * x.shape[1] + 20)
    return Cost(
        item * x.size + coordinates + read, work + 20 * x.size + 20 * corners * rank * PER_CALL
    )


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
    axes = []
    for length in lengths:
        i = np.arange(length, dtype=np.float64)
        if align_corners:
            axes.append(2 * i / (length - 1) - 1 if length > 1 else i)
        else:
            axes.append((2 * i + 1) / length - 1)
    corners = np.meshgrid(*axes, indexing="ij")
    places = np.stack([*corners[::-1], np.ones(lengths)], -1).reshape(-1, rank + 1)
    grid = places.astype(theta.dtype) @ np.swapaxes(theta, 1, 2)
    return grid.reshape(len(theta), *lengths, rank)


@affine_grid.cost
def cost_of_affine_grid(theta: np.ndarray, size: np.ndarray, **_: Any) -> Cost:
    """Coordinates in double: by axis, stacked, and in the dtype of theta; and the result."""
    lengths = as_ints(size)[2:]
    places, rank = math.prod(max(n, 0) for n in lengths), len(lengths)
    item = wide_itemsize(theta.dtype)
    memory = places * ((16 + item) * (rank + 1) + item * rank * len(theta)) + wide_copies(theta)
    rounded = theta.itemsize * places * rank * len(theta) if wide_copies(theta) else 0
    return Cost(memory + rounded, 30 * places * rank * (2 + len(theta)))


# ----------------------------------------------------------------------------------- RoiAlign


@op("RoiAlign", since=16)
@in_float32
def roi_align(
    x,
    rois,
    batch_indices,
    *,
    coordinate_transformation_mode="half_pixel",
    mode="avg",
    output_height=1,
    output_width=1,
    sampling_ratio=0,
    spatial_scale=1.0,
):
    """The mean (or maximum) of x, read bilinearly at a grid of points in each bin of each region

    x (N, C, H, W), rois (R, 4) as x1, y1, x2, y2 on the scale of the image, which is x's times
    spatial_scale, batch_indices (R); y (R, C, output_height, output_width). A bin is read at
    sampling_ratio² points, or one for each pixel that it covers. half_pixel takes 0.5 off the
    coordinates; output_half_pixel doesn't, but widens regions to one pixel.

    ``max`` is over what each of a point's four pixels contributes to its value, not over the
    values: the spec leaves that open, and both ONNX's case and ONNX Runtime have it so.
    Spec: RoiAlign-16, RoiAlign-22.
    """
    if x.ndim != 4 or batch_indices.ndim != 1 or rois.shape != (len(batch_indices), 4):
        raise ValueError(
            f"x {x.shape}, rois {rois.shape} and batch_indices {batch_indices.shape} should be "
            "(N, C, H, W), (R, 4) and (R)"
        )
    if mode not in ("avg", "max"):
        raise ValueError(f"mode {mode!r} is not avg or max")
    if coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise ValueError(
            f"coordinate_transformation_mode {coordinate_transformation_mode!r} is not half_pixel "
            "or output_half_pixel"
        )
    if len(rois) and 0 in x.shape[2:]:
        raise ValueError(f"x {x.shape} has no pixels to read")
    if min(output_height, output_width) < 1:
        raise ValueError(
            f"output_height {output_height} and output_width {output_width} should be at least 1"
        )
    shifted = coordinate_transformation_mode == "half_pixel"
    corners = rois * rois.dtype.type(spatial_scale) - rois.dtype.type(0.5 * shifted)
    if not np.isfinite(corners).all():
        raise ValueError("rois and spatial_scale should be finite numbers")
    y = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
    planes = _channels_last(x)
    combine = np.add if mode == "avg" else np.maximum
    for region, (x1, y1, x2, y2), n in zip(y, corners, all_ints(batch_indices), strict=True):
        image = planes[normalize_axis(n, len(x))]
        height, width = (y2 - y1, x2 - x1) if shifted else (max(y2 - y1, 1), max(x2 - x1, 1))
        rows = _bin_points(y1, height / output_height, output_height, sampling_ratio)
        columns = _bin_points(x1, width / output_width, output_width, sampling_ratio)
        if not rows.size or not columns.size:
            continue  # an empty region
        points = None
        for (i, a), (j, b) in itertools.product(
            _neighbours(rows, x.shape[2]), _neighbours(columns, x.shape[3])
        ):
            part = image[i[:, None], j]
            part *= (a[:, None] * b).astype(x.dtype)[..., None]
            points = part if points is None else combine(points, part, out=points)
        assert points is not None
        bins = points.reshape(output_height, -1, output_width, columns.shape[1], x.shape[1])
        pooled = bins.mean((1, 3)) if mode == "avg" else bins.max((1, 3))
        region[...] = np.moveaxis(pooled, -1, 0)
    return y


@op("RoiAlign", since=10)
@attributes_of(roi_align, without=["coordinate_transformation_mode"])
def roi_align_10(x, rois, batch_indices, **attributes):
    """RoiAlign that takes the coordinates as they are: output_half_pixel. Spec: RoiAlign-10."""
    attributes["coordinate_transformation_mode"] = "output_half_pixel"
    return roi_align(x, rois, batch_indices, **attributes)


def _bin_points(start: float, length: float, bins: int, ratio: int) -> np.ndarray:
    """Coordinates (bins, points), evenly spread within bins of this length."""
    points = ratio if ratio > 0 else max(0, int(np.ceil(length)))
    steps = (np.arange(points) + 0.5) / max(points, 1)
    return start + (np.arange(bins)[:, None] + steps) * length


def _neighbours(places: np.ndarray, length: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pixels on both sides of each coordinate and their weights; 0 more than a pixel
    outside."""
    place = places.reshape(-1)
    is_inside = (place >= -1) & (place <= length)
    place = place.clip(0, length - 1)
    before = np.floor(place).astype(np.intp)
    weight = place - before
    return [
        (before, np.where(is_inside, 1 - weight, 0)),
        (np.minimum(before + 1, length - 1), np.where(is_inside, weight, 0)),
    ]


@roi_align.cost
@roi_align_10.cost
def cost_of_roi_align(
    x: np.ndarray,
    rois: np.ndarray,
    batch_indices: np.ndarray,
    *,
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    **_: Any,
) -> Cost:
    """The result; the planes, channels last; and the points of one region and of the one before:
    the sum over their four pixels so far, and the next pixel."""
    item, channels = wide_itemsize(x.dtype), x.shape[1]
    bins = max(output_height, 0), max(output_width, 0)

    def points(length: float, count: int) -> int:
        """Along one side of a region; it may be off by what float32 rounds."""
        each = math.ceil(1.001 * length * spatial_scale / max(count, 1)) + 1
        return count * (sampling_ratio if sampling_ratio > 0 else each)

    lengths = np.abs(rois[:, 2:].astype(np.float64) - rois[:, :2].astype(np.float64))
    sides = [(points(h, bins[0]), points(w, bins[1])) for w, h in lengths.tolist()]
    largest = max((rows * columns for rows, columns in sides), default=0)
    coordinates = max(map(sum, sides), default=0)
    total = sum(rows * columns for rows, columns in sides)
    cost = fill_cost((len(rois), channels, *bins), f"f{item}")
    memory = (
        item * (x.size + 5 * channels * largest) + (16 + 2 * item) * largest + 100 * coordinates
    )
    memory += wide_copies(x, rois) + (x.itemsize * cost.memory // 4 if wide_copies(x) else 0)
    work = cost.work + 20 * x.size + total * (60 * channels + 60)
    return Cost(cost.memory + memory, work + 40 * PER_CALL * len(rois))


# --------------------------------------------------------------------------------- DeformConv


@op("DeformConv", since=19)
@in_float32
def deform_conv(
    x,
    w,
    offset,
    b=None,
    mask=None,
    *,
    dilations=None,
    group=1,
    kernel_shape=None,
    offset_group=1,
    pads=None,
    strides=None,
):
    """y[n, m, o] = sum_{c, k} w[m, c, k]·mask·x[n, c, o·stride + k·dilation - pad + offset]

    A Conv whose taps are shifted by offset[n, k, axis, o]; x is interpolated linearly there, and
    is 0 outside. x (N, C, D1 … Dn), w (M, C / group, K1 … Kn), offset
    (N, offset_group·K·n, O1 … On), mask (N, offset_group·K, O1 … On) with K = K1·…·Kn, b (M).
    Channels are split in offset_group parts, each with offsets of its own.

    Spec: DeformConv-19, DeformConv-22.
    """
    kernel = check_weights(w, kernel_shape)
    axes = window_axes(x.shape[2:], kernel, strides=strides, dilations=dilations, pads=pads)
    batch, channels, rank = len(x), x.shape[1], x.ndim - 2
    check_bias(b, len(w))
    if (
        min(group, offset_group) < 1
        or channels % offset_group
        or channels % group
        or len(w) % group
    ):
        raise ValueError(
            f"group {group} and offset_group {offset_group} should divide {channels} channels, "
            f"and group {len(w)} output channels"
        )
    if w.shape[1] != channels // group:
        raise ValueError(f"w {w.shape} should have {channels // group} channels for x {x.shape}")
    windows = tuple(axis.windows for axis in axes)
    taps = int(np.prod(kernel))
    for name, value, per_tap in (("offset", offset, rank), ("mask", mask, 1)):
        expected = (batch, offset_group * taps * per_tap, *windows)
        if value is not None and value.shape != expected:
            raise ValueError(f"{name} {value.shape} should be {expected}")
    parts = batch * offset_group
    moved = offset.reshape(parts, *kernel, rank, *windows)
    places = []
    for i, axis in enumerate(axes):
        tap = np.arange(axis.kernel) * axis.dilation - axis.begin
        here = tap.reshape([-1 if j == i else 1 for j in range(2 * rank)])
        window = np.arange(axis.windows) * axis.stride
        there = window.reshape([-1 if j == rank + i else 1 for j in range(2 * rank)])
        places.append(moved.take(i, rank + 1) + (here + there))
    columns = _interpolate(x.reshape(parts, channels // offset_group, *x.shape[2:]), places, hat, 1)
    if mask is not None:
        columns *= mask.reshape(parts, 1, *kernel, *windows)
    columns = columns.reshape(batch, group, channels // group * taps, -1)
    y = w.reshape(group, len(w) // group, -1) @ columns
    y = y.reshape(batch, len(w), *windows)
    return y if b is None else y + b.reshape(-1, *[1] * rank)


@deform_conv.cost
def cost_of_deform_conv(
    x: np.ndarray,
    w: np.ndarray,
    offset: np.ndarray,
    b: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    dilations: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    **_: Any,
) -> Cost:
    """The pixels read for each tap of each window, and their product with the weights."""
    axes = window_axes(x.shape[2:], w.shape[2:], strides=strides, dilations=dilations, pads=pads)
    windows = size(axis.windows for axis in axes)
    places = len(x) * offset_group * size(w.shape[2:]) * windows
    item = wide_itemsize(x.dtype)
    parts = np.broadcast_to(
        np.zeros((), x.dtype), (len(x) * offset_group, x.shape[1] // offset_group, *x.shape[2:])
    )
    cost = _cost_of_reading(parts, places, len(axes), 1, item)
    y = len(x) * len(w) * windows
    memory = wide_copies(x, w, offset, b, mask) + item * (2 * y + w.size)
    macs = y * size(w.shape[1:])
    return Cost(cost.memory + memory, cost.work + multiply_adds(macs, x.dtype) + 20 * y)


_PADDING = {"padding_mode": "zeros border reflection"}
grid_sample.choices({"mode": "linear nearest cubic", **_PADDING})
grid_sample_16.choices({"mode": "bilinear nearest bicubic", **_PADDING})
declare(
    roi_align, roi_align_10,
    choices={
        "mode": "avg max",
        "coordinate_transformation_mode": "half_pixel output_half_pixel",
    },
)  # fmt: skip
