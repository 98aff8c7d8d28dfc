"""BatchNormalization, LayerNormalization and reductions bound to their shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ops import normalization as _normalization
from ops import reduce as _reduce  # noqa: F401  (registers what is bound here)
from ops._axes import normalize_axes, normalize_axis
from ops._values import as_ints
from ops.fast.blocks import parts
from ops.fast.calls import scalar
from ops.fast.pool import mean_over_places
from ops.registry import registry
from ops.space import Space


def _batch_normalization(function: Any) -> None:
    @function.bind
    def bind(
        space: Space,
        x: np.ndarray,
        scale: np.ndarray,
        b: np.ndarray,
        mean: np.ndarray,
        var: np.ndarray,
        *,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        spatial: int = 1,
        training_mode: int = 0,
        n_outputs: int = 1,
    ) -> np.ndarray | None:
        """x * factor + shift"""
        if training_mode or n_outputs > 1 or not space.known(scale, b, mean, var):
            return None
        if x.dtype != np.float32 or scale.dtype != x.dtype or scale.ndim != 1 or x.ndim < 2:
            return None
        if not scale.shape == b.shape == mean.shape == var.shape == x.shape[1:2]:
            return None
        factor = scale / np.sqrt(var.astype(np.float64) + epsilon)
        shift = b - mean * factor
        shape = (-1, *(1,) * (x.ndim - 2))
        y = space.like(x)
        space.call(np.multiply, x, factor.astype(x.dtype).reshape(shape), y)
        space.call(np.add, y, shift.astype(x.dtype).reshape(shape), y)
        return y


_batch_normalization(_normalization.batch_normalization)
_batch_normalization(_normalization.batch_normalization_by_outputs)


#: elements of a block of rows
_BLOCK = 1 << 15


@_normalization.layer_normalization.bind
def bind_layer_normalization(
    space: Space,
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[np.ndarray, ...] | None:
    """(x - mean) / √(var + ε)·scale + b, rows by rows: sums are products with ones."""
    first = normalize_axis(axis, x.ndim)
    line = x.shape[first:]
    if x.dtype != np.float32 or stash_type != 1 or any(space.wanted[1:]) or not x.size:
        return None
    if not x.flags.c_contiguous or scale.shape != line or (b is not None and b.shape != line):
        return None
    y = space.array(x.shape, x.dtype)
    length = math.prod(line)
    rows, results = x.reshape(-1, length), y.reshape(-1, length)
    scale, b = scale.reshape(-1), None if b is None else b.reshape(-1)
    share = np.full((length, 1), 1 / length, x.dtype)
    for start, stop in parts(len(rows), max(1, _BLOCK // length)):
        source, block = rows[start:stop], results[start:stop]
        mean, variance = (space.scratch((stop - start, 1), x.dtype) for _ in range(2))
        squares = space.scratch(block.shape, x.dtype)
        space.call(np.matmul, source, share, mean)
        space.call(np.subtract, source, mean, block)
        space.call(np.multiply, block, block, squares)
        space.call(np.matmul, squares, share, variance)
        space.call(np.add, variance, scalar(epsilon, x.dtype), variance)
        space.call(np.sqrt, variance, variance)
        space.call(np.divide, block, variance, block)
        space.call(np.multiply, block, scale, block)
        if b is not None:
            space.call(np.add, block, b, block)
        for array in (mean, variance, squares):
            space.reuse(array)
    return y, space.nothing, space.nothing


def _mean_of_lines(space: Space, data: np.ndarray, keepdims: bool) -> np.ndarray:
    """The mean along the last axis: a product with 1/n."""
    length = data.shape[-1]
    y = space.array((*data.shape[:-1], 1), data.dtype)
    share = np.full((length, 1), 1 / length, data.dtype)
    space.call(np.matmul, data.reshape(-1, length), share, y.reshape(-1, 1))
    return y if keepdims else y.reshape(data.shape[:-1])


def _reduce_mean(function: Any) -> None:
    @function.bind
    def bind(
        space: Space, data: np.ndarray, axes: Any = None, *, keepdims: int = 1, **attributes: Any
    ) -> np.ndarray | None:
        axes = attributes.get("axes", axes)
        if data.dtype != np.float32 or axes is None or data.size == 0 or data.ndim < 3:
            return None
        if isinstance(axes, np.ndarray) and not space.known(axes):
            return None
        reduced = sorted(normalize_axes(as_ints(axes), data.ndim))
        if reduced == [data.ndim - 1] and data.flags.c_contiguous:
            return _mean_of_lines(space, data, bool(keepdims))
        kept = [axis for axis in range(data.ndim) if axis not in reduced]
        if kept != [0, 1] and kept != [0, data.ndim - 1]:
            return None
        source = np.moveaxis(data, 1, -1) if kept == [0, 1] else data
        y = space.array((len(data), source.shape[-1]), data.dtype)
        mean_over_places(space, source, y)
        return (
            y
            if not keepdims
            else y.reshape([size if axis in kept else 1 for axis, size in enumerate(data.shape)])
        )


for _operator in registry.named("", "ReduceMean"):
    _reduce_mean(_operator.function)
