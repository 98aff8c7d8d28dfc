"""BatchNormalization: (x - mean) / √(variance + ε)·scale + bias for each channel.

N is the batch, C the channels, D1 … Dn the axes after them. Variances are those of the
population, Σ (x - mean)² / n. Short floats are computed in float32 and rounded at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import REQUIRED, op
from onnxwalk.ops.fast.normalization import bind_batch_normalization
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.cost import wide_copies, wide_itemsize
from onnxwalk.ops.shared.moments import align_channels, moments
from onnxwalk.ops.shared.numeric import wide


@op("BatchNormalization", since=14)
def batch_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    input_mean: np.ndarray,
    input_var: np.ndarray,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    n_outputs: int = 1,
) -> Any:
    """(x - mean) / √(var + ε)·scale + b for each of the C channels of x, of shape (N, C, D1 … Dn).

    In training the mean and variance are those of x, and two more outputs carry on the average:
    running = input·momentum + current·(1 - momentum). Spec: BatchNormalization-14, -15.
    """
    if not training_mode:
        if n_outputs > 1:
            raise ValueError("BatchNormalization has one output unless training_mode is 1")
        return _normalize_by_channel(x, scale, b, input_mean, input_var, epsilon)
    mean, var = _batch_statistics(x, input_mean.ndim)
    y = _normalize_by_channel(x, scale, b, mean, var, epsilon, centred=True)
    return y, _update_average(input_mean, mean, momentum), _update_average(input_var, var, momentum)


batch_normalization.bind(bind_batch_normalization)


@op("BatchNormalization", since=9, until=14, without=["spatial"])
@op("BatchNormalization", since=7, until=9)
def batch_normalization_7(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    n_outputs: int = 1,
) -> Any:
    """(x - mean) / √(var + ε)·scale + b; training is meant when the node has more than one output.

    These are y, running mean, running variance, and the mean and variance of x. With spatial=0
    (opset 7 and 8) scale, b, mean and var have the shape (C, D1 … Dn): one value for each place.
    Spec: BatchNormalization-7, -9.
    """
    _check_spatial(x, scale, spatial)
    if n_outputs == 1:
        return _normalize_by_channel(x, scale, b, mean, var, epsilon)
    return _normalize_by_batch(x, scale, b, mean, var, epsilon, momentum)


batch_normalization_7.bind(bind_batch_normalization)


@op("BatchNormalization", since=6, until=7)
@op("BatchNormalization", since=1, until=6, hints={"consumed_inputs": REQUIRED})
def batch_normalization_1(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
) -> Any:
    """(x - mean) / √(var + ε)·scale + b; training is meant unless is_test is set.

    In training there are four more outputs, as in BatchNormalization-7.
    Spec: BatchNormalization-1, -6.
    """
    _check_spatial(x, scale, spatial)
    if is_test:
        return _normalize_by_channel(x, scale, b, mean, var, epsilon)
    return _normalize_by_batch(x, scale, b, mean, var, epsilon, momentum)


def _check_spatial(x: np.ndarray, scale: np.ndarray, spatial: int) -> None:
    expected = x.shape[1:2] if spatial else x.shape[1:]
    if x.ndim > 1 and scale.shape != expected:
        raise ValueError(f"scale {scale.shape} should be {expected} for x {x.shape}")


def _normalize_by_batch(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    epsilon: float,
    momentum: float,
) -> tuple[np.ndarray, ...]:
    """y by the statistics of x, the running mean and variance, and the statistics of x."""
    current_mean, current_var = _batch_statistics(x, scale.ndim)
    y = _normalize_by_channel(x, scale, b, current_mean, current_var, epsilon, centred=True)
    return (
        y,
        _update_average(mean, current_mean, momentum),
        _update_average(var, current_var, momentum),
        current_mean.astype(x.dtype, copy=False),
        current_var.astype(x.dtype, copy=False),
    )


def _normalize_by_channel(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    epsilon: float,
    centred: bool = False,
) -> np.ndarray:
    """y as x·factor + shift, which needs only two passes over x; or, if ``centred``, as
    (x - mean)·factor + b, which is exactly b where x is the mean, as in a flat channel."""
    parameters = [wide(parameter).astype(np.float64) for parameter in (scale, b, mean, var)]
    wide_scale, wide_b, wide_mean, wide_var = parameters
    for parameter in parameters[1:]:
        if parameter.shape != wide_scale.shape:
            raise ValueError(
                f"scale, bias, mean and variance have different shapes: "
                f"{[p.shape for p in parameters]}"
            )
    factor = wide_scale / np.sqrt(wide_var + epsilon)
    wide_x = wide(x)
    if centred:
        shift = wide_b
        wide_x = wide_x - align_channels(wide_mean, x).astype(wide_x.dtype)
    else:
        shift = wide_b - wide_mean * factor
    y = np.asarray(wide_x * align_channels(factor, x).astype(wide_x.dtype))
    y += align_channels(shift, x).astype(wide_x.dtype)
    return y.astype(x.dtype, copy=False)


def _batch_statistics(x: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over all axes except the ``rank`` axes from 1 on."""
    x = wide(x)
    if x.ndim == 0:
        raise ValueError("a scalar has no channels to normalize")
    if x.ndim == 1:
        x = x[:, np.newaxis]
    axes = (0, *range(1 + rank, x.ndim))
    mean, _, var = moments(x, axes)
    shape = x.shape[1 : 1 + rank]
    return mean.reshape(shape), var.reshape(shape)


def _update_average(average: np.ndarray, current: np.ndarray, momentum: float) -> np.ndarray:
    return (wide(average) * momentum + current * (1 - momentum)).astype(average.dtype)


@batch_normalization.cost
@batch_normalization_7.cost
@batch_normalization_1.cost
def cost_of_batch_normalization(
    x: np.ndarray,
    *parameters: np.ndarray,
    training_mode: int = 0,
    is_test: int = 0,
    n_outputs: int = 1,
    **_: Any,
) -> Cost:
    """y; in training the deviations and their squares; the parameters in double and in float."""
    copies = 1 if is_test else 3
    memory = copies * wide_itemsize(x.dtype) * x.size + 80 * sum(p.size for p in parameters)
    rounded = x.nbytes if wide_copies(x) else 0
    return Cost(memory + wide_copies(x) + rounded, 60 * x.size)


declare(
    batch_normalization, batch_normalization_1, batch_normalization_7,
    flops=flops.per_output(2),
)  # fmt: skip
