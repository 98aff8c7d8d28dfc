"""The arithmetic of Resize: sample positions and weights.

Along one axis, output i samples the input at position x(i): a weighted sum of the inputs around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from onnxwalk.ops.shared.axes import normalize_axes
from onnxwalk.ops.shared.values import as_ints


class Axis(NamedTuple):
    """How one axis is resized. ``scale`` is the fraction over / under, because sizes are exact."""

    size: int  # of the input
    resized: int  # of the output
    over: float
    under: int = 1
    roi: tuple[float, float] = (0.0, 1.0)

    @property
    def scale(self) -> float:
        return self.over / self.under

    def unscaled(self, x: np.ndarray) -> np.ndarray:
        """x / scale. A float32 scale divides in float32: 3 / 0.33333334 is 9, not 8.99."""
        if self.under == 1:
            return (x.astype(np.float32) / np.float32(self.over)).astype(np.float64)
        return x * self.under / self.over


# ------------------------------------------------------------------------------------- shapes


def plan_resize(
    shape: Sequence[int],
    roi: np.ndarray | None,
    scales: np.ndarray | None,
    sizes: np.ndarray | None,
    axes: Sequence[int] | None,
    coordinates: str,
    policy: str,
) -> dict[int, Axis]:
    """How to resize each axis that changes. Raises ValueError for invalid inputs."""
    axes = normalize_axes(range(len(shape)) if axes is None else axes, len(shape))
    regions = dict.fromkeys(axes, (0.0, 1.0))
    if coordinates == "tf_crop_and_resize":
        if roi is None or roi.shape != (2 * len(axes),):
            actual = "missing" if roi is None else f"of shape {roi.shape}"
            raise ValueError(f"tf_crop_and_resize needs a roi of {2 * len(axes)}: it is {actual}")
        ends = roi.astype(np.float64).reshape(2, -1)
        regions = {axis: (float(a), float(b)) for axis, a, b in zip(axes, *ends, strict=True)}
    by_scale = scales is not None and scales.size > 0
    if by_scale == (sizes is not None and sizes.size > 0) and axes:
        raise ValueError("either scales or sizes must be given, not both")
    plan = {}
    if by_scale:
        assert scales is not None
        _check_count("scales", scales, axes)
        for axis, scale in zip(axes, scales.astype(np.float32), strict=True):
            if not 0 < scale < np.inf:
                raise ValueError(f"scale {scale:g} should be positive")
            start, end = regions[axis]
            # the product is rounded to float32, as ONNX's shape inference rounds it: 10·0.7 is 7
            length = np.float32(shape[axis]) * np.float32(end - start) * scale
            if not np.isfinite(length):
                raise ValueError(f"scale {scale:g} makes axis {axis} of {shape[axis]} too long")
            resized = max(0, math.floor(length))
            plan[axis] = Axis(shape[axis], resized, float(scale), roi=regions[axis])
    elif axes:
        assert sizes is not None
        _check_count("sizes", sizes, axes)
        targets = dict(zip(axes, as_ints(sizes), strict=True))
        if min(targets.values()) < 0:
            raise ValueError(f"sizes {list(targets.values())} should not be negative")
        for axis, (resized, over, under) in _proportions(shape, targets, policy).items():
            plan[axis] = Axis(shape[axis], resized, over, under, regions[axis])
    for resize in plan.values():
        if resize.resized and not resize.size:
            raise ValueError(f"an axis of length 0 can't be resized to {resize.resized}")
    # An axis of scale 1 is unchanged in all coordinate modes, as in ONNX Runtime.
    return {
        axis: resize
        for axis, resize in plan.items()
        if (resize.size, resize.roi) != (resize.resized, (0.0, 1.0)) or resize.over != resize.under
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


def source_positions(axis: Axis, coordinates: str) -> np.ndarray:
    """x(i) for each output i, in input coordinates."""
    i = np.arange(axis.resized, dtype=np.float64)
    if coordinates == "half_pixel":
        return axis.unscaled(i + 0.5) - 0.5
    if coordinates == "pytorch_half_pixel":
        return axis.unscaled(i + 0.5) - 0.5 if axis.resized > 1 else np.zeros(axis.resized)
    if coordinates == "half_pixel_symmetric":
        # offset + (i + 0.5) / scale - 0.5 of the spec, rearranged: the centres coincide
        return axis.unscaled(i - (axis.resized - 1) / 2) + (axis.size - 1) / 2
    if coordinates == "asymmetric":
        return axis.unscaled(i)
    if coordinates == "tf_half_pixel_for_nn":
        return axis.unscaled(i + 0.5)
    if coordinates == "align_corners":
        # The spec has scale = length_resized / length_original, so that length_resized isn't an
        # integer for a scale of 0.6. ONNX's cases use that; ONNX Runtime rounds it first.
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

#: (positions x(i), axis) -> indices of the inputs (n, taps), and their weights (n, taps), or None
Weights = Callable[[np.ndarray, Axis], tuple[np.ndarray, "np.ndarray | None"]]


def nearest_weights(rounding: str) -> Weights:
    """The nearest input."""
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


def kernel_weights(
    w: Callable[[np.ndarray], np.ndarray],
    support: int,
    antialias: int = 0,
    exclude_outside: int = 0,
) -> Weights:
    """Weights w(j - x) for the inputs j at a distance of less than ``support``."""

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


def hat(d: np.ndarray) -> np.ndarray:
    """Linear interpolation: 1 at 0, falling to 0 at -1 and 1."""
    return np.maximum(1 - abs(d), 0)


def slope_of_hat(d: np.ndarray) -> np.ndarray:
    """Its derivative; at 0 that to the left, where the neighbours of a whole place are."""
    return np.where(abs(d) < 1, np.where(d <= 0, 1.0, -1.0), np.where(d == 1, -1.0, 0.0))


def cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Cubic convolution (R. G. Keys, 1981, equation 4), 0 from 2 on."""
    d = abs(d)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def slope_of_cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Its derivative."""
    sign, d = np.sign(d), abs(d)
    near = (3 * (a + 2) * d - 2 * (a + 3)) * d
    far = (3 * a * d - 10 * a) * d + 8 * a
    return sign * np.where(d <= 1, near, np.where(d < 2, far, 0))
