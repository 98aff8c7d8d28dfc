"""BatchNormalization, LayerNormalization and reductions bound to their shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ops import normalization as _normalization
from ops import reduce as _reduce  # noqa: F401  (registers what is bound here)
from ops._axes import normalize_axes
from ops._values import as_ints
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


for _operator in registry:
    if (_operator.domain, _operator.name) == ("", "ReduceMean"):
        _reduce_mean(_operator.function)
