"""Resize to the nearest pixel bound to its shapes: where each pixel comes from is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from ops import image as _image
from ops.space import Space


def _bind_nearest(
    space: Space, x: np.ndarray, plan: dict[int, Any], coordinates: str, rounding: str
) -> np.ndarray | None:
    """Images (N, C, H, W) along H and W."""
    if x.ndim != 4 or not set(plan) <= {2, 3} or coordinates == "tf_crop_and_resize":
        return None
    if x.dtype.hasobject or not x.size:
        return None
    places = []
    for axis in (2, 3):
        if axis not in plan:
            places.append(np.arange(x.shape[axis]))
            continue
        taps, _ = _image._nearest(rounding)(_image._places(plan[axis], coordinates), plan[axis])
        places.append(taps[:, 0].astype(np.intp).clip(0, x.shape[axis] - 1))
    if any(len(p) == 0 for p in places):
        return None
    y = space.image((*x.shape[:2], *map(len, places)), x.dtype)
    source, result = np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1)
    rows, columns = places
    across = len(columns) // x.shape[3]
    repeats = across > 0 and np.array_equal(columns, np.repeat(np.arange(x.shape[3]), across))
    # A row is made once, and copied to where the same row comes again.
    first = {}
    for place, row in enumerate(rows.tolist()):
        if row in first:
            continue
        first[row] = place
        one = result[:, place]
        if repeats:
            n, _, c = one.shape
            s = one.strides
            apart = np.lib.stride_tricks.as_strided(
                one, (n, x.shape[3], across, c), (s[0], s[1] * across, s[1], s[2])
            )
            space.call(np.copyto, apart, source[:, row, :, None])
        else:
            taken = space.scratch(one.shape, x.dtype)
            dense = space.scratch(source[:, row].shape, x.dtype)
            space.call(np.copyto, dense, source[:, row])
            space.call(np.take, dense, columns, 1, taken, "clip")
            space.call(np.copyto, one, taken)
            space.reuse(taken)
            space.reuse(dense)
    for place, row in enumerate(rows.tolist()):
        if first[row] != place:
            space.call(np.copyto, result[:, place], result[:, first[row]])
    return y


@_image.resize.bind
def bind_resize(
    space: Space,
    x: np.ndarray,
    roi: np.ndarray | None = None,
    scales: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
    *,
    axes: Any = None,
    coordinate_transformation_mode: str = "half_pixel",
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    **attributes: Any,
) -> np.ndarray | None:
    if mode != "nearest" or not space.known(roi, scales, sizes):
        return None
    coordinates = coordinate_transformation_mode
    plan = _image._plan(x.shape, roi, scales, sizes, axes, coordinates, keep_aspect_ratio_policy)
    return _bind_nearest(space, x, plan, coordinates, nearest_mode)


_image.resize_with_required_inputs.bind(bind_resize)
