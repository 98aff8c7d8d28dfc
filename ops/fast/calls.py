"""The fastest ways to call NumPy's functions with an output array."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.shared.products import c_einsum, has_blas

try:  # the ufunc behind np.clip: a third of its time for small arrays, and faster than np.maximum
    from numpy._core.umath import clip  # type: ignore[attr-defined]
except ImportError:
    clip = np.clip  # type: ignore[assignment]


def _clip(x: np.ndarray, lowest: np.ndarray, highest: np.ndarray, out: np.ndarray) -> None:
    """clip by maximum and minimum."""
    np.maximum(x, lowest, out=out)
    if highest.item() != np.inf:
        np.minimum(out, highest, out=out)


def _fmax(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """fmax by maximum, in which a NaN shows in the sum: infinities may give one, too."""
    if not np.may_share_memory(a, out) and not np.may_share_memory(b, out):
        np.maximum(a, b, out=out)
        total = np.add.reduce(out, axis=None)
        if total == total:
            return
    np.fmax(a, b, out=out)


try:
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_features__ as _features,
    )
except ImportError:
    _features = {}

#: Whether clip and fmax branch for each number, as where NumPy was built without vector
#: instructions: in Pyodide 5 ns where signs can't be foreseen, against 1.1 for maximum and for
#: minimum. Not measured: the browser translates these functions anew when they have run for a
#: while. Where there is BLAS there are vector instructions.
_branches: bool = not has_blas and not any(_features.values())
if _branches:
    clip = _clip  # type: ignore[assignment]

#: whether tanh of float32 is as fast as exp: with AVX-512 0.5 and 0.6 ns per value, with AVX2 3 and
#: 1.6
tanh_is_quick: bool = _features.get("AVX512_SKX", False)

__all__ = [
    "clip",
    "einsum_into",
    "largest_number_into",
    "maximum_into",
    "minimum_into",
    "scalar",
    "tanh_is_quick",
]


def maximum_into(out: np.ndarray) -> partial[Any]:
    """maximum(a, b) that writes to ``out``."""
    return partial(np.maximum, out=out)


def largest_number_into(out: np.ndarray) -> partial[Any]:
    """fmax(a, b), which passes over NaN, that writes to ``out``."""
    return partial(_fmax if _branches else np.fmax, out=out)


def minimum_into(out: np.ndarray) -> partial[Any]:
    return partial(np.minimum, out=out)


def einsum_into(out: np.ndarray) -> partial[Any]:
    return partial(c_einsum, out=out)


def scalar(value: float, dtype: Any) -> np.ndarray:
    """An array of rank 0, which ufuncs process in half the time of Python's numbers."""
    return np.array(value, dtype)
