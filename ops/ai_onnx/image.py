"""Resize and its forerunner Upsample: a tensor read at other places than those it was given at.

Every mode is separable: along one axis, output place i is read at x(i) on the input's own scale
(``_places``), and y[i] is a weighted sum of the inputs around x(i) (``_taps``). An N-linear or
N-cubic interpolation is that sum along one axis after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.needs import Need
from onnxwalk.ops.contract.needs import size as count_of
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.axes import normalize_axes
from onnxwalk.ops.shared.interpolation import hat, keys
from onnxwalk.ops.shared.needs import PER_CALL, multiply_adds, wide_itemsize
from onnxwalk.ops.shared.numeric import limits, wide
from onnxwalk.ops.shared.values import as_ints


class Axis(NamedTuple):
    """How one axis is resized: ``scale = over / under``, kept apart because sizes are exact."""

    size: int  # of the input
    resized: int  # of the output
    over: float
    under: int = 1
    roi: tuple[float, float] = (0.0, 1.0)

    @property
    def scale(self) -> float:
        return self.over / self.under

    def unscaled(self, x: np.ndarray) -> np.ndarray:
        """x / scale. A scale given as float32 divides in float32: 3 / 0.33333334 is 9, not 8.99."""
        if self.under == 1:
            return (x.astype(np.float32) / np.float32(self.over)).astype(np.float64)
        return x * self.under / self.over


@op("Resize", since=19)
@op("Resize", since=18)
@op("Resize", since=13, without=["antialias", "axes", "keep_aspect_ratio_policy"])
def resize(
    x,
    roi=None,
    scales=None,
    sizes=None,
    *,
    antialias=0,
    axes=None,
    coordinate_transformation_mode="half_pixel",
    cubic_coeff_a=-0.75,
    exclude_outside=0,
    extrapolation_value=0.0,
    keep_aspect_ratio_policy="stretch",
    mode="nearest",
    nearest_mode="round_prefer_floor",
):
    """y[i] = sum_j w(j - x(i))·x[j] along each axis: nearest, linear or cubic weights w

    x of any rank; scales (float) or sizes (int64), one for each axis, or for each of ``axes``;
    roi (start…, end…) for tf_crop_and_resize only. The output's length is
    floor(length·(end - start)·scale), or the size, adjusted by keep_aspect_ratio_policy.
    linear w(d) = max(0, 1 - |d|); cubic by Keys with ``a``. ``antialias`` stretches w by 1/scale
    where scale < 1. Beyond the ends the input goes on with its last value, unless
    ``exclude_outside``: then w is 0 there, and the rest is normalized to a sum of 1.

    Integers are interpolated in floating point and cut off, or with ``antialias`` rounded (once, at
    the end; ONNX Runtime after each axis), and clipped; the spec says nothing of it.
    Spec: Resize-13, Resize-18, Resize-19.
    """
    plan = _plan(
        x.shape, roi, scales, sizes, axes, coordinate_transformation_mode, keep_aspect_ratio_policy
    )
    if mode == "nearest":
        weights = _nearest(nearest_mode)
    elif mode == "linear":
        weights = _kernel(hat, 1, antialias, exclude_outside)
    elif mode == "cubic":
        weights = _kernel(lambda d: keys(d, cubic_coeff_a), 2, antialias, exclude_outside)
    else:
        raise ValueError(f"mode {mode!r} is not nearest, linear or cubic")
    return _interpolate(
        x,
        plan,
        coordinate_transformation_mode,
        weights,
        extrapolation_value=extrapolation_value,
        rounds=bool(antialias),
    )


@resize.needs
def needs_of_resize(
    x: np.ndarray,
    roi: np.ndarray | None = None,
    scales: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    **_: Any,
) -> Need:
    plan = _plan(
        x.shape, roi, scales, sizes, axes, coordinate_transformation_mode, keep_aspect_ratio_policy
    )
    return _needs_of_plan(x, plan, {"nearest": 0, "cubic": 2}.get(mode, 1), antialias)


def _needs_of_plan(x: np.ndarray, plan: dict[int, Axis], support: int, antialias: int) -> Need:
    """Axis after axis: what there is and what it becomes; interpolated, also the taps with their
    weights, and one tap of all results or the matrix. Integers are interpolated in double."""
    item = x.itemsize
    if support:
        item = 8 if x.dtype.kind in "iu" else wide_itemsize(x.dtype)
    shape, largest, work = list(x.shape), 0, 0
    before = item * x.size if item != x.itemsize else 0
    for i, axis in plan.items():
        stretch = max(1.0, 1 / axis.scale) if antialias and axis.resized else 1.0
        taps = 2 * math.ceil(support * stretch) if support else 1
        shape[i] = axis.resized
        after = item * count_of(shape)
        weights = (48 * taps + 48) * axis.resized + 16 * taps
        short = axis.size <= 128 * taps
        tap = min(axis.size * axis.resized * item, 10 * after) if support and short else 0
        passes = after + (2 * after if support else 0)
        if support and short:
            macs = count_of(shape) * axis.size
            work += multiply_adds(macs, np.dtype(f"f{max(item, 4)}")) + 20 * before
        work += taps * (20 * count_of(shape) + 100 * axis.resized + 4 * PER_CALL)
        largest = max(largest, before + passes + tap + weights)
        before = after
    back = (3 * before if x.dtype.kind in "iu" else 0) + x.itemsize * count_of(shape)
    return Need(max(largest, before + back), work + 30 * (x.size + count_of(shape)))


@op("Resize", since=11)
def resize_with_required_inputs(
    x,
    roi,
    scales,
    sizes=None,
    *,
    coordinate_transformation_mode="half_pixel",
    cubic_coeff_a=-0.75,
    exclude_outside=0,
    extrapolation_value=0.0,
    mode="nearest",
    nearest_mode="round_prefer_floor",
):
    """Resize when roi and scales could not be left out: empty ones stand for none

    Spec: Resize-11. It has tf_half_pixel_for_nn: x(i) = (i + 0.5) / scale, which 13 took out.
    """
    return resize(
        x,
        roi,
        scales,
        sizes,
        coordinate_transformation_mode=coordinate_transformation_mode,
        cubic_coeff_a=cubic_coeff_a,
        exclude_outside=exclude_outside,
        extrapolation_value=extrapolation_value,
        mode=mode,
        nearest_mode=nearest_mode,
    )


resize_with_required_inputs.needs(needs_of_resize)


@op("Resize", since=10)
def resize_from_the_corner(x, scales, *, mode="nearest"):
    """x(i) = i / scale; nearest takes floor(x(i)), or where scale < 1 ceil(x(i))

    Spec: Resize-10, which names the modes but no formula. This is ONNX Runtime's, and what the
    cases of ONNX 1.5 expect: (1 2 3 4) by 0.6 is (1 3).
    """
    plan = _plan(x.shape, None, scales, None, None, "asymmetric", "stretch")
    if mode == "nearest":
        weights = _nearest("by scale")
    elif mode in ("linear", "bilinear"):
        weights = _kernel(hat, 1)
    else:
        raise ValueError(f"mode {mode!r} is not nearest or linear")
    return _interpolate(x, plan, "asymmetric", weights)


@resize_from_the_corner.needs
def needs_of_resize_from_the_corner(
    x: np.ndarray, scales: np.ndarray, *, mode: str = "nearest"
) -> Need:
    plan = _plan(x.shape, None, scales, None, None, "asymmetric", "stretch")
    return _needs_of_plan(x, plan, 0 if mode == "nearest" else 1, 0)


@op("Upsample", since=9)
def upsample(x, scales, *, mode="nearest"):
    """x(i) = i / scale, scale >= 1; nearest takes floor(x(i))

    Spec: Upsample-9, Upsample-10 (deprecated in favour of Resize).
    """
    if (small := [scale for scale in np.ravel(scales).tolist() if not scale >= 1]) and small:
        raise ValueError(f"scales of Upsample must be at least 1, not {small[0]:g}")
    return resize_from_the_corner(x, scales, mode=mode)


upsample.needs(needs_of_resize_from_the_corner)


@op("Upsample", since=7)
def upsample_by_attribute(x, *, mode="nearest", scales):
    """Upsample with the scales as an attribute. Spec: Upsample-7."""
    return upsample(x, np.array(scales, np.float32), mode=mode)


@upsample_by_attribute.needs
def needs_of_upsample(x: np.ndarray, *, mode: str = "nearest", scales: Sequence[float]) -> Need:
    return needs_of_resize_from_the_corner(x, np.array(scales, np.float32), mode=mode)


@op("Upsample", since=1)
def upsample_images(x, *, height_scale, mode="nearest", width_scale):
    """Upsample of (N, C, H, W) along H and W; linear is called bilinear. Spec: Upsample-1."""
    if x.ndim != 4:
        raise ValueError(f"Upsample-1 takes (N, C, H, W), not shape {x.shape}")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode {mode!r} is not nearest or bilinear")
    return upsample(x, np.array([1, 1, height_scale, width_scale], np.float32), mode=mode)


@upsample_images.needs
def needs_of_upsample_images(
    x: np.ndarray, *, height_scale: float, mode: str = "nearest", width_scale: float
) -> Need:
    return needs_of_upsample(x, mode=mode, scales=[1, 1, height_scale, width_scale])


# ------------------------------------------------------------------------------------- shapes


def _plan(
    shape: Sequence[int],
    roi: np.ndarray | None,
    scales: np.ndarray | None,
    sizes: np.ndarray | None,
    axes: Sequence[int] | None,
    coordinates: str,
    policy: str,
) -> dict[int, Axis]:
    """The axes to resize and how; those that stay as they are, are left out."""
    named = normalize_axes(range(len(shape)) if axes is None else axes, len(shape))
    regions = dict.fromkeys(named, (0.0, 1.0))
    if coordinates == "tf_crop_and_resize":
        if roi is None or roi.shape != (2 * len(named),):
            given = "missing" if roi is None else f"of shape {roi.shape}"
            raise ValueError(f"tf_crop_and_resize needs a roi of {2 * len(named)}: it is {given}")
        ends = roi.astype(np.float64).reshape(2, -1)
        regions = {axis: (float(a), float(b)) for axis, a, b in zip(named, *ends, strict=True)}
    by_scale = scales is not None and scales.size > 0
    if by_scale == (sizes is not None and sizes.size > 0) and named:
        raise ValueError("one of scales and sizes must be given, and not both")
    plan = {}
    if by_scale:
        assert scales is not None
        _check_count("scales", scales, named)
        for axis, scale in zip(named, scales.astype(np.float32), strict=True):
            if not 0 < scale < np.inf:
                raise ValueError(f"scale {scale:g} should be positive")
            start, end = regions[axis]
            # the product is rounded to float32, as ONNX's shape inference rounds it: 10·0.7 is 7
            length = np.float32(shape[axis]) * np.float32(end - start) * scale
            if not np.isfinite(length):
                raise ValueError(f"scale {scale:g} makes axis {axis} of {shape[axis]} too long")
            resized = max(0, math.floor(length))
            plan[axis] = Axis(shape[axis], resized, float(scale), roi=regions[axis])
    elif named:
        assert sizes is not None
        _check_count("sizes", sizes, named)
        targets = dict(zip(named, as_ints(sizes), strict=True))
        if min(targets.values()) < 0:
            raise ValueError(f"sizes {list(targets.values())} should not be negative")
        for axis, (resized, over, under) in _proportions(shape, targets, policy).items():
            plan[axis] = Axis(shape[axis], resized, over, under, regions[axis])
    for found in plan.values():
        if found.resized and not found.size:
            raise ValueError(f"an axis of length 0 can't be resized to {found.resized}")
    # An axis of scale 1 is left alone, in all coordinate modes, as ONNX Runtime leaves it.
    return {
        axis: found
        for axis, found in plan.items()
        if (found.size, found.roi) != (found.resized, (0.0, 1.0)) or found.over != found.under
    }


def _check_count(name: str, values: np.ndarray, axes: Sequence[int]) -> None:
    if values.shape != (len(axes),):
        raise ValueError(f"{name} of shape {values.shape} should be ({len(axes)},)")


def _proportions(
    shape: Sequence[int], targets: dict[int, int], policy: str
) -> dict[int, tuple[int, int, int]]:
    """(output size, over, under) of each axis, scale = over / under."""
    if policy == "stretch":
        return {axis: (size, size, max(1, shape[axis])) for axis, size in targets.items()}
    if policy not in ("not_larger", "not_smaller"):
        raise ValueError(
            f"keep_aspect_ratio_policy {policy!r} is not stretch, not_larger or not_smaller"
        )
    if not all(shape[axis] for axis in targets):
        raise ValueError(f"the aspect ratio of shape {tuple(shape)} can't be kept")
    choose = min if policy == "not_larger" else max
    leading = choose(targets, key=lambda axis: targets[axis] / shape[axis])
    over, under = targets[leading], shape[leading]
    # round_int(scale·size), halves up, in integers
    return {
        axis: ((2 * over * shape[axis] + under) // (2 * under), over, under) for axis in targets
    }


# -------------------------------------------------------------------------------- coordinates


def _places(axis: Axis, coordinates: str) -> np.ndarray:
    """x(i) for each place i of the output, on the scale of the input."""
    i = np.arange(axis.resized, dtype=np.float64)
    if coordinates == "half_pixel":
        return axis.unscaled(i + 0.5) - 0.5
    if coordinates == "pytorch_half_pixel":
        return axis.unscaled(i + 0.5) - 0.5 if axis.resized > 1 else np.zeros(axis.resized)
    if coordinates == "half_pixel_symmetric":
        # offset + (i + 0.5) / scale - 0.5 of the spec, rearranged: the centres lie on each other
        return axis.unscaled(i - (axis.resized - 1) / 2) + (axis.size - 1) / 2
    if coordinates == "asymmetric":
        return axis.unscaled(i)
    if coordinates == "tf_half_pixel_for_nn":
        return axis.unscaled(i + 0.5)
    if coordinates == "align_corners":
        # The spec has scale = length_resized / length_original, so that length_resized is not an
        # integer when the scale is 0.6. ONNX's cases take it so; ONNX Runtime rounds it first.
        length = axis.scale * axis.size if axis.under == 1 else axis.resized
        return i * (axis.size - 1) / (length - 1) if length != 1 else np.zeros(axis.resized)
    if coordinates == "tf_crop_and_resize":
        start, end = axis.roi
        if axis.resized > 1:
            steps = i * (end - start) * (axis.size - 1) / (axis.resized - 1)
            return start * (axis.size - 1) + steps
        return np.full(axis.resized, 0.5 * (start + end) * (axis.size - 1))
    raise ValueError(f"coordinate_transformation_mode {coordinates!r} is not one of Resize")


# ------------------------------------------------------------------------------------ weights

#: for the places x(i) along an axis: which inputs count (n, taps), and for how much (same, or None)
Weights = Callable[[np.ndarray, Axis], tuple[np.ndarray, "np.ndarray | None"]]


def _nearest(rounding: str) -> Weights:
    """The nearest input alone."""
    functions: dict[str, Callable[[np.ndarray, Axis], np.ndarray]] = {
        "round_prefer_floor": lambda x, axis: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x, axis: np.floor(x + 0.5),
        "floor": lambda x, axis: np.floor(x),
        "ceil": lambda x, axis: np.ceil(x),
        "by scale": lambda x, axis: np.ceil(x) if axis.scale < 1 else np.floor(x),
    }
    if rounding not in functions:
        raise ValueError(f"nearest_mode {rounding!r} is not one of {list(functions)[:4]}")
    return lambda x, axis: (functions[rounding](x, axis)[:, None], None)


def _kernel(
    w: Callable[[np.ndarray], np.ndarray],
    support: int,
    antialias: int = 0,
    exclude_outside: int = 0,
) -> Weights:
    """Weights w(j - x) for the inputs j nearer to x than ``support``."""

    def weights(x: np.ndarray, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        stretch = max(1.0, 1 / axis.scale) if antialias and axis.resized else 1.0
        reach = math.ceil(support * stretch)
        taps = np.floor(x)[:, None] + np.arange(1 - reach, reach + 1)
        weight = w((taps - x[:, None]) / stretch)
        if exclude_outside:
            weight *= (taps >= 0) & (taps < axis.size)
        if exclude_outside or stretch > 1:
            weight /= weight.sum(1, keepdims=True)
        return taps, weight

    return weights


def _interpolate(
    x: np.ndarray,
    plan: dict[int, Axis],
    coordinates: str,
    weights: Weights,
    *,
    extrapolation_value: float = 0.0,
    rounds: bool = False,
) -> np.ndarray:
    """x resized along every axis of the plan; always a new array, of the dtype of x."""
    y, outside = x, []
    for i, axis in plan.items():
        places = _places(axis, coordinates)
        if coordinates == "tf_crop_and_resize":
            outside.append((i, (places < 0) | (places > axis.size - 1)))
        taps, weight = weights(places, axis)
        taps = taps.astype(np.intp).clip(0, max(axis.size - 1, 0))
        if weight is None:
            y = np.take(y, taps[:, 0], i)
            continue
        if y.dtype.kind in "Ob":
            raise ValueError(
                f"only nearest can resize {'strings' if y.dtype.kind == 'O' else y.dtype}"
            )
        y = y.astype(np.float64) if y.dtype.kind in "iu" else wide(y)
        y = _sums(y, i, taps, weight.astype(np.zeros(0, y.dtype).real.dtype))
    if y.dtype != x.dtype:
        y = _as_integers(y, x.dtype, rounds) if x.dtype.kind in "iu" else y.astype(x.dtype)
    y = y.copy() if y is x else y
    for i, places in outside:
        y[(slice(None),) * i + (places,)] = np.array(extrapolation_value).astype(x.dtype)
    return y


def _sums(x: np.ndarray, axis: int, taps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """sum_t weight[i, t]·x[taps[i, t]] along one axis, for each i."""
    size, resized = x.shape[axis], len(taps)
    # A short axis is faster as a matrix product, mostly of zeros; but 0·inf is NaN.
    if size <= 128 * taps.shape[1] and np.isfinite(x).all():
        matrix = np.zeros((resized, size), weight.dtype)
        np.add.at(matrix, (np.arange(resized)[:, None], taps), weight)
        if axis == x.ndim - 1:
            return x @ matrix.T
        y = matrix @ x.reshape(math.prod(x.shape[:axis]), size, -1)
        return y.reshape(*x.shape[:axis], resized, *x.shape[axis + 1 :])
    total = np.zeros((*x.shape[:axis], resized, *x.shape[axis + 1 :]), x.dtype)
    for tap, amount in zip(taps.T, weight.T, strict=True):
        total += np.take(x, tap, axis) * amount.reshape(-1, *[1] * (x.ndim - 1 - axis))
    return total


def _as_integers(y: np.ndarray, dtype: np.dtype, rounds: bool) -> np.ndarray:
    lowest, highest = limits(dtype)
    # places are divided in float32, which leaves 2.999999, and that is 3
    y = np.rint(y) if rounds else np.trunc(y + np.copysign(1e-5, y))
    return np.where(y >= highest, highest, np.where(y <= lowest, lowest, y)).astype(dtype)
