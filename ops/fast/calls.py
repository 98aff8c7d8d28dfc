"""NumPy's functions in the forms in which they are quickest to call with an array to write into."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

try:  # the ufunc behind np.clip: a third of its time for small arrays, and faster than np.maximum
    from numpy._core.umath import clip  # type: ignore[attr-defined]
except ImportError:
    clip = np.clip  # type: ignore[assignment]

try:  # np.einsum without its search for an order of contraction
    from numpy._core.multiarray import c_einsum
except ImportError:
    c_einsum = np.einsum  # type: ignore[assignment]

__all__ = ["clip", "einsum_into", "is_plain", "maximum_into", "minimum_into", "scalar"]


def maximum_into(out: np.ndarray) -> partial[Any]:
    """maximum(a, b) written to ``out``, which NumPy takes by keyword only."""
    return partial(np.maximum, out=out)


def minimum_into(out: np.ndarray) -> partial[Any]:
    return partial(np.minimum, out=out)


def einsum_into(out: np.ndarray) -> partial[Any]:
    return partial(c_einsum, out=out)


def scalar(value: float, dtype: Any) -> np.ndarray:
    """An array of rank 0, which ufuncs take in half the time of Python's numbers."""
    return np.array(value, dtype)


#: NumPy's numbers of its types: up to here bool, the integers, float32 and float64
_DOUBLE = np.dtype(np.float64).num


def is_plain(dtype: np.dtype, kinds: str = "biuf") -> bool:
    """Whether NumPy computes in this type as it is: no short float, no type of another package
    (some of which call themselves floats)."""
    return dtype.num <= _DOUBLE and dtype.kind in kinds and dtype.isnative
