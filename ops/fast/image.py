"""Resize to the nearest pixel bound to its shapes: where each pixel comes from is known."""

from __future__ import annotations

import itertools
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
    shape = (*x.shape[:2], *map(len, places))
    planar = x.flags.c_contiguous and not any(space.margin)
    y = space.array(shape, x.dtype) if planar else space.image(shape, x.dtype)
    between = space.scratch((*x.shape[:3], shape[3]), x.dtype)
    if not planar:
        n, c, h, w = between.shape
        between = between.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    _take(space, x, places[1], 3, between)
    _take(space, between, places[0], 2, y)
    return y


def _take(space: Space, x: np.ndarray, places: np.ndarray, axis: int, y: np.ndarray) -> None:
    """y[i] = x[places[i]] along an axis, as slices where places repeat each of x alike."""
    before = (slice(None),) * axis
    times = len(places) // x.shape[axis]
    if times and np.array_equal(places, np.repeat(np.arange(x.shape[axis]), times)):
        for offset in range(times):
            index = (*before, slice(offset, None, times))
            space.call(np.copyto, y[index], x)
        return
    # Places never go back: runs of one step apart in both are slices, too.
    for start, stop in _runs(places):
        source = (*before, slice(places[start], places[stop - 1] + 1))
        target = (*before, slice(start, stop))
        space.call(np.copyto, y[target], x[source])


def _runs(places: np.ndarray) -> list[tuple[int, int]]:
    """Where places go on by one, or stay (a run of one place each)."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    edges = [0, *breaks.tolist(), len(places)]
    return list(itertools.pairwise(edges))


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
