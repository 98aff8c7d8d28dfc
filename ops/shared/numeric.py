"""Helpers for dtypes: short floats, ranges, blocks, sorting."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import is_short_float

#: elements of a block that fits the second-level cache together with its intermediate results
_BLOCK = 16384


def wide(x: np.ndarray) -> np.ndarray:
    """The array in the dtype to compute in: short floats become float32, others are unchanged."""
    if not is_short_float(x.dtype):
        return x
    if x.size < _BLOCK or x.itemsize != 2 or not x.flags.c_contiguous:
        return x.astype(np.float32)
    result = np.empty(x.shape, np.float32)
    halves, words = x.reshape(-1), result.reshape(-1)
    widen_block = _widen_float16 if x.dtype == np.float16 else _widen_bfloat16
    for start in range(0, x.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        widen_block(halves[block], words[block])
    return result


def _widen_float16(x: np.ndarray, y: np.ndarray) -> None:
    """x as float32 into y: the bits moved to their places and the exponent corrected by a product,
    which is exact and three times as fast as NumPy's cast."""
    bits, exponents = y.view(np.int32), x.view(np.int16) & 0x7C00
    if (exponents == 0x7C00).any():  # infinity or NaN
        y[...] = x
        return
    bits[...] = x.view(np.int16)
    np.left_shift(bits, 13, bits)
    np.bitwise_and(bits, np.int32(0x8FFFFFFF - (1 << 32)), bits)
    np.multiply(y, np.float32(2.0**112), y)


def _widen_bfloat16(x: np.ndarray, y: np.ndarray) -> None:
    """x as float32 into y: its bits are the upper half of those of the float32."""
    bits = y.view(np.uint32)
    bits[...] = x.view(np.uint16)
    np.left_shift(bits, 16, bits)


def distinct(values: np.ndarray) -> np.ndarray:
    """The different values, sorted, as ``np.unique``, which imports ``numpy.ma`` when first called:
    10,000 lines. Without NaN."""
    ordered = np.sort(values, axis=None)
    is_new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]


def float_power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """base ** exponent as C's ``pow`` defines it. For a run of exponents 0.5 NumPy takes the square
    root, which differs: NaN, not infinity, for -infinity; -0, not 0, for -0."""
    result = np.asarray(np.power(base, exponent))
    roots = exponent == 0.5
    if roots.any():
        np.copyto(result, np.inf, where=roots & (base == -np.inf))
        np.copyto(result, 0, where=roots & (base == 0))
    return result


def saturating_cast(steps: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Whole numbers stored as floats, clipped to the range of an integer type and cast to it. NaN
    becomes the lowest value, as in ONNX Runtime. ``steps`` is overwritten."""
    lowest, highest = dtype_limits(dtype)
    np.fmax(steps, lowest, out=steps)
    return np.minimum(steps, highest, out=steps).astype(dtype)


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: compute short floats in float32, and round once, at the end.

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


def blockwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: compute large arrays block by block, in memory order.

    For elementwise functions of one array that pass over it several times: their intermediate
    results stay in the cache and need no new memory.
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
    """``out``, or a new array of the shape, dtype and memory layout of ``x``."""
    return np.empty_like(x) if out is None else out


def dtype_limits(dtype: np.dtype) -> tuple[Any, Any]:
    """The lowest and highest finite value of a dtype, as C++'s ``numeric_limits`` has them."""
    if dtype.kind == "b":
        return False, True
    is_numpys = dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize > 1)
    module: Any = np if is_numpys else importlib.import_module("ml_dtypes")
    info = (module.iinfo if "int" in dtype.name else module.finfo)(dtype)
    return info.min, info.max


def check_same_dtype(a: np.ndarray, b: np.ndarray) -> None:
    """Raise ValueError if the dtypes differ: NumPy would promote, but ONNX requires equal ones."""
    if a.dtype != b.dtype:
        raise ValueError(f"inputs have different dtypes: {a.dtype} and {b.dtype}")


def stable_argsort(keys: np.ndarray, largest: int) -> np.ndarray:
    """The indices that sort the last axis; of equal elements the one with the lower index first."""
    if largest:
        # a stable ascending sort from the end is a stable descending sort from the start
        return keys.shape[-1] - 1 - keys[..., ::-1].argsort(axis=-1, kind="stable")[..., ::-1]
    return keys.argsort(axis=-1, kind="stable")
