"""Operators that com.microsoft had before ai.onnx, or has in another form."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import creation, indexing, pool, shape, slicing
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost, no_cost, size
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.cost import wide_itemsize
from onnxwalk.ops.shared.values import as_int, as_ints


@op("Trilu", since=1, domain=DOMAIN)
def trilu(X, k=None, *, upper=1):
    """The upper or lower triangles, as Trilu-14. Source: com.microsoft.Trilu-1."""
    return slicing.trilu(X, k, upper=upper)


@op("Pad", since=1, domain=DOMAIN)
def pad(data, pads, value=None, *, mode="constant"):
    """Pad-13, whose pads may also be (1, 2·rank). Source: com.microsoft.Pad-1."""
    if pads.ndim == 2 and len(pads) == 1:
        pads = pads[0]
    return slicing.pad_11(data, pads, value, mode=mode)


@op("ExpandDims", since=1, domain=DOMAIN)
def expand_dims(X, axis):
    """A new axis of size 1 where the result has ``axis``. Source: com.microsoft.ExpandDims-1."""
    return shape.unsqueeze(X, np.array([as_int(axis, "axis")]))


@op("GatherND", since=1, domain=DOMAIN)
def gather_nd(data, indices):
    """data at each of the places that indices lists, as GatherND-11.

    Source: com.microsoft.GatherND-1.
    """
    return indexing.gather_nd(data, indices)


@op("Unique", since=1, domain=DOMAIN)
def unique(x):
    """The values of x (n) in the order in which they first occur, where in these each value of x
    is, and how often each occurs

    Source: com.microsoft.Unique-1, ONNX Runtime 1.32.
    """
    if x.ndim != 1:
        raise ValueError(f"x {x.shape} of Unique should be a vector")
    y, _, inverse, counts = indexing.unique(x, sorted=0)
    return y, inverse, counts


@op("Range", since=1, domain=DOMAIN)
def range_(start, limit, delta=None):
    """start, start + delta, … below limit (above, for a negative delta, which is 1 if missing)

    Source: com.microsoft.Range-1, ONNX Runtime 1.32.
    """
    return creation.range_(start, limit, np.ones((), start.dtype) if delta is None else delta)


@op("NhwcMaxPool", since=1, domain=DOMAIN)
@attributes_of(pool.max_pool, without=["storage_order", "n_outputs"])
def nhwc_max_pool(x, **attributes):
    """MaxPool of (N, D1 … Dn, C), int8 or uint8. Source: com.microsoft.NhwcMaxPool-1."""
    return np.moveaxis(pool.max_pool(np.moveaxis(x, -1, 1), **attributes), 1, -1)


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


# ------------------------------------------------------------------------------------------- costs

trilu.cost(slicing.cost_of_trilu)
expand_dims.cost(no_cost)
gather_nd.cost(indexing.cost_of_gather_nd)
unique.cost(indexing.cost_of_unique)


@pad.cost
def cost_of_pad(data: np.ndarray, pads: np.ndarray, *_: Any, mode: str = "constant") -> Cost:
    return slicing.cost_of_pad(data, pads, mode=mode)


@range_.cost
def cost_of_range(start: np.ndarray, limit: np.ndarray, delta: np.ndarray | None = None) -> Cost:
    step = np.ones((), start.dtype) if delta is None else delta
    return creation.cost_of_range(start, limit, step)


@nhwc_max_pool.cost
def cost_of_nhwc_max_pool(x: np.ndarray, **attributes: Any) -> Cost:
    return pool.cost_of_pool(np.moveaxis(x, -1, 1), **attributes)


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


declare(gather_nd, pad, range_, flops=flops.zero)
