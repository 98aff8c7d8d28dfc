"""Normalizations: (x - mean) / √(variance + ε)·scale + bias and its relatives, LRN, and Dropout.

N is the batch, C the channels, D1 … Dn the axes after them. Variances are those of the whole
population, Σ (x - mean)² / n. Short floats are computed in float32 and rounded at the end, or
between the two stages where the spec says so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import element_type, numpy_dtype
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.needs import Need
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, REQUIRED, op
from onnxwalk.ops.fast.normalization import (
    bind_batch_normalization,
    bind_group_normalization,
    bind_instance_normalization,
    bind_layer_normalization,
    bind_rms_normalization,
)
from onnxwalk.ops.shared import batch, flops, types
from onnxwalk.ops.shared.axes import normalize_axes, normalize_axis
from onnxwalk.ops.shared.needs import (
    cast_copies,
    elementwise,
    reshaped,
    total_bytes,
    wide_copies,
    wide_itemsize,
)
from onnxwalk.ops.shared.numeric import in_float32, wide

# ------------------------------------------------------------------------------ BatchNormalization


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
    y = _normalize_by_channel(x, scale, b, mean, var, epsilon)
    return y, _running(input_mean, mean, momentum), _running(input_var, var, momentum)


batch_normalization.bind(bind_batch_normalization)


@op("BatchNormalization", since=9, until=14, without=["spatial"])
@op("BatchNormalization", since=7, until=9)
def batch_normalization_by_outputs(
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
    return _normalize_in_training(x, scale, b, mean, var, epsilon, momentum)


batch_normalization_by_outputs.bind(bind_batch_normalization)


@op("BatchNormalization", since=6, until=7)
@op("BatchNormalization", since=1, until=6, hints={"consumed_inputs": REQUIRED})
def batch_normalization_by_flag(
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
    return _normalize_in_training(x, scale, b, mean, var, epsilon, momentum)


def _check_spatial(x: np.ndarray, scale: np.ndarray, spatial: int) -> None:
    expected = x.shape[1:2] if spatial else x.shape[1:]
    if x.ndim > 1 and scale.shape != expected:
        raise ValueError(f"scale of shape {scale.shape} for x of {x.shape} is not {expected}")


def _normalize_in_training(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    epsilon: float,
    momentum: float,
) -> tuple[np.ndarray, ...]:
    """y by the statistics of x, running mean and variance, and the statistics of x."""
    current_mean, current_var = _batch_statistics(x, scale.ndim)
    y = _normalize_by_channel(x, scale, b, current_mean, current_var, epsilon)
    return (
        y,
        _running(mean, current_mean, momentum),
        _running(var, current_var, momentum),
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
) -> np.ndarray:
    """As x·factor + shift, which passes over x twice only."""
    parameters = [wide(parameter).astype(np.float64) for parameter in (scale, b, mean, var)]
    wide_scale, wide_b, wide_mean, wide_var = parameters
    for parameter in parameters[1:]:
        if parameter.shape != wide_scale.shape:
            raise ValueError(
                f"scale, bias, mean and variance have different shapes: "
                f"{[p.shape for p in parameters]}"
            )
    factor = wide_scale / np.sqrt(wide_var + epsilon)
    shift = wide_b - wide_mean * factor
    wide_x = wide(x)
    y = np.asarray(wide_x * _along_channels(factor, x).astype(wide_x.dtype))
    y += _along_channels(shift, x).astype(wide_x.dtype)
    return y.astype(x.dtype, copy=False)


def _along_channels(parameter: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A parameter of shape (C) or (C, D1 … Dn), shaped so that it broadcasts over x.

    A vector x stands for one channel.
    """
    if x.ndim == 0:
        raise ValueError("a scalar has no channels to normalize")
    if x.ndim == 1:
        if parameter.size != 1:
            raise ValueError(f"a parameter of shape {parameter.shape} for x of {x.shape}")
        return parameter
    if parameter.ndim == 0 or parameter.shape != x.shape[1 : 1 + parameter.ndim]:
        raise ValueError(f"a parameter of shape {parameter.shape} for x of {x.shape}")
    return parameter.reshape(parameter.shape + (1,) * (x.ndim - 1 - parameter.ndim))


def _batch_statistics(x: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over all axes but the ``rank`` ones from 1 on."""
    x = wide(x)
    if x.ndim == 0:
        raise ValueError("a scalar has no channels to normalize")
    if x.ndim == 1:
        x = x[:, np.newaxis]
    axes = (0, *range(1 + rank, x.ndim))
    mean, _, var = _moments(x, axes)
    shape = x.shape[1 : 1 + rank]
    return mean.reshape(shape), var.reshape(shape)


def _moments(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, x - mean, and the variance; the axes stay, with one element."""
    n = math.prod(x.shape[axis] for axis in axes)
    mean = np.asarray(x.sum(axes, keepdims=True) / n, x.dtype)
    deviation = np.asarray(x - mean)
    if axes == tuple(range(x.ndim - len(axes), x.ndim)) and n:
        # the last axes: a scalar product of each line with itself, which needs no array of squares
        lines = deviation.reshape(-1, n)
        squares = np.vecdot(lines, lines).reshape(mean.shape)
    else:
        squares = np.square(deviation).sum(axes, keepdims=True)
    return mean, deviation, np.asarray(squares / n, x.dtype)


def _running(average: np.ndarray, current: np.ndarray, momentum: float) -> np.ndarray:
    return (wide(average) * momentum + current * (1 - momentum)).astype(average.dtype)


@batch_normalization.needs
@batch_normalization_by_outputs.needs
@batch_normalization_by_flag.needs
def needs_of_batch_normalization(
    x: np.ndarray,
    *parameters: np.ndarray,
    training_mode: int = 0,
    is_test: int = 0,
    n_outputs: int = 1,
    **_: Any,
) -> Need:
    """y, and in training the deviations and squares that give the variance; the parameters in
    double and float, a few times over."""
    copies = 1 if is_test else 2
    memory = copies * wide_itemsize(x.dtype) * x.size + 80 * sum(p.size for p in parameters)
    rounded = x.nbytes if wide_copies(x) else 0
    return Need(memory + wide_copies(x) + rounded, 60 * x.size)


# ------------------------------------------------------ normalizations by each sample's statistics


@op("InstanceNormalization", since=6)
@op("InstanceNormalization", since=1, hints=CONSUMED_INPUTS)
@in_float32
def instance_normalization(
    input: np.ndarray, scale: np.ndarray, b: np.ndarray, *, epsilon: float = 1e-5
) -> np.ndarray:
    """(x - mean) / √(var + ε)·scale + b with the mean and variance of each sample's each channel.

    input (N, C, D1 … Dn), scale and b (C). Spec: InstanceNormalization-1, -6, -22.
    """
    if input.ndim < 3:
        raise ValueError(f"InstanceNormalization needs (N, C, D1, …), not the shape {input.shape}")
    _, y, var = _moments(input, tuple(range(2, input.ndim)))
    y *= _along_channels(scale, input) / np.sqrt(var + epsilon)
    y += _along_channels(b, input)
    return y


instance_normalization.bind(bind_instance_normalization)


@op("LayerNormalization", since=17)
def layer_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x - mean) / √(var + ε)·scale + b with the statistics over axis, axis + 1, …

    Also gives the mean and 1 / √(var + ε). The first stage, up to the division, is computed in
    the dtype that stash_type says, the second in that of x. Spec: LayerNormalization-17.
    """
    axes = tuple(range(normalize_axis(axis, x.ndim), x.ndim))
    stash = _stash_dtype(stash_type)
    mean, deviation, var = _moments(wide(x.astype(stash, copy=False)), axes)
    inverse = np.asarray(np.reciprocal(np.sqrt(var + epsilon)))
    deviation *= inverse
    y = _scale_and_shift(deviation.astype(x.dtype, copy=False), scale, b)
    return y, mean.astype(stash, copy=False), inverse.astype(stash, copy=False)


layer_normalization.bind(bind_layer_normalization)


@op("GroupNormalization", since=21)
def group_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> np.ndarray:
    """(x - mean) / √(var + ε)·scale + bias with the statistics of each sample's groups of channels.

    x (N, C, D1 … Dn), scale and bias (C). The first stage, up to the division, is computed in the
    dtype that stash_type says. Spec: GroupNormalization-21.
    """
    normalized = _normalize_groups(x, num_groups, epsilon, _stash_dtype(stash_type))
    return _scale_and_shift(normalized, _along_channels(scale, x), _along_channels(bias, x))


group_normalization.bind(bind_group_normalization)


@op("GroupNormalization", since=18, until=21)
def group_normalization_18(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
) -> np.ndarray:
    """(x - mean) / √(var + ε)·scale + bias; scale and bias have one value for each group.

    Spec: GroupNormalization-18.
    """
    if scale.shape != (num_groups,) or bias.shape != (num_groups,):
        raise ValueError(f"scale {scale.shape} and bias {bias.shape} are not ({num_groups},)")
    normalized = _normalize_groups(x, num_groups, epsilon, np.dtype(np.float32))
    size = x.shape[1] // num_groups
    by_channel = [_along_channels(np.repeat(p, size), x) for p in (scale, bias)]
    return _scale_and_shift(normalized, *by_channel)


def _normalize_groups(
    x: np.ndarray, num_groups: int, epsilon: float, stash: np.dtype
) -> np.ndarray:
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"num_groups {num_groups} does not divide the channels of {x.shape}")
    n, c, *rest = x.shape
    grouped = x.astype(stash, copy=False).reshape(n, num_groups, c // num_groups, *rest)
    _, y, var = _moments(wide(grouped), tuple(range(2, grouped.ndim)))
    y /= np.sqrt(var + epsilon)
    return y.reshape(x.shape).astype(x.dtype, copy=False)


@op("RMSNormalization", since=23)
def rms_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> np.ndarray:
    """x / √(mean(x²) + ε)·scale, the mean over axis, axis + 1, …; in the dtype of scale.

    The first stage, up to the division, is computed in the dtype that stash_type says.
    Spec: RMSNormalization-23.
    """
    axes = tuple(range(normalize_axis(axis, x.ndim), x.ndim))
    stashed = wide(x.astype(_stash_dtype(stash_type), copy=False))
    n = math.prod(x.shape[axis] for axis in axes)
    mean_square = np.square(stashed).sum(axes, keepdims=True) / n
    normalized = stashed / np.sqrt(mean_square + epsilon)
    rounded = normalized.astype(x.dtype, copy=False).astype(scale.dtype, copy=False)
    return _scale_and_shift(rounded, scale, None)


rms_normalization.bind(bind_rms_normalization)


def _stash_dtype(stash_type: int) -> np.dtype:
    dtype = numpy_dtype(stash_type)
    if element_type(dtype).name not in ("float", "double", "float16", "bfloat16"):
        raise ValueError(f"stash_type {stash_type} ({dtype}) is not a floating-point type")
    return dtype


def _scale_and_shift(normalized: np.ndarray, scale: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """normalized·scale + b, in place; both broadcast to its shape."""
    shapes = [scale.shape] if b is None else [scale.shape, b.shape]
    if np.broadcast_shapes(normalized.shape, *shapes) != normalized.shape:
        raise ValueError(f"scale and bias of {shapes} do not broadcast to x of {normalized.shape}")
    y = np.multiply(normalized, scale, out=normalized, dtype=normalized.dtype)
    return y if b is None else np.add(y, b, out=y, dtype=normalized.dtype)


def needs_of_moments(
    x: np.ndarray, stash: np.dtype, item: int, *parameters: np.ndarray | None
) -> Need:
    """x in the dtype to stash and in a wide one, its deviations (twice, if their lines aren't runs
    of memory), the results of ``item`` bytes each and of every line a few numbers."""
    wide_item = wide_itemsize(stash)
    converted = cast_copies(stash, x) + (4 * x.size if wide_item != stash.itemsize else 0)
    deviations = wide_item * x.size + (0 if x.flags.c_contiguous else 2 * wide_item * x.size)
    rounded = 0 if item == wide_item else item * x.size
    return Need(converted + deviations + rounded + total_bytes(parameters), 60 * x.size)


@layer_normalization.needs
def needs_of_layer_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray | None = None,
    *,
    axis: int = -1,
    stash_type: int = 1,
    **_: Any,
) -> Need:
    need = needs_of_moments(x, _stash_dtype(stash_type), x.dtype.itemsize)
    lines = math.prod(x.shape[: normalize_axis(axis, x.ndim)])
    return Need(need.memory + 48 * lines, need.work)


@group_normalization.needs
@group_normalization_18.needs
def needs_of_group_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    *,
    num_groups: int,
    stash_type: int = 1,
    **_: Any,
) -> Need:
    need = needs_of_moments(x, _stash_dtype(stash_type), x.dtype.itemsize)
    groups = len(x) * max(num_groups, 0)
    halves = 4 * x.size if x.itemsize > 4 else 2 * x.size  # of bound ones, channels last
    return Need(need.memory + reshaped(x) + halves + 48 * groups + 48 * x.shape[1], need.work)


@instance_normalization.needs
def needs_of_instance_normalization(
    input: np.ndarray, scale: np.ndarray, b: np.ndarray, **_: Any
) -> Need:
    stash = np.dtype(np.float32) if wide_copies(input) else input.dtype
    need = needs_of_moments(input, stash, input.dtype.itemsize)
    halves = 4 * input.size if input.itemsize > 4 else 2 * input.size
    return Need(need.memory + halves + 64 * math.prod(input.shape[:2]), need.work)


@rms_normalization.needs
def needs_of_rms_normalization(
    x: np.ndarray, scale: np.ndarray, *, axis: int = -1, stash_type: int = 1, **_: Any
) -> Need:
    """x stashed, its squares or what it is after the division, and that rounded twice."""
    stash = _stash_dtype(stash_type)
    item = wide_itemsize(stash)
    converted = cast_copies(stash, x) + (4 * x.size if item != stash.itemsize else 0)
    rounded = sum(dtype.itemsize * x.size for dtype in {x.dtype, scale.dtype} - {stash})
    lines = math.prod(x.shape[: normalize_axis(axis, x.ndim)])
    return Need(converted + item * x.size + rounded + 48 * lines, 60 * x.size)


# ----------------------------------------------------------------------- normalizations along axes


@op("MeanVarianceNormalization", since=9)
@in_float32
def mean_variance_normalization(
    x: np.ndarray,
    *,
    axes: list[int] = [0, 2, 3],  # noqa: B006 the spec's default; never changed
) -> np.ndarray:
    """(x - mean) / (√var + 1e-9), the statistics over ``axes``.

    The 1e-9 is in the spec's function body only. Spec: MeanVarianceNormalization-9, -13.
    """
    _, deviation, var = _moments(x, normalize_axes(axes, x.ndim))
    return deviation / (np.sqrt(var) + 1e-9)


@op("LpNormalization", since=1)
@in_float32
def lp_normalization(input: np.ndarray, *, axis: int = -1, p: int = 2) -> np.ndarray:
    """x / (Σ |x|ᵖ)^(1/p) along an axis; 0 where the sum is 0. Spec: LpNormalization-1, -22."""
    axis = normalize_axis(axis, input.ndim)
    if p == 1:
        norm = np.abs(input).sum(axis, keepdims=True)
    elif p == 2:
        norm = np.sqrt(np.square(input).sum(axis, keepdims=True))
    else:
        raise ValueError(f"p of LpNormalization is {p}, not 1 or 2")
    return np.where(norm == 0, input.dtype.type(0), input / norm)


@op("LRN", since=1)
@in_float32
def lrn(
    x: np.ndarray, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> np.ndarray:
    """x / (bias + alpha/size·s)^beta, s the sum of x² over the ``size`` channels around each.

    These are c - ⌊(size-1)/2⌋ … c + ⌈(size-1)/2⌉, as far as they exist. x (N, C, D1 … Dn).
    Spec: LRN-1, -13.
    """
    if x.ndim < 2 or size < 1:
        raise ValueError(f"LRN of shape {x.shape} with size {size}: needs channels and a size")
    channels = x.shape[1]
    square = np.square(x)
    total = np.zeros_like(square)
    before, after = (size - 1) // 2, size // 2
    for offset in range(-min(before, channels), min(after, channels) + 1):
        # add channel c + offset to channel c, for all c at once
        source = slice(max(offset, 0), channels + min(offset, 0))
        target = slice(max(-offset, 0), channels - max(offset, 0))
        total[:, target] += square[:, source]
    return x / np.power(bias + alpha / size * total, beta)


# deviations and their squares, or norms and quotients; and of each line a few numbers
mean_variance_normalization.needs(elementwise(4, widened=True))
lp_normalization.needs(elementwise(4, widened=True))


@lrn.needs
def needs_of_lrn(x: np.ndarray, *, size: int, **_: Any) -> Need:
    """Squares, their sum, what is divided by, its power, and one array on the way there."""
    passes = min(max(size, 0), 2 * x.shape[1] + 1)
    need = elementwise(5, widened=True)(x)
    return Need(need.memory, (150 + 5 * passes) * x.size + 10_000 * passes)


# ----------------------------------------------------------------------------------------- Dropout


@op("Dropout", since=12)
def dropout(
    data: np.ndarray,
    ratio: np.ndarray | None = None,
    training_mode: np.ndarray | None = None,
    *,
    seed: int | None = None,
    n_outputs: int = 1,
    rng: np.random.Generator | None = None,
) -> Any:
    """data; in training data·mask / (1 - ratio), with a mask that is False with chance ``ratio``.

    The second output is the mask. Spec: Dropout-12, -13, -22.
    """
    dropped = 0.5 if ratio is None else float(ratio.reshape(()))
    if training_mode is None or not training_mode.reshape(()) or dropped == 0:
        mask = np.ones(data.shape, np.bool_) if n_outputs > 1 else None
        return data, mask
    if seed is not None:
        # The numbers of NumPy's older generator are those of ONNX's own test cases.
        chances = np.random.RandomState(seed % 2**32).random_sample(data.shape)
    else:
        chances = np.random.default_rng(rng).random(data.shape)
    return _drop(data, chances, dropped)


def _drop(data: np.ndarray, chances: np.ndarray, dropped: float) -> tuple[np.ndarray, np.ndarray]:
    if not 0 <= dropped < 1:
        raise ValueError(f"ratio of Dropout is {dropped}, not in [0, 1)")
    mask = chances >= dropped
    y = np.where(mask, wide(data) * (1 / (1 - dropped)), 0)
    return y.astype(data.dtype, copy=False), mask


@op("Dropout", since=10, until=12)
def dropout_10(data: np.ndarray, *, ratio: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """data, and a mask that keeps all: there is no training mode. Spec: Dropout-10."""
    return data, np.ones(data.shape, np.bool_)


@op("Dropout", since=7, until=10)
def dropout_7(data: np.ndarray, *, ratio: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """data, and a mask of the same dtype that keeps all. Spec: Dropout-7."""
    return data, np.ones_like(data)


@op("Dropout", since=6, until=7)
@op("Dropout", since=1, until=6, hints=CONSUMED_INPUTS)
def dropout_by_flag(
    data: np.ndarray, *, is_test: int = 0, ratio: float = 0.5, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """data·mask / (1 - ratio), with a mask of the same dtype that is 0 with chance ``ratio``.

    With is_test=1 data itself. Spec: Dropout-1, -6.
    """
    if is_test:
        return data, np.ones_like(data)
    y, mask = _drop(data, rng.random(data.shape), ratio)
    return y, mask.astype(data.dtype)


@dropout.needs
def needs_of_dropout(
    data: np.ndarray,
    ratio: np.ndarray | None = None,
    training_mode: np.ndarray | None = None,
    **_: Any,
) -> Need:
    if training_mode is None or not training_mode.any():
        return Need(data.size, data.size)
    return _needs_of_dropping(data)


@dropout_by_flag.needs
def needs_of_dropout_by_flag(data: np.ndarray, *, is_test: int = 0, **_: Any) -> Need:
    return Need(data.nbytes, data.size) if is_test else _needs_of_dropping(data)


def _needs_of_dropping(data: np.ndarray) -> Need:
    """Chances in double, the mask (of the dtype of data before opset 7), data, data scaled, and
    the choice of both."""
    item = wide_itemsize(data.dtype)
    return Need((9 + 2 * item + 2 * data.itemsize) * data.size + wide_copies(data), 60 * data.size)


dropout_10.needs(elementwise(dtype=np.bool_))
dropout_7.needs(elementwise())


declare(
    batch_normalization, batch_normalization_by_flag, batch_normalization_by_outputs,
    flops=flops.each(2),
)  # fmt: skip
declare(
    layer_normalization, instance_normalization, group_normalization, group_normalization_18,
    rms_normalization, flops=flops.each(7),
)  # fmt: skip
layer_normalization.batch_axis(batch.behind)
layer_normalization.output_type(types.named_by("stash_type"))
declare(dropout, dropout_10, dropout_7, dropout_by_flag, flops=flops.none, counts_outputs=False)
