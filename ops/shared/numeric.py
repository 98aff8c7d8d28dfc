"""What the numeric families share: 16-bit floats, limits of dtypes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import is_short_float


def wide(x: np.ndarray) -> np.ndarray:
    """The array in the dtype to compute in: short floats become float32, the rest stay."""
    return x.astype(np.float32) if is_short_float(x.dtype) else x


def float_power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """base ** exponent as C's ``pow`` has it. Where NumPy meets one exponent of 0.5 for a run of
    values it takes the square root, which differs: of -infinity it is NaN, not infinity, and of
    -0 it is -0, not 0."""
    result = np.asarray(np.power(base, exponent))
    roots = exponent == 0.5
    if roots.any():
        np.copyto(result, np.inf, where=roots & (base == -np.inf))
        np.copyto(result, 0, where=roots & (base == 0))
    return result


def saturating_cast(steps: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Integers that are in floats, in an integer type: kept within its range, and NaN is its lowest
    value, as in ONNX Runtime. ``steps`` is overwritten."""
    lowest, highest = dtype_limits(dtype)
    np.fmax(steps, lowest, out=steps)
    return np.minimum(steps, highest, out=steps).astype(dtype)


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have short floats computed in float32 and rounded once, at the end.

    For functions whose only output has the dtype of their first input. ONNX Runtime does the same.
    """

    @functools.wraps(function)
    def widened(*inputs: Any, **keywords: Any) -> Any:
        dtype = inputs[0].dtype
        if not is_short_float(dtype):
            return function(*inputs, **keywords)
        out = keywords.pop("out", None)
        y = function(*(None if x is None else wide(x) for x in inputs), **keywords)
        if out is None:
            return y.astype(dtype)
        out[...] = y
        return out

    return widened


# Elements in a block that stays in the second-level cache together with its intermediate results.
_BLOCK = 16384


def blockwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a large array computed block by block, in the order of memory.

    For elementwise functions of one array that pass over it several times: their intermediate
    results then never leave the cache, nor take up fresh memory.
    """

    @functools.wraps(function)
    def in_blocks(x: np.ndarray, **attributes: Any) -> Any:
        if x.size <= _BLOCK:
            return function(x, **attributes)
        order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
        in_order = np.ascontiguousarray(x.transpose(order))  # no copy unless there are gaps
        source = in_order.reshape(-1)
        result = np.empty_like(source)
        for start in range(0, source.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block] = function(source[block], **attributes)
        return result.reshape(in_order.shape).transpose(np.argsort(order))

    return in_blocks


def result_like(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """``out``, or else a new array of the shape, dtype and memory layout of ``x``."""
    return np.empty_like(x) if out is None else out


def dtype_limits(dtype: np.dtype) -> tuple[Any, Any]:
    """The lowest and highest finite value of a dtype, as C++'s ``numeric_limits`` has them."""
    if dtype.kind == "b":
        return False, True
    if dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    if dtype.kind == "f" and dtype.itemsize > 1:
        return np.finfo(dtype).min, np.finfo(dtype).max
    import ml_dtypes  # the dtype is one of its own, so it is there

    if "int" in dtype.name:
        return ml_dtypes.iinfo(dtype).min, ml_dtypes.iinfo(dtype).max
    return ml_dtypes.finfo(dtype).min, ml_dtypes.finfo(dtype).max


def check_same_dtype(a: np.ndarray, b: np.ndarray) -> None:
    """Raise ValueError for two dtypes where ONNX wants one: NumPy would quietly promote."""
    if a.dtype != b.dtype:
        raise ValueError(f"inputs have different dtypes: {a.dtype} and {b.dtype}")


def stable_argsort(keys: np.ndarray, largest: int) -> np.ndarray:
    """The indices that sort the last axis; of equal elements the lower index first."""
    if largest:
        # stable and ascending from the far end is stable and descending from this one
        return keys.shape[-1] - 1 - keys[..., ::-1].argsort(axis=-1, kind="stable")[..., ::-1]
    return keys.argsort(axis=-1, kind="stable")
