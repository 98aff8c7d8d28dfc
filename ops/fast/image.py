"""The binder of Resize: source positions and weights are computed once."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.shared.axes import channels_last
from onnxwalk.ops.shared.interpolation import (
    hat,
    kernel_weights,
    nearest_weights,
    plan_resize,
    source_positions,
)


def _bind_nearest(
    space: Space, x: np.ndarray, plan: dict[int, Any], coordinates: str, rounding: str
) -> np.ndarray | None:
    """Nearest: images (N, C, H, W) along H and W."""
    if x.ndim != 4 or not set(plan) <= {2, 3} or coordinates == "tf_crop_and_resize":
        return None
    if x.dtype.hasobject or not x.size:
        return None
    places = []
    for axis in (2, 3):
        if axis not in plan:
            places.append(np.arange(x.shape[axis]))
            continue
        taps, _ = nearest_weights(rounding)(source_positions(plan[axis], coordinates), plan[axis])
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
    """y[i] = x[places[i]] along an axis; strided slices if each index is repeated equally often."""
    before = (slice(None),) * axis
    times = len(places) // x.shape[axis]
    if times and np.array_equal(places, np.repeat(np.arange(x.shape[axis]), times)):
        for offset in range(times):
            index = (*before, slice(offset, None, times))
            space.call(np.copyto, y[index], x)
        return
    # Positions never decrease: consecutive ones are copied as slices.
    for start, stop in _consecutive_runs(places):
        source = (*before, slice(places[start], places[stop - 1] + 1))
        target = (*before, slice(start, stop))
        space.call(np.copyto, y[target], x[source])


def _consecutive_runs(places: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of the runs of consecutive positions."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    edges = [0, *breaks.tolist(), len(places)]
    return list(itertools.pairwise(edges))


#: bytes of a block of images
_BLOCK = 1 << 19


class _Stretch(NamedTuple):
    """An axis that becomes ``factor`` times as long; each output is a sum of two inputs."""

    factor: int
    taps: np.ndarray  # (length, 2)
    weights: np.ndarray  # (length, 2)

    @classmethod
    def of(cls, axis: Any, coordinates: str) -> _Stretch | None:
        factor = axis.resized // axis.size
        if not factor or axis.resized % axis.size:
            return None
        places = source_positions(axis, coordinates)
        taps, weights = kernel_weights(hat, 1)(places, axis)
        assert weights is not None
        return cls(factor, taps.astype(np.intp), weights)


def _bind_linear(
    space: Space, x: np.ndarray, plan: dict[int, Any], coordinates: str
) -> np.ndarray | None:
    """Linear: images (N, C, H, W) along W, then H, by integer factors. Each phase of the result is
    a sum of two slices of multiples of x (x2 of 1x64x56x56: from 1.9 to 0.5 times ONNX Runtime's
    time)."""
    if x.ndim != 4 or x.dtype != np.float32 or not x.size or not set(plan) <= {2, 3}:
        return None
    if coordinates == "tf_crop_and_resize":
        return None
    stretches = {axis: _Stretch.of(plan[axis], coordinates) for axis in plan}
    if not plan or None in stretches.values():
        return None
    shape = [plan[axis].resized if axis in plan else size for axis, size in enumerate(x.shape)]
    if x.flags.c_contiguous and not any(space.margin):
        y = space.array(shape, x.dtype)
        source, result = (a.reshape(-1, *a.shape[2:], 1) for a in (x, y))
    else:
        y = space.image(shape, x.dtype)
        source, result = channels_last(x), channels_last(y)
        if not source.flags.c_contiguous:
            source = space.scratch(source.shape, x.dtype)
            space.call(np.copyto, source, channels_last(x))
    for start, stop in split_range(len(source), max(1, _BLOCK // result[0].nbytes)):
        block, into = source[start:stop], result[start:stop]
        if 3 in stretches:
            place = into
            if 2 in stretches:
                wide = (*block.shape[:2], into.shape[2], block.shape[3])
                place = space.scratch(wide, x.dtype)
            _stretch(space, block, 2, stretches[3], place)
            block = place
        if 2 in stretches:
            _stretch(space, block, 1, stretches[2], into)
            if 3 in stretches:
                space.free_scratch(block)
    return y


def _stretch(space: Space, x: np.ndarray, axis: int, stretch: Any, y: np.ndarray) -> None:
    """Stretch one axis of a contiguous image (N, H, W, C)."""
    factor, taps, weights = stretch
    size = x.shape[axis]
    multiples: dict[float, np.ndarray] = {}

    def times(weight: float) -> np.ndarray:
        if weight not in multiples:
            multiples[weight] = space.scratch(x.shape, x.dtype)
            space.call(np.multiply, x, scalar(weight, x.dtype), multiples[weight])
        return multiples[weight]

    # Images of one channel are one run; results that cross an edge are computed again below.
    flat = math.prod(x.shape[axis + 1 :]) == 1 and y.flags.c_contiguous
    target = y.reshape(-1) if flat else np.moveaxis(y, axis, 0)
    done = np.zeros(len(taps), np.bool_)
    for phase in range(factor):
        middle = size // 2 * factor + phase
        offset, pair = taps[middle, 0] - size // 2, weights[middle]
        i = np.arange(size)
        same = (taps[phase::factor, 0] == i + offset) & (i + offset >= 0) & (i + offset + 1 < size)
        same &= (weights[phase::factor] == pair).all(1)
        done[phase::factor] = same
        if not same.any():
            continue
        first, last = int(same.argmax()), size - int(same[::-1].argmax())
        if not same[first:last].all():
            done[phase::factor] = False
            continue
        one, other = (times(float(weight)) for weight in pair)
        if flat:
            one, other, last = one.reshape(-1), other.reshape(-1), x.size - size + last
        else:
            one, other = np.moveaxis(one, axis, 0), np.moveaxis(other, axis, 0)
        space.call(
            np.add,
            one[first + offset : last + offset],
            other[first + offset + 1 : last + offset + 1],
            target[first * factor + phase : (last - 1) * factor + phase + 1 : factor],
        )
    pixels, results = np.moveaxis(x, axis, 0), np.moveaxis(y, axis, 0)
    rest = space.scratch(pixels.shape[1:], x.dtype)
    for place in np.flatnonzero(~done):
        (a, b), (one, other) = taps[place].clip(0, size - 1), weights[place]
        into = results[place]
        space.call(np.multiply, pixels[a], scalar(one, x.dtype), into)
        space.call(np.multiply, pixels[b], scalar(other, x.dtype), rest)
        space.call(np.add, into, rest, into)
    for array in (rest, *multiples.values()):
        space.free_scratch(array)


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
    if mode not in ("nearest", "linear") or not space.is_constant(roi, scales, sizes):
        return None
    coordinates = coordinate_transformation_mode
    plan = plan_resize(x.shape, roi, scales, sizes, axes, coordinates, keep_aspect_ratio_policy)
    if mode == "linear":
        if attributes.get("antialias") or attributes.get("exclude_outside"):
            return None
        return _bind_linear(space, x, plan, coordinates)
    return _bind_nearest(space, x, plan, coordinates, nearest_mode)
