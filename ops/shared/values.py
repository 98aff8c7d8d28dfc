"""Small tensors as Python values, and the zero of a type."""

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
