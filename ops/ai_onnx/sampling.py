"""Operators that read an image at places that an input says: RoiAlign, DeformConv."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.conv import check_bias, check_weights
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import PER_CALL, fill_cost, multiply_adds, wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import in_float32
from onnxwalk.ops.shared.pixels import (
    LINEAR,
    channels_last,
    cost_of_reading,
    interpolate,
    through_interpolation,
)
from onnxwalk.ops.shared.values import all_ints
from onnxwalk.ops.shared.windows import Axis, window_axes

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
    y = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
    planes = channels_last(x)
    combine = np.add if mode == "avg" else np.maximum
    shifted = coordinate_transformation_mode == "half_pixel"
    bins = output_height, output_width
    indices = all_ints(batch_indices)
    regions = _regions(x.shape, rois, indices, shifted, bins, sampling_ratio, spatial_scale)
    for region, n, columns, neighbours in regions:
        image = planes[n]
        points = None
        for (i, a), (j, b) in neighbours:
            part = image[i[:, None], j]
            part *= (a[:, None] * b).astype(x.dtype)[..., None]
            points = part if points is None else combine(points, part, out=points)
        assert points is not None
        by_bin = points.reshape(output_height, -1, output_width, columns, x.shape[1])
        pooled = by_bin.mean((1, 3)) if mode == "avg" else by_bin.max((1, 3))
        y[region] = np.moveaxis(pooled, -1, 0)
    return y


@op("RoiAlign", since=10)
@attributes_of(roi_align, without=["coordinate_transformation_mode"])
def roi_align_10(x, rois, batch_indices, **attributes):
    """RoiAlign that takes the coordinates as they are: output_half_pixel. Spec: RoiAlign-10."""
    attributes["coordinate_transformation_mode"] = "output_half_pixel"
    return roi_align(x, rois, batch_indices, **attributes)


def _regions(
    shape: Sequence[int],
    rois: np.ndarray,
    indices: Sequence[int],
    shifted: bool,
    bins: tuple[int, int],
    sampling_ratio: int,
    spatial_scale: float,
) -> Iterator[tuple[int, int, int, list[Any]]]:
    """Each region that isn't empty: its number, its image, how many columns of points a bin has,
    and for each of the four neighbours of all points the rows and columns with their weights."""
    corners = rois * rois.dtype.type(spatial_scale) - rois.dtype.type(0.5 * shifted)
    if not np.isfinite(corners).all():
        raise ValueError("rois and spatial_scale should be finite numbers")
    for region, ((x1, y1, x2, y2), n) in enumerate(zip(corners, indices, strict=True)):
        height, width = (y2 - y1, x2 - x1) if shifted else (max(y2 - y1, 1), max(x2 - x1, 1))
        rows = _bin_points(y1, height / bins[0], bins[0], sampling_ratio)
        columns = _bin_points(x1, width / bins[1], bins[1], sampling_ratio)
        if rows.size and columns.size:
            sides = _neighbours(rows, shape[2]), _neighbours(columns, shape[3])
            yield region, normalize_axis(n, shape[0]), columns.shape[1], [*product(*sides)]


@roi_align.vjp
def vjp_of_roi_align(
    dy, x, rois, batch_indices, *, coordinate_transformation_mode, mode,
    output_height, output_width, sampling_ratio, spatial_scale,
):  # fmt: skip
    """To the four pixels around each point by their weights; or to the first that is largest."""
    dx, planes = np.zeros_like(channels_last(x)), channels_last(x)
    shifted = coordinate_transformation_mode == "half_pixel"
    bins, indices = (output_height, output_width), all_ints(batch_indices)
    regions = _regions(x.shape, rois, indices, shifted, bins, sampling_ratio, spatial_scale)
    for region, n, columns, neighbours in regions:
        weights = [(a[:, None] * b).astype(x.dtype)[..., None] for (_, a), (_, b) in neighbours]
        height, width = weights[0].shape[:2]
        shape = (4, bins[0], height // bins[0], bins[1], columns, x.shape[1])
        of_bin = np.moveaxis(dy[region], 0, -1)[:, None, :, None]
        if mode == "avg":
            share = np.broadcast_to(of_bin / (shape[2] * columns), shape)
        else:
            pairs = zip(neighbours, weights, strict=True)
            seen = np.stack([planes[n][i[:, None], j] * w for ((i, _), (j, _)), w in pairs])
            seen = seen.reshape(shape).transpose(1, 3, 5, 0, 2, 4)
            flat = seen.reshape(*seen.shape[:3], -1)
            first = np.arange(flat.shape[-1]) == flat.argmax(-1)[..., None]
            share = first.reshape(seen.shape).transpose(3, 0, 4, 1, 5, 2) * of_bin
        share = share.reshape(4, height, width, x.shape[1])
        for ((i, _), (j, _)), weight, part in zip(neighbours, weights, share, strict=True):
            np.add.at(dx[n], (i[:, None], j), part * weight)
    return np.moveaxis(dx, -1, 1)


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


@vjp_of_roi_align.cost
def cost_of_vjp_of_roi_align(dy, x, rois, batch_indices, **attributes):
    """The planes and their gradient; and for all pixels of a region four times what the forward
    has."""
    cost = cost_of_roi_align(x, rois, batch_indices, **attributes)
    return Cost(8 * cost.memory + 2 * wide_itemsize(x.dtype) * x.size, 8 * cost.work)


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
    taps = math.prod(kernel)
    for name, value, per_tap in (("offset", offset, rank), ("mask", mask, 1)):
        expected = (batch, offset_group * taps * per_tap, *windows)
        if value is not None and value.shape != expected:
            raise ValueError(f"{name} {value.shape} should be {expected}")
    parts, places = batch * offset_group, _moved_taps(offset, axes, batch * offset_group)
    columns = interpolate(x.reshape(parts, channels // offset_group, *x.shape[2:]), places, LINEAR)
    if mask is not None:
        columns *= mask.reshape(parts, 1, *kernel, *windows)
    columns = columns.reshape(batch, group, channels // group * taps, -1)
    y = products.matmul(w.reshape(group, len(w) // group, -1), columns)
    y = y.reshape(batch, len(w), *windows)
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def _moved_taps(offset: np.ndarray, axes: Sequence[Axis], parts: int) -> list[np.ndarray]:
    """Along each axis where the taps of all windows are: (parts, K1 … Kn, O1 … On)."""
    rank = len(axes)
    moved = offset.reshape(
        parts, *(axis.kernel for axis in axes), rank, *(axis.windows for axis in axes)
    )
    places = []
    for i, axis in enumerate(axes):
        tap = np.arange(axis.kernel) * axis.dilation - axis.begin
        here = tap.reshape([-1 if j == i else 1 for j in range(2 * rank)])
        window = np.arange(axis.windows) * axis.stride
        there = window.reshape([-1 if j == rank + i else 1 for j in range(2 * rank)])
        places.append(moved.take(i, rank + 1) + (here + there))
    return places


@deform_conv.vjp
def vjp_of_deform_conv(
    dy, x, w, offset, mask, *, dilations, group, kernel_shape, offset_group, pads, strides
):
    """Through the product with the weights, the mask, and the interpolation."""
    axes = window_axes(x.shape[2:], w.shape[2:], strides=strides, dilations=dilations, pads=pads)
    parts, places = len(x) * offset_group, _moved_taps(offset, axes, len(x) * offset_group)
    by_part = x.reshape(parts, x.shape[1] // offset_group, *x.shape[2:])
    columns = interpolate(by_part, places, LINEAR)
    amounts = None if mask is None else mask.reshape(parts, 1, *columns.shape[2:])
    weighted = columns if amounts is None else columns * amounts
    rows = dy.reshape(len(x), group, len(w) // group, -1)
    flat = weighted.reshape(len(x), group, -1, rows.shape[-1])
    dw = products.matmul(rows, flat.swapaxes(2, 3)).sum(0).reshape(w.shape)
    d_columns = products.matmul(w.reshape(group, len(w) // group, -1).swapaxes(1, 2), rows)
    d_columns = d_columns.reshape(columns.shape)
    d_mask = None
    if amounts is not None:
        d_mask = (d_columns * columns).sum(1).reshape(mask.shape)
        d_columns = d_columns * amounts
    dx, d_places = through_interpolation(d_columns, by_part, places, LINEAR)
    d_offset = np.stack(d_places, 1 + len(axes)).reshape(offset.shape)
    return dx.reshape(x.shape), dw, d_offset, dy.sum((0, *range(2, dy.ndim))), d_mask


@vjp_of_deform_conv.cost
def cost_of_vjp_of_deform_conv(dy, x, w, offset, mask, **attributes):
    """The columns and their gradient, weighted or not, and what reading them takes."""
    names = ("dilations", "offset_group", "pads", "strides")
    cost = cost_of_deform_conv(x, w, offset, None, mask, **{n: attributes[n] for n in names})
    columns = x.shape[1] * size(w.shape[2:]) * size(dy.shape[2:]) * len(x)
    item = wide_itemsize(x.dtype)
    more = item * (8 * columns + 4 * x.size + len(x) * w.size) + 8 * offset.nbytes
    return Cost(3 * cost.memory + more, 8 * cost.work + 100 * columns)


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
    cost = cost_of_reading(parts, places, len(axes), 1, item)
    y = len(x) * len(w) * windows
    memory = wide_copies(x, w, offset, b, mask) + item * (2 * y + w.size)
    macs = y * size(w.shape[1:])
    return Cost(cost.memory + memory, cost.work + multiply_adds(macs, x.dtype) + 20 * y)


@roi_align_10.vjp
def vjp_of_roi_align_10(dy, x, rois, batch_indices, **attributes):
    mode = "output_half_pixel"
    return vjp_of_roi_align(
        dy, x, rois, batch_indices, coordinate_transformation_mode=mode, **attributes
    )


vjp_of_roi_align_10.cost(cost_of_vjp_of_roi_align)
declare(roi_align, roi_align_10, no_gradient_of="rois")
declare(
    roi_align, roi_align_10,
    choices={
        "mode": "avg max",
        "coordinate_transformation_mode": "half_pixel output_half_pixel",
    },
)  # fmt: skip
