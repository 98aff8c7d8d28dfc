"""The gradients of normalizations.

With z = (x - mean)·r, r = 1 / √(variance + ε) and the gradient dz,

    dx = r·(dz - mean(dz) - z·mean(dz·z))

the means over what is normalized together; without a mean in z, there is none of dz.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxwalk.ops.ai_onnx.normalization import (
    group_normalization,
    group_normalization_18,
    instance_normalization,
    layer_normalization,
    layer_normalization_1,
    lp_normalization,
    lrn,
    mean_variance_normalization,
    mean_variance_normalization_1,
    rms_normalization,
)
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import rule
from onnxwalk.ops.shared.axes import normalize_axes, normalize_axis
from onnxwalk.ops.shared.cost import wide_itemsize
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.moments import align_channels, moments, sum_neighbours
from onnxwalk.ops.shared.numeric import wide


def through_normalized(
    dz: np.ndarray, z: np.ndarray, r: np.ndarray, axes: tuple[int, ...], *, centred: bool = True
) -> np.ndarray:
    """dx, from the gradient of the normalized z; ``axes``: over which the statistics are."""
    dx = dz - z * _mean(dz * z, axes)
    if centred:
        dx -= _mean(dz, axes)
    dx *= r
    return dx


def deviations(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x - mean, and the variance. The gradient divides what the mean was rounded by by a small
    deviation, so that it is taken off too."""
    _, deviation, variance = moments(x, axes)
    deviation -= _mean(deviation, axes)
    return deviation, variance


def _mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The mean; the axes stay, with one element."""
    return x.sum(axes, keepdims=True) / count_over(x.shape, axes)


def count_over(shape: Sequence[int], axes: tuple[int, ...]) -> int:
    return math.prod(shape[axis] for axis in axes)


def _last_axes(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(range(normalize_axis(axis, rank), rank))


# ------------------------------------------------------ normalizations by each sample's statistics


@rule
def vjp_of_layer_normalization(
    dy, dmean, dinverse, x, scale, *, mean, inverse, x_dtype, scale_dtype, b_shape, b_dtype, axis
):
    axes = _last_axes(axis, x.ndim)
    x, scale, dx = wide(x), wide(scale), np.zeros_like(wide(x))
    d_scale, d_b = np.zeros(scale.shape, scale_dtype), None
    mean, r = mean.astype(x.dtype, copy=False), inverse.astype(x.dtype, copy=False)
    z = (x - mean) * r
    if b_shape is not None:
        d_b = np.zeros(b_shape, b_dtype)
    if dy is not None:
        dy = wide(dy)
        dx = through_normalized(dy * scale, z, r, axes)
        d_scale = reduce_to(dy * z, scale.shape).astype(scale_dtype)
        d_b = None if d_b is None else reduce_to(dy, b_shape).astype(b_dtype)
    if dmean is not None:
        dx = dx + wide(dmean) / count_over(x.shape, axes)
    if dinverse is not None:
        dx = dx - wide(dinverse) * z * r * r / count_over(x.shape, axes)
    return dx.astype(x_dtype, copy=False), d_scale, d_b


@rule
def vjp_of_layer_normalization_1(
    dy, x, scale, *, x_dtype, scale_dtype, b_shape, b_dtype, axis, epsilon
):
    """From y only: the mean and r, which it returns in float, may be too short for double."""
    axes = _last_axes(axis, x.ndim)
    dy, x, scale = wide(dy), wide(x), wide(scale)
    z, variance = deviations(x, axes)
    r = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    z *= r
    dx = through_normalized(dy * scale, z, r, axes).astype(x_dtype, copy=False)
    d_scale = reduce_to(dy * z, scale.shape).astype(scale_dtype, copy=False)
    return dx, d_scale, None if b_shape is None else reduce_to(dy, b_shape).astype(b_dtype)


@rule
def vjp_of_rms_normalization(dy, x, scale, *, x_dtype, scale_dtype, axis, epsilon):
    axes = _last_axes(axis, x.ndim)
    dy, x, scale = wide(dy), wide(x), wide(scale)
    r = 1 / np.sqrt(_mean(np.square(x), axes) + x.dtype.type(epsilon))
    z = x * r
    dx = through_normalized(dy * scale, z, r, axes, centred=False)
    d_scale = reduce_to(dy * z, scale.shape)
    return dx.astype(x_dtype, copy=False), d_scale.astype(scale_dtype, copy=False)


@rule
def vjp_of_instance_normalization(dy, input, scale, *, epsilon):
    return _through_groups(dy, input, scale, input.shape[1], epsilon)


@rule
def vjp_of_group_normalization(dy, x, scale, *, num_groups, epsilon):
    return _through_groups(dy, x, scale, num_groups, epsilon)


@rule
def vjp_of_group_normalization_18(dy, x, scale, *, num_groups, epsilon):
    by_channel = np.repeat(scale, x.shape[1] // num_groups)
    dx, *parameters = _through_groups(dy, x, by_channel, num_groups, epsilon)
    return dx, *(p.reshape(num_groups, -1).sum(1) for p in parameters)


def _through_groups(
    dy: np.ndarray, x: np.ndarray, scale: np.ndarray, num_groups: int, epsilon: float
) -> tuple[np.ndarray, ...]:
    """The gradients of x (N, C, D1 … Dn), scale and bias (C)."""
    grouped = x.reshape(len(x), num_groups, x.shape[1] // num_groups, *x.shape[2:])
    axes = tuple(range(2, grouped.ndim))
    z, variance = deviations(grouped, axes)
    r = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    z *= r
    dz = (dy * align_channels(scale, x)).reshape(grouped.shape)
    dx = through_normalized(dz, z, r, axes).reshape(x.shape)
    others = (0, *range(2, x.ndim))
    return dx, (dy * z.reshape(x.shape)).sum(others), dy.sum(others)


# ----------------------------------------------------------------------- normalizations along axes


@rule
def vjp_of_mean_variance(dy, x, *, axes):
    return _through_deviation(dy, x, normalize_axes(axes, x.ndim), 1e-9)


@rule
def vjp_of_mean_variance_1(dy, input, *, across_channels, normalize_variance):
    axes = tuple(i for i in range(input.ndim) if across_channels or i != 1)
    if normalize_variance:
        return _through_deviation(dy, input, axes, 0.0)
    return dy - _mean(dy, axes)


def _through_deviation(
    dy: np.ndarray, x: np.ndarray, axes: tuple[int, ...], added: float
) -> np.ndarray:
    """y = (x - mean) / (√var + added)"""
    deviation, variance = deviations(x, axes)
    root = np.sqrt(variance)
    r = 1 / (root + x.dtype.type(added))
    by_root = np.where(root > 0, _mean(dy * deviation, axes) / np.where(root > 0, root, 1), 0)
    return r * (dy - _mean(dy, axes) - deviation * (r * by_root))


@rule
def vjp_of_lp_normalization(dy, input, *, y, axis, p):
    """(dy - y·Σ dy·y) / norm for p = 2, (dy - sign(x)·Σ dy·y) / norm for p = 1; 0 of a zero norm"""
    norm = np.abs(input).sum(axis, keepdims=True)
    if p == 2:
        norm = np.sqrt(np.square(input).sum(axis, keepdims=True))
    toward = y if p == 2 else np.sign(input)
    dx = dy - toward * (dy * y).sum(axis, keepdims=True)
    return np.where(norm == 0, 0, dx / np.where(norm == 0, 1, norm))


@rule
def vjp_of_lrn(dy, x, *, size, alpha, beta, bias):
    """dy·d^-β - 2αβ/size·x·s, s the sum of dy·x·d^(-β-1) over the channels that see x"""
    before, after = (size - 1) // 2, size // 2
    d = bias + alpha / size * sum_neighbours(np.square(x), before, after)
    shared = sum_neighbours(dy * x * d ** (-beta - 1), after, before)
    return dy * d**-beta - (2 * alpha * beta / size) * x * shared


# ------------------------------------------------------------------------------------------- costs


@vjp_of_layer_normalization_1.cost
@vjp_of_rms_normalization.cost
@vjp_of_instance_normalization.cost
@vjp_of_group_normalization.cost
@vjp_of_group_normalization_18.cost
@vjp_of_mean_variance.cost
@vjp_of_mean_variance_1.cost
@vjp_of_lp_normalization.cost
@vjp_of_lrn.cost
def cost_of_vjp(dy, x, *_, **__):
    """Deviations, products and sums of the size of x."""
    return Cost(10 * wide_itemsize(x.dtype) * x.size, 200 * x.size)


@vjp_of_layer_normalization.cost
def cost_of_vjp_of_layer_normalization(dy, dmean, dinverse, x, *_, **__):
    return cost_of_vjp(dy, x)


layer_normalization.vjp(vjp_of_layer_normalization)
layer_normalization_1.vjp(vjp_of_layer_normalization_1)
rms_normalization.vjp(vjp_of_rms_normalization)
instance_normalization.vjp(vjp_of_instance_normalization)
group_normalization.vjp(vjp_of_group_normalization)
group_normalization_18.vjp(vjp_of_group_normalization_18)
mean_variance_normalization.vjp(vjp_of_mean_variance)
mean_variance_normalization_1.vjp(vjp_of_mean_variance_1)
lp_normalization.vjp(vjp_of_lp_normalization)
lrn.vjp(vjp_of_lrn)
