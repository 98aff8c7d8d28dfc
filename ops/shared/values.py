"""Small tensors read as Python values, and the values that stand for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: numbers that say something about axes: NumPy has 64 of them, and there may be two for each
_MAX_AXIS_VALUES = 128


def as_ints(tensor: np.ndarray | Sequence[int]) -> tuple[int, ...]:
    """The integers of a rank-1 (or rank-0) tensor that says something about each axis.

    Raises ValueError for more than axes there can be, before they fill the memory as Python's.
    """
    if np.size(tensor) > _MAX_AXIS_VALUES:
        raise ValueError(f"{np.size(tensor)} values are for more axes than a tensor can have")
    return all_ints(tensor)


def all_ints(tensor: np.ndarray | Sequence[int]) -> tuple[int, ...]:
    """The integers of a rank-1 (or rank-0) tensor, however many."""
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
    """The value in a tensor of one element, of whatever rank; a Python number or string."""
    if tensor.size != 1:
        raise ValueError(f"{what} must be one element, not shape {tensor.shape}")
    return tensor.item() if tensor.dtype.kind != "V" else tensor.reshape(-1)[0]


def zero(dtype: np.dtype) -> Any:
    """What ONNX fills with: 0, False, or the empty string."""
    return "" if dtype.kind == "O" else np.zeros((), dtype)[()]
