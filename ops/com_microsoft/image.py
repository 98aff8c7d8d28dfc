"""Images: crops, samples at places, maxima of windows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import grid_sample as sampling
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared.cost import PER_CALL, wide_itemsize
from onnxwalk.ops.shared.values import as_ints
from onnxwalk.ops.shared.windows import AUTO_PAD, Axis, pool_axes, window_axes


@op("GridSample", since=1, domain=DOMAIN)
@attributes_of(sampling.grid_sample_16)
def grid_sample(X, Grid, **attributes):
    """X (N, C, H, W) at the places Grid (N, O1, O2, 2), as GridSample-16: (N, C, O1, O2)

    Source: com.microsoft.GridSample-1, ONNX Runtime 1.32.
    """
    return sampling.grid_sample_16(X, Grid, **attributes)


grid_sample.cost(sampling.cost_of_grid_sample)


@grid_sample.vjp
def vjp_of_grid_sample(dy, X, Grid, **attributes):
    return sampling.vjp_of_grid_sample_16(dy, X, Grid, **attributes)


vjp_of_grid_sample.cost(sampling.cost_of_vjp_of_grid_sample)
grid_sample.output_type(lambda first, **_: first)
grid_sample.not_computed(
    {
        "T1": "uint8 uint16 uint32 uint64 int8 int16 int32 int64 string bool complex64 complex128",
    }
)


@op("CropAndResize", since=1, domain=DOMAIN)
def crop_and_resize(X, rois, batch_indices, crop_size, *, extrapolation_value=0.0, mode="bilinear"):
    """Boxes cut out of images and resized: (boxes, C, h, w)

    X (N, C, H, W); rois (boxes, 4) = y1, x1, y2, x2, where 0 and 1 are the middles of the first
    and last pixel; batch_indices (boxes) the image of each; crop_size = h, w. Of h rows, row i is
    at y1 + i·(y2 - y1) / (h - 1); a single one is in the middle. What lies outside the image is
    extrapolation_value.

    Source: com.microsoft.CropAndResize-1, ONNX Runtime 1.32.
    """
    if X.ndim != 4 or batch_indices.ndim != 1 or rois.shape != (len(batch_indices), 4):
        raise ValueError(f"X {X.shape} and rois {rois.shape} should be (N, C, H, W) and (boxes, 4)")
    if mode not in ("bilinear", "nearest"):
        raise ValueError(f"mode of CropAndResize should be 'bilinear' or 'nearest', got {mode!r}")
    if len(rois) and 0 in X.shape[2:]:
        raise ValueError(f"X {X.shape} has no pixels to read")
    if not np.isfinite(rois).all():
        raise ValueError("rois should be finite numbers")
    if not ((batch_indices >= 0) & (batch_indices < len(X))).all():
        raise ValueError(f"batch_indices {batch_indices.tolist()} should be from 0 to {len(X) - 1}")
    if crop_size.shape != (2,) or min(as_ints(crop_size)) < 1:
        raise ValueError(f"crop_size {crop_size.tolist()} should be a height and a width")
    h, w = as_ints(crop_size)
    y = _sample_positions(rois[:, 0], rois[:, 2], X.shape[2], h)[:, :, None]  # (boxes, h, 1)
    x = _sample_positions(rois[:, 1], rois[:, 3], X.shape[3], w)[:, None, :]  # (boxes, 1, w)
    inside = (y >= 0) & (y <= X.shape[2] - 1) & (x >= 0) & (x <= X.shape[3] - 1)
    y, x = np.clip(y, 0, X.shape[2] - 1), np.clip(x, 0, X.shape[3] - 1)
    image = batch_indices[:, None, None]

    def pixels(rows, columns):
        return X[image, :, rows.astype(np.int64), columns.astype(np.int64)]  # (boxes, h, w, C)

    if mode == "nearest":
        crops = pixels(np.floor(y + 0.5), np.floor(x + 0.5))
    else:
        top, left, bottom, right = np.floor(y), np.floor(x), np.ceil(y), np.ceil(x)
        along_x = (x - left)[..., None]
        above = pixels(top, left) + (pixels(top, right) - pixels(top, left)) * along_x
        below = pixels(bottom, left) + (pixels(bottom, right) - pixels(bottom, left)) * along_x
        crops = above + (below - above) * (y - top)[..., None]
    crops = np.where(inside[..., None], crops, X.dtype.type(extrapolation_value))
    return np.moveaxis(crops, -1, 1).astype(X.dtype, copy=False)


def _sample_positions(start: np.ndarray, end: np.ndarray, size: int, count: int) -> np.ndarray:
    """The coordinates of ``count`` samples from start to end, in pixels: (boxes, count)."""
    last = start.dtype.type(size - 1)
    if count == 1:
        return ((start + end) * last / 2)[:, None]
    step = (end - start) * last / start.dtype.type(count - 1)
    return start[:, None] * last + np.arange(count, dtype=start.dtype) * step[:, None]


@crop_and_resize.cost
def cost_of_crop_and_resize(
    X: np.ndarray, rois: np.ndarray, batch_indices: np.ndarray, crop_size: np.ndarray, **_: Any
) -> Cost:
    """The four pixels around each sample, and the sums of two and of four; the coordinates of each
    sample."""
    places = len(rois) * size(as_ints(crop_size))
    coordinates = 100 * len(rois) * sum(max(n, 0) for n in as_ints(crop_size))
    item = wide_itemsize(X.dtype)
    memory = places * (6 * item * X.shape[1] + 1) + coordinates
    return Cost(memory, places * (200 * X.shape[1] + 200) + coordinates)


@op("MaxpoolWithMask", since=1, domain=DOMAIN)
@attributes_of(window_axes, without=["ceil_mode", "dilations"])
def maxpool_with_mask(X, M, *, kernel_shape=None, storage_order=0, **windows):
    """MaxPool of float X (N, C, D1 … Dn), up to the first place in a window's row where M is 0

    M (1, 1, D1 … Dn), int32; a row of a window lies along the last axis. With several spatial axes
    the very first place of M counts as set. What is left of no element is the lowest finite number;
    NaN is passed over.

    Source: com.microsoft.MaxpoolWithMask-1, ONNX Runtime 1.32, which for more than one plane of M
    reads at places that no documentation has: such an M is refused.
    """
    axes = pool_axes(X.shape, kernel_shape or (), **windows)
    shape = tuple(axis.windows for axis in axes)
    y = np.full((*X.shape[:2], *shape), np.finfo(X.dtype).min, X.dtype)
    for inside, places, counts in _masked_taps(X, M, axes):
        best, value = y[inside], X[places]
        np.copyto(best, value, where=counts & (value > best))
    return y


def _masked_taps(
    X: np.ndarray, M: np.ndarray, axes: Sequence[Axis]
) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """For each tap of the windows: those that have it inside X, its places, and in which of these
    windows it counts."""
    if M.shape[2:] != X.shape[2:]:
        raise ValueError(f"M {M.shape} should be (1, 1, …) with the spatial axes of X {X.shape}")
    if math.prod(M.shape[:2]) != 1:
        raise NotImplementedError(f"M {M.shape} of MaxpoolWithMask: several planes")
    is_set = M[0, 0] != 0
    if is_set.ndim > 1:
        is_set[(slice(0, 1),) * is_set.ndim] = True
    shape = tuple(axis.windows for axis in axes)
    *rows, last = axes
    for outer in product(*(axis.taps() for axis in rows)):
        goes_on = np.ones(shape, bool)
        for taps in ((*outer, tap) for tap in last.taps()):
            inside: Any = (..., *(window for window, _ in taps))
            places: Any = (..., *(place for _, place in taps))
            goes_on[inside] &= is_set[places]
            yield inside, places, goes_on[inside]


@maxpool_with_mask.vjp
def vjp_of_maxpool_with_mask(dy, X, M, *, y, kernel_shape, storage_order, **windows):
    """To the first maximum of each window, of what counts there."""
    dx, left = np.zeros_like(X), dy.copy()
    for inside, places, counts in _masked_taps(
        X, M, pool_axes(X.shape, kernel_shape or (), **windows)
    ):
        is_largest = counts & (X[places] == y[inside])
        dx[places] += left[inside] * is_largest
        left[inside] *= ~is_largest
    return dx


@vjp_of_maxpool_with_mask.cost
def cost_of_vjp_of_maxpool_with_mask(dy, X, M, *, y, **attributes):
    cost = cost_of_maxpool_with_mask(X, M, **attributes)
    return Cost(3 * cost.memory + X.nbytes, 4 * cost.work)


@maxpool_with_mask.cost
def cost_of_maxpool_with_mask(
    X: np.ndarray,
    M: np.ndarray,
    *,
    kernel_shape: Any = None,
    storage_order: int = 0,
    **windows: Any,
) -> Cost:
    """The result; for one tap which of its elements are larger; the mask."""
    axes = pool_axes(X.shape, kernel_shape or (), **windows)
    places = size(axis.windows for axis in axes)
    y, taps = size(X.shape[:2]) * places, size(axis.kernel for axis in axes)
    return Cost((X.itemsize + 2) * y + 2 * places + M.size, taps * (20 * y + 4 * PER_CALL) + M.size)


maxpool_with_mask.choices(AUTO_PAD)
