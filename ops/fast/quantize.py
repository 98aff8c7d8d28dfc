"""The binders of QuantizeLinear and DequantizeLinear: 8 and 16 bits, one scale for the tensor or
one for each index of an axis."""

from __future__ import annotations

from functools import partial

import numpy as np

from onnxwalk.ops.contract.space import Space, memory_order
from onnxwalk.ops.fast.calls import minimum_into, scalar
from onnxwalk.ops.shared.axes import normalize_axis

_KINDS = frozenset(np.dtype(kind) for kind in (np.int8, np.uint8, np.int16, np.uint16))
_FLOAT = np.dtype(np.float32)


def bind_dequantize_linear(
    space: Space,
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> np.ndarray | None:
    """(x - x_zero_point)·x_scale"""
    if output_dtype not in (0, 1) or block_size or x.dtype not in _KINDS:
        return None
    found = _of_axis(space, x, x_scale, x_zero_point, axis)
    if found is None:
        return None
    scale, zero_point = found
    y = space.array(x.shape, _FLOAT, memory_order(x))
    space.call(np.copyto, y, x)
    if zero_point is not None:
        space.call(np.subtract, y, zero_point, y)
    space.call(np.multiply, y, scale, y)
    return y


def bind_quantize_linear(
    space: Space,
    x: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> np.ndarray | None:
    """saturate(round(x / y_scale) + y_zero_point)"""
    dtype = np.dtype(np.uint8) if y_zero_point is None else y_zero_point.dtype
    if output_dtype or block_size or precision not in (0, 1) or dtype not in _KINDS:
        return None
    found = _of_axis(space, x, y_scale, y_zero_point, axis)
    if found is None or x.dtype != _FLOAT:
        return None
    scale, zero_point = found
    steps = space.scratch(x.shape, _FLOAT)
    space.call(np.divide, x, scale, steps)
    space.call(np.rint, steps, steps)
    if zero_point is not None:
        space.call(np.add, steps, zero_point, steps)
    limits = np.iinfo(dtype)
    space.call(partial(np.fmax, out=steps), steps, scalar(limits.min, _FLOAT))  # NaN: the lowest
    space.call(minimum_into(steps), steps, scalar(limits.max, _FLOAT))
    y = space.array(x.shape, dtype)
    space.call(np.copyto, y, steps, "unsafe")
    return y


def _of_axis(
    space: Space, x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, axis: int
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Scale and zero point, in float32, shaped to broadcast to x; ``None`` if they don't fit."""
    if scale.dtype != _FLOAT or scale.ndim > 1 or not x.size:
        return None
    shape: tuple[int, ...] = ()
    if scale.size != 1:
        if not x.ndim or scale.shape != x.shape[(at := normalize_axis(axis, x.ndim)) :][:1]:
            return None
        shape = (-1, *(1,) * (x.ndim - at - 1))
    if zero_point is None:
        return scale.reshape(shape), None
    if zero_point.shape != scale.shape:
        return None
    if space.is_constant(zero_point):
        return scale.reshape(shape), zero_point.astype(_FLOAT).reshape(shape)
    wide = space.scratch(zero_point.shape, _FLOAT)
    space.call(np.copyto, wide, zero_point)
    return scale.reshape(shape), wide.reshape(shape)
