"""Small tensors as Python values, the zero of a type, and the one attribute that is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: NumPy has at most 64 axes, and there may be two values for each (pads)
_MAX_AXIS_VALUES = 128


def as_ints(tensor: np.ndarray | Sequence[int]) -> tuple[int, ...]:
    """The integers of a rank-1 (or rank-0) tensor with one or two values for each axis.

    Raises ValueError for more values than axes can have, before converting them.
    """
    if np.size(tensor) > _MAX_AXIS_VALUES:
        raise ValueError(f"{np.size(tensor)} values are too many: a tensor has at most 64 axes")
    return all_ints(tensor)


def all_ints(tensor: np.ndarray | Sequence[int]) -> tuple[int, ...]:
    """The integers of a rank-1 (or rank-0) tensor of any size."""
    return tuple(np.ravel(tensor).tolist())


def as_int(tensor: np.ndarray, what: str) -> int:
    """The integer in a tensor of one element. ``what`` names it in the error."""
    value = as_scalar(tensor, what)
    try:
        return int(value)
    except (OverflowError, ValueError):  # infinity, NaN
        raise ValueError(f"{what} should be an integer, not {value}") from None


def as_float(tensor: np.ndarray, what: str) -> float:
    """The real number in a tensor of one element. ``what`` names it in the error."""
    value = as_scalar(tensor, what)
    if isinstance(value, complex | str):
        raise ValueError(f"{what} must be a real number, not {tensor.dtype}")
    return float(value)


def as_scalar(tensor: np.ndarray, what: str) -> Any:
    """The value in a tensor of one element and any rank, as a Python number or string."""
    if tensor.size != 1:
        raise ValueError(f"{what} must be one element, not shape {tensor.shape}")
    return tensor.item() if tensor.dtype.kind != "V" else tensor.reshape(-1)[0]


def zero(dtype: np.dtype) -> Any:
    """ONNX's default fill value: 0, False, or the empty string."""
    return "" if dtype.kind == "O" else np.zeros((), dtype)[()]


def get_single(what: str, *given: Any) -> np.ndarray:
    """The only attribute that is set, as an array of its ONNX type."""
    present = [values for values in given if values is not None and len(values)]
    if len(present) != 1:
        raise ValueError(f"expected exactly one attribute for {what}, got {len(present)}")
    values = present[0]
    if isinstance(values, np.ndarray):
        return values.reshape(-1)
    kinds: dict[type, Any] = {str: object, float: np.float32}
    return np.array(values, kinds.get(type(values[0]), np.int64))
