"""The gradients of BatchNormalization, by constant statistics and by those of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxwalk.ops.ai_onnx.batch_normalization import (
    batch_normalization,
    batch_normalization_1,
    batch_normalization_7,
)
from onnxwalk.ops.ai_onnx.normalization_gradients import (
    cost_of_vjp,
    count_over,
    deviations,
    through_normalized,
)
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.shared.moments import align_channels
from onnxwalk.ops.shared.numeric import wide


@batch_normalization.vjp
def vjp_of_batch_normalization(
    dy, drunning_mean, drunning_var, x, scale, input_mean, input_var, *, x_dtype, scale_dtype,
    input_mean_dtype, epsilon, momentum, training_mode,
):  # fmt: skip
    if training_mode:
        found = _through_batch(
            (dy, drunning_mean, drunning_var), x, scale, input_mean, epsilon, momentum
        )
    else:
        found = _through_constants(dy, x, scale, input_mean, input_var, epsilon)
    dtypes = (x_dtype, scale_dtype, scale_dtype, input_mean_dtype, input_mean_dtype)
    return tuple(np.asarray(d).astype(t, copy=False) for d, t in zip(found, dtypes, strict=True))


@batch_normalization_7.vjp
def vjp_of_batch_normalization_7(*dys, x, scale, mean, var, epsilon, momentum):
    if len(dys) > 1:
        return _through_batch(dys, x, scale, mean, epsilon, momentum)
    return _through_constants(dys[0], x, scale, mean, var, epsilon)


@batch_normalization_1.vjp
def vjp_of_batch_normalization_1(*dys, x, scale, mean, var, epsilon, momentum, is_test):
    if not is_test:
        return _through_batch(dys, x, scale, mean, epsilon, momentum)
    return _through_constants(dys[0], x, scale, mean, var, epsilon)


def _through_constants(
    dy: np.ndarray | None,
    x: np.ndarray,
    scale: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    epsilon: float,
) -> tuple[np.ndarray, ...]:
    """y = (x - mean)·r·scale + b, with constant statistics."""
    dy = np.zeros_like(x) if dy is None else dy
    dy, x, scale, mean, var = map(wide, (dy, x, scale, mean, var))
    r = 1 / np.sqrt(var + var.dtype.type(epsilon))
    factor = align_channels(scale * r, x).astype(x.dtype, copy=False)
    others = _other_axes(x, scale)
    d_b = dy.sum(others).reshape(scale.shape)
    z_sum = (dy * (x - align_channels(mean, x))).sum(others).reshape(scale.shape)
    d_scale = z_sum * r
    return dy * factor, d_scale, d_b, -d_b * scale * r, d_scale * scale * r * r / -2


def _through_batch(
    dys: Sequence[np.ndarray | None],
    x: np.ndarray,
    scale: np.ndarray,
    mean: np.ndarray,
    epsilon: float,
    momentum: float,
) -> tuple[np.ndarray, ...]:
    """y by the statistics of x; then perhaps the running mean and variance, and those of x."""
    given = x.shape
    if x.ndim == 1:
        x = x[:, None]
    dys = [None if d is None else wide(d) for d in (*dys, *[None] * (5 - len(dys)))]
    dy, d_running_mean, d_running_var, d_mean, d_var = dys
    x, scale, axes = wide(x), wide(scale), _other_axes(x, scale)
    deviation, variance = deviations(x, axes)
    r = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    z, nothing = deviation * r, np.zeros(scale.shape, x.dtype)
    dx, d_scale, d_b = np.zeros_like(x), nothing, nothing
    if dy is not None:
        dy = dy.reshape(x.shape)
        d_scale, d_b = ((dy * z).sum(axes), dy.sum(axes))
        dx = through_normalized(dy * align_channels(scale, x), z, r, axes)
    d_old_mean = d_old_var = np.zeros_like(wide(mean))
    if d_running_mean is not None:
        d_old_mean = d_running_mean * momentum
        d_mean = (0 if d_mean is None else d_mean) + d_running_mean * (1 - momentum)
    if d_running_var is not None:
        d_old_var = d_running_var * momentum
        d_var = (0 if d_var is None else d_var) + d_running_var * (1 - momentum)
    n = count_over(x.shape, axes)
    if d_mean is not None:
        dx = dx + align_channels(d_mean, x) / n
    if d_var is not None:
        dx = dx + align_channels(d_var, x) * deviation * (2 / n)
    return dx.reshape(given), d_scale, d_b, d_old_mean, d_old_var


def _other_axes(x: np.ndarray, parameter: np.ndarray) -> tuple[int, ...]:
    """The axes of x that a parameter of shape (C) or (C, D1 … Dn) hasn't."""
    return (0, *range(1 + parameter.ndim, x.ndim))


@vjp_of_batch_normalization.cost
def cost_of_vjp_of_batch_normalization(dy, drunning_mean, drunning_var, x, scale, *_, **__):
    return _cost_by_channel(x, scale)


@vjp_of_batch_normalization_7.cost
@vjp_of_batch_normalization_1.cost
def cost_of_vjp_of_batch_normalization_7(*dys, x, scale, **_):
    return _cost_by_channel(x, scale)


def _cost_by_channel(x: np.ndarray, scale: np.ndarray) -> Cost:
    cost = cost_of_vjp(x, x)
    return Cost(cost.memory + 20 * scale.nbytes, cost.work)
