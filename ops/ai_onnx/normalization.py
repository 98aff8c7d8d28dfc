"""Normalizations by the statistics of a sample, or along axes: (x - mean) / √(variance + ε)·scale +
bias and its relatives, and LRN. BatchNormalization is in ``batch_normalization``.

N is the batch, C the channels, D1 … Dn the axes after them. Variances are those of the
population, Σ (x - mean)² / n. Short floats are computed in float32 and rounded at the end, or
between the two stages where the spec says so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.dtypes import element_type, numpy_dtype
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.fast.normalization import (
    bind_group_normalization,
    bind_instance_normalization,
    bind_layer_normalization,
    bind_rms_normalization,
)
from onnxwalk.ops.shared import batch, flops, types
from onnxwalk.ops.shared.axes import normalize_axes, normalize_axis
from onnxwalk.ops.shared.cost import (
    cast_copies,
    elementwise,
    reshape_bytes,
    total_bytes,
    wide_copies,
    wide_itemsize,
)
from onnxwalk.ops.shared.moments import align_channels, moments, sum_neighbours
from onnxwalk.ops.shared.numeric import in_float32, wide

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
    _, y, var = moments(input, tuple(range(2, input.ndim)))
    y *= align_channels(scale, input) / np.sqrt(var + epsilon)
    y += align_channels(b, input)
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
    mean, deviation, var = moments(wide(x.astype(stash, copy=False)), axes)
    inverse = np.asarray(np.reciprocal(np.sqrt(var + epsilon)))
    deviation *= inverse
    y = _scale_and_shift(deviation.astype(x.dtype, copy=False), scale, b)
    return y, mean.astype(stash, copy=False), inverse.astype(stash, copy=False)


layer_normalization.bind(bind_layer_normalization)


@op("LayerNormalization", since=1, until=17)
@attributes_of(layer_normalization)
def layer_normalization_1(x, scale, b=None, **attributes):
    """LayerNormalization as ONNX Runtime had it before ONNX: x may have another type than scale and
    b, which y has; all is computed in float, or in double if x is.

    Source: LayerNormalization-1 of ONNX Runtime 1.32.
    """
    if x.dtype == np.float64:
        attributes["stash_type"] = element_type(x.dtype).code
    y, mean, inverse = layer_normalization(
        wide(x), wide(scale), None if b is None else wide(b), **attributes
    )
    return y.astype(scale.dtype, copy=False), mean.astype(np.float32), inverse.astype(np.float32)


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
    return _scale_and_shift(normalized, align_channels(scale, x), align_channels(bias, x))


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
        raise ValueError(f"scale {scale.shape} and bias {bias.shape} should be ({num_groups},)")
    normalized = _normalize_groups(x, num_groups, epsilon, np.dtype(np.float32))
    size = x.shape[1] // num_groups
    by_channel = [align_channels(np.repeat(p, size), x) for p in (scale, bias)]
    return _scale_and_shift(normalized, *by_channel)


def _normalize_groups(
    x: np.ndarray, num_groups: int, epsilon: float, stash: np.dtype
) -> np.ndarray:
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"num_groups {num_groups} does not divide the channels of {x.shape}")
    n, c, *rest = x.shape
    grouped = x.astype(stash, copy=False).reshape(n, num_groups, c // num_groups, *rest)
    _, y, var = moments(wide(grouped), tuple(range(2, grouped.ndim)))
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
        raise ValueError(f"stash_type {stash_type} ({dtype}) should be a floating-point type")
    return dtype


def _scale_and_shift(normalized: np.ndarray, scale: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """normalized·scale + b, in place; both broadcast to its shape."""
    shapes = [scale.shape] if b is None else [scale.shape, b.shape]
    if np.broadcast_shapes(normalized.shape, *shapes) != normalized.shape:
        raise ValueError(f"scale and bias of {shapes} do not broadcast to x of {normalized.shape}")
    y = np.multiply(normalized, scale, out=normalized, dtype=normalized.dtype)
    return y if b is None else np.add(y, b, out=y, dtype=normalized.dtype)


def cost_of_moments(
    x: np.ndarray, stash: np.dtype, item: int, *parameters: np.ndarray | None
) -> Cost:
    """x in the stash type and in a wide one, its deviations (twice, if their lines aren't
    contiguous), the results of ``item`` bytes each, and a few numbers for each line."""
    wide_item = wide_itemsize(stash)
    converted = cast_copies(stash, x) + (4 * x.size if wide_item != stash.itemsize else 0)
    deviations = wide_item * x.size + (0 if x.flags.c_contiguous else 2 * wide_item * x.size)
    rounded = 0 if item == wide_item else item * x.size
    return Cost(converted + deviations + rounded + total_bytes(parameters), 60 * x.size)


@layer_normalization.cost
@layer_normalization_1.cost
def cost_of_layer_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray | None = None,
    *,
    axis: int = -1,
    stash_type: int = 1,
    **_: Any,
) -> Cost:
    cost = cost_of_moments(x, _stash_dtype(stash_type), x.dtype.itemsize)
    lines = math.prod(x.shape[: normalize_axis(axis, x.ndim)])
    return Cost(cost.memory + 48 * lines, cost.work)


@group_normalization.cost
@group_normalization_18.cost
def cost_of_group_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    *,
    num_groups: int,
    stash_type: int = 1,
    **_: Any,
) -> Cost:
    cost = cost_of_moments(x, _stash_dtype(stash_type), x.dtype.itemsize)
    groups = len(x) * max(num_groups, 0)
    halves = 4 * x.size if x.itemsize > 4 else 2 * x.size  # of bound ones, channels last
    return Cost(cost.memory + reshape_bytes(x) + halves + 48 * groups + 48 * x.shape[1], cost.work)


@instance_normalization.cost
def cost_of_instance_normalization(
    input: np.ndarray, scale: np.ndarray, b: np.ndarray, **_: Any
) -> Cost:
    stash = np.dtype(np.float32) if wide_copies(input) else input.dtype
    cost = cost_of_moments(input, stash, input.dtype.itemsize)
    halves = 4 * input.size if input.itemsize > 4 else 2 * input.size
    return Cost(cost.memory + halves + 64 * math.prod(input.shape[:2]), cost.work)


@rms_normalization.cost
def cost_of_rms_normalization(
    x: np.ndarray, scale: np.ndarray, *, axis: int = -1, stash_type: int = 1, **_: Any
) -> Cost:
    """x in the stash type, its squares or quotients, and these rounded twice."""
    stash = _stash_dtype(stash_type)
    item = wide_itemsize(stash)
    converted = cast_copies(stash, x) + (4 * x.size if item != stash.itemsize else 0)
    rounded = sum(dtype.itemsize * x.size for dtype in {x.dtype, scale.dtype} - {stash})
    lines = math.prod(x.shape[: normalize_axis(axis, x.ndim)])
    return Cost(converted + item * x.size + rounded + 48 * lines, 60 * x.size)


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
    _, deviation, var = moments(x, normalize_axes(axes, x.ndim))
    return deviation / (np.sqrt(var) + 1e-9)


@op("MeanVarianceNormalization", since=1, until=9)
@in_float32
def mean_variance_normalization_1(
    input: np.ndarray, *, across_channels: int = 0, normalize_variance: int = 1
) -> np.ndarray:
    """(x - mean) / √var of each channel of (N, C, …) over all samples, or of all channels together;
    without normalize_variance x - mean.

    Source: MeanVarianceNormalization-1 of ONNX Runtime 1.32.
    """
    axes = tuple(i for i in range(input.ndim) if across_channels or i != 1)
    _, deviation, var = moments(input, axes)
    return deviation / np.sqrt(var) if normalize_variance else deviation


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
        raise ValueError(f"p of LpNormalization should be 1 or 2, got {p}")
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
        raise ValueError(
            f"LRN needs x (N, C, …) and a size of at least 1, got shape {x.shape} and size {size}"
        )
    total = sum_neighbours(np.square(x), (size - 1) // 2, size // 2)
    return x / np.power(bias + alpha / size * total, beta)


# deviations and their squares, or norms and quotients; and a few numbers for each line
declare(
    mean_variance_normalization, mean_variance_normalization_1,
    cost=elementwise(4, widened=True),
)  # fmt: skip
lp_normalization.cost(elementwise(4, widened=True))


@lrn.cost
def cost_of_lrn(x: np.ndarray, *, size: int, **_: Any) -> Cost:
    """The squares, their sum, the divisor, its power, and one temporary array."""
    passes = min(max(size, 0), 2 * x.shape[1] + 1)
    cost = elementwise(5, widened=True)(x)
    return Cost(cost.memory, (150 + 5 * passes) * x.size + 10_000 * passes)


declare(
    layer_normalization, layer_normalization_1, instance_normalization, group_normalization,
    group_normalization_18, rms_normalization, flops=flops.per_output(7),
)  # fmt: skip
declare(layer_normalization, layer_normalization_1, batch_axis=batch.trailing_axes)
declare(layer_normalization, layer_normalization_1, output_type=types.from_attribute("stash_type"))
