"""Resize and its forerunner Upsample: a tensor interpolated at other coordinates.

Every mode is separable: along one axis, output place i is read at x(i) on the input's own scale
(``source_positions``), and y[i] is a weighted sum of the inputs around x(i) (``Weights``). An
N-linear or N-cubic interpolation is that sum along one axis after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.cost import size as count_of
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.fast.image import bind_resize
from onnxwalk.ops.shared import flops, products
from onnxwalk.ops.shared.cost import PER_CALL, multiply_adds, wide_itemsize
from onnxwalk.ops.shared.gradients import add_rows
from onnxwalk.ops.shared.interpolation import (
    Axis,
    Weights,
    cubic,
    hat,
    kernel_weights,
    nearest_weights,
    plan_resize,
    source_positions,
)
from onnxwalk.ops.shared.numeric import dtype_limits, wide


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
    plan = plan_resize(
        x.shape, roi, scales, sizes, axes, coordinate_transformation_mode, keep_aspect_ratio_policy
    )
    weights = _weights_of(mode, nearest_mode, cubic_coeff_a, antialias, exclude_outside)
    return _interpolate(
        x,
        plan,
        coordinate_transformation_mode,
        weights,
        extrapolation_value=extrapolation_value,
        rounds=bool(antialias),
    )


def _weights_of(
    mode: str, nearest_mode: str, a: float, antialias: int, exclude_outside: int
) -> Weights:
    if mode == "nearest":
        return nearest_weights(nearest_mode)
    if mode == "linear":
        return kernel_weights(hat, 1, antialias, exclude_outside)
    if mode == "cubic":
        return kernel_weights(lambda d: cubic(d, a), 2, antialias, exclude_outside)
    raise ValueError(f"mode {mode!r} is not nearest, linear or cubic")


resize.bind(bind_resize)


@resize.vjp
def vjp_of_resize(
    dy, *, x_shape, roi, scales, sizes, antialias=0, axes=None, coordinate_transformation_mode,
    cubic_coeff_a, exclude_outside, keep_aspect_ratio_policy="stretch", mode, nearest_mode,
):  # fmt: skip
    plan = plan_resize(
        x_shape, roi, scales, sizes, axes, coordinate_transformation_mode, keep_aspect_ratio_policy
    )
    weights = _weights_of(mode, nearest_mode, cubic_coeff_a, antialias, exclude_outside)
    return _through_interpolation(dy, plan, coordinate_transformation_mode, weights)


declare(resize, no_gradient_of="roi scales")


@resize.cost
def cost_of_resize(
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
) -> Cost:
    plan = plan_resize(
        x.shape, roi, scales, sizes, axes, coordinate_transformation_mode, keep_aspect_ratio_policy
    )
    return _cost_of_plan(x, plan, {"nearest": 0, "cubic": 2}.get(mode, 1), antialias)


def _cost_of_plan(x: np.ndarray, plan: dict[int, Axis], support: int, antialias: int) -> Cost:
    """For one axis after the other, the input and output; to interpolate, also taps, weights and
    one product for all results, or a matrix. Integers are interpolated in double."""
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
    return Cost(max(largest, before + back), work + 30 * (x.size + count_of(shape)))


@op("Resize", since=11)
@attributes_of(resize, without=["antialias", "axes", "keep_aspect_ratio_policy"])
def resize_11(x, roi, scales, sizes=None, **attributes):
    """Resize when roi and scales could not be left out: empty ones stand for none

    Spec: Resize-11. It has tf_half_pixel_for_nn: x(i) = (i + 0.5) / scale, which 13 took out.
    """
    return resize(x, roi, scales, sizes, **attributes)


resize_11.bind(bind_resize)
resize_11.vjp(vjp_of_resize)
resize_11.no_gradient_of("roi scales")


resize_11.cost(cost_of_resize)


@op("Resize", since=10)
def resize_10(x, scales, *, mode="nearest"):
    """x(i) = i / scale; nearest takes floor(x(i)), or where scale < 1 ceil(x(i))

    Spec: Resize-10, which names the modes but no formula. This is ONNX Runtime's, and what the
    cases of ONNX 1.5 expect: (1 2 3 4) by 0.6 is (1 3).
    """
    return _interpolate(x, *_plan_by_scales(x.shape, scales, mode))


def _plan_by_scales(
    shape: Sequence[int], scales: Any, mode: str
) -> tuple[dict[int, Axis], str, Weights]:
    plan = plan_resize(
        shape, None, np.array(scales, np.float32), None, None, "asymmetric", "stretch"
    )
    if mode == "nearest":
        return plan, "asymmetric", nearest_weights("by scale")
    if mode in ("linear", "bilinear"):
        return plan, "asymmetric", kernel_weights(hat, 1)
    raise ValueError(f"mode {mode!r} is not nearest or linear")


@resize_10.cost
def cost_of_resize_10(x: np.ndarray, scales: np.ndarray, *, mode: str = "nearest") -> Cost:
    plan = plan_resize(x.shape, None, scales, None, None, "asymmetric", "stretch")
    return _cost_of_plan(x, plan, 0 if mode == "nearest" else 1, 0)


@op("Upsample", since=9)
def upsample(x, scales, *, mode="nearest"):
    """x(i) = i / scale, scale >= 1; nearest takes floor(x(i))

    Spec: Upsample-9, Upsample-10 (deprecated in favour of Resize).
    """
    if (small := [scale for scale in np.ravel(scales).tolist() if not scale >= 1]) and small:
        raise ValueError(f"scales of Upsample should be at least 1, got {small[0]:g}")
    return resize_10(x, scales, mode=mode)


upsample.cost(cost_of_resize_10)


@op("Upsample", since=7)
def upsample_7(x, *, mode="nearest", scales):
    """Upsample with the scales as an attribute. Spec: Upsample-7."""
    return upsample(x, np.array(scales, np.float32), mode=mode)


@upsample_7.cost
def cost_of_upsample_7(x: np.ndarray, *, mode: str = "nearest", scales: Sequence[float]) -> Cost:
    return cost_of_resize_10(x, np.array(scales, np.float32), mode=mode)


@op("Upsample", since=1)
def upsample_1(x, *, height_scale, mode="nearest", width_scale):
    """Upsample of (N, C, H, W) along H and W; linear is called bilinear. Spec: Upsample-1."""
    if x.ndim != 4:
        raise ValueError(f"x {x.shape} of Upsample-1 should be (N, C, H, W)")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode {mode!r} is not nearest or bilinear")
    return upsample(x, np.array([1, 1, height_scale, width_scale], np.float32), mode=mode)


@upsample_1.cost
def cost_of_upsample_1(
    x: np.ndarray, *, height_scale: float, mode: str = "nearest", width_scale: float
) -> Cost:
    return cost_of_upsample_7(x, mode=mode, scales=[1, 1, height_scale, width_scale])


@resize_10.vjp
@upsample.vjp
@upsample_7.vjp
def vjp_of_resize_10(dy, *, x_shape, scales, mode):
    return _through_interpolation(dy, *_plan_by_scales(x_shape, scales, mode))


@upsample_1.vjp
def vjp_of_upsample_1(dy, *, x_shape, height_scale, mode, width_scale):
    scales = [1, 1, height_scale, width_scale]
    return vjp_of_resize_10(dy, x_shape=x_shape, scales=scales, mode=mode)


declare(resize_10, upsample, no_gradient_of="scales")


@vjp_of_resize.cost
@vjp_of_resize_10.cost
@vjp_of_upsample_1.cost
def cost_of_vjp_of_resize(dy: np.ndarray, *, x_shape: Sequence[int], **_: Any) -> Cost:
    """For one axis after the other, the gradient before and after, and a matrix of weights."""
    sides = list(zip(dy.shape, x_shape, strict=True))
    largest = max((a * min(b, 128 * (8 + b // max(a, 1))) for a, b in sides), default=0)
    count = count_of(max(pair) for pair in sides)
    item = wide_itemsize(dy.dtype)
    work = multiply_adds(count * sum((*x_shape, *dy.shape)), dy.dtype)
    return Cost(item * (8 * count + 4 * largest) + 100 * sum(dy.shape), work)


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
        places = source_positions(axis, coordinates)
        if coordinates == "tf_crop_and_resize":
            outside.append((i, (places < 0) | (places > axis.size - 1)))
        taps, weight = weights(places, axis)
        taps = taps.astype(np.intp).clip(0, max(axis.size - 1, 0))
        if weight is None:
            y = np.take(y, taps[:, 0], i)
            continue
        if y.dtype.kind in "Ob":
            raise ValueError(
                f"only mode nearest can resize {'strings' if y.dtype.kind == 'O' else y.dtype}"
            )
        y = y.astype(np.float64) if y.dtype.kind in "iu" else wide(y)
        y = _sum_weighted(y, i, taps, weight.astype(np.zeros(0, y.dtype).real.dtype))
    if y.dtype != x.dtype:
        y = _to_integers(y, x.dtype, rounds) if x.dtype.kind in "iu" else y.astype(x.dtype)
    y = y.copy() if y is x else y
    for i, places in outside:
        y[(slice(None),) * i + (places,)] = np.array(extrapolation_value).astype(x.dtype)
    return y


def _through_interpolation(
    dy: np.ndarray, plan: dict[int, Axis], coordinates: str, weights: Weights
) -> np.ndarray:
    """The way back through ``_interpolate``: along each axis, dx[j] = sum_i w(i, j)·dy[i]."""
    dx = dy
    for i, axis in reversed(plan.items()):
        places = source_positions(axis, coordinates)
        taps, weight = weights(places, axis)
        taps = taps.astype(np.intp).clip(0, max(axis.size - 1, 0))
        weight = np.ones(taps.shape) if weight is None else weight
        if coordinates == "tf_crop_and_resize":  # beyond the ends lies a constant
            weight = np.where(((places < 0) | (places > axis.size - 1))[:, None], 0, weight)
        if axis.size <= 128 * taps.shape[1]:  # as a matrix product, mostly of zeros
            matrix = np.zeros((axis.size, axis.resized), dy.dtype)
            np.add.at(matrix, (taps, np.arange(axis.resized)[:, None]), weight)
            dx = np.moveaxis(np.tensordot(matrix, dx, (1, i)), 0, i)
            continue
        rows = np.moveaxis(dx, i, 0)
        total = np.zeros((axis.size, *rows.shape[1:]), dy.dtype)
        for tap, amount in zip(taps.T, weight.T.astype(dy.dtype), strict=True):
            total += add_rows(rows * amount.reshape(-1, *[1] * (dy.ndim - 1)), tap, axis.size)
        dx = np.moveaxis(total, 0, i)
    return dx


def _sum_weighted(x: np.ndarray, axis: int, taps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """sum_t weight[i, t]·x[taps[i, t]] along one axis, for each i."""
    size, resized = x.shape[axis], len(taps)
    # A short axis is faster as a matrix product, mostly of zeros; but 0·inf is NaN.
    if size <= 128 * taps.shape[1] and np.isfinite(x).all():
        matrix = np.zeros((resized, size), weight.dtype)
        np.add.at(matrix, (np.arange(resized)[:, None], taps), weight)
        if axis == x.ndim - 1:
            return products.matmul(x, matrix.T)
        y = products.matmul(
            matrix, x.reshape(math.prod(x.shape[:axis]), size, math.prod(x.shape[axis + 1 :]))
        )
        return y.reshape(*x.shape[:axis], resized, *x.shape[axis + 1 :])
    total = np.zeros((*x.shape[:axis], resized, *x.shape[axis + 1 :]), x.dtype)
    for tap, amount in zip(taps.T, weight.T, strict=True):
        total += np.take(x, tap, axis) * amount.reshape(-1, *[1] * (x.ndim - 1 - axis))
    return total


def _to_integers(y: np.ndarray, dtype: np.dtype, rounds: bool) -> np.ndarray:
    lowest, highest = dtype_limits(dtype)
    # division in float32 may leave 2.999999 for 3
    y = np.rint(y) if rounds else np.trunc(y + np.copysign(1e-5, y))
    return np.where(y >= highest, highest, np.where(y <= lowest, lowest, y)).astype(dtype)


# "linear (including bilinear, trilinear, etc)", says the spec, and some files have bilinear
resize_10.choices({"mode": "nearest linear bilinear"})
_COORDINATE_MODES = "half_pixel pytorch_half_pixel align_corners asymmetric tf_crop_and_resize"
declare(
    resize,
    resize_11,
    choices={
        "mode": "nearest linear cubic",
        "nearest_mode": "round_prefer_floor round_prefer_ceil floor ceil",
        "keep_aspect_ratio_policy": "stretch not_larger not_smaller",
        "coordinate_transformation_mode": {
            11: f"{_COORDINATE_MODES} tf_half_pixel_for_nn",
            13: _COORDINATE_MODES,
            19: f"{_COORDINATE_MODES} half_pixel_symmetric",
        },
    },
)
declare(upsample, upsample_7, upsample_1, flops=flops.zero)
declare(upsample, upsample_7, choices={"mode": "nearest linear bilinear"})
upsample_1.choices({"mode": "nearest bilinear"})
