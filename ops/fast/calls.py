"""The fastest ways to call NumPy's functions with an output array."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.shared.products import c_einsum

try:  # the ufunc behind np.clip: a third of its time for small arrays, and faster than np.maximum
    from numpy._core.umath import clip  # type: ignore[attr-defined]
except ImportError:
    clip = np.clip  # type: ignore[assignment]

try:
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_features__ as _features,
    )
except ImportError:
    _features = {"": True}

#: whether NumPy computes with vector instructions here: in WebAssembly it knows none
has_vectors: bool = any(_features.values())

#: whether tanh of float32 is as fast as exp: with AVX-512 0.5 and 0.6 ns per value, with AVX2 3 and
#: 1.6
tanh_is_quick: bool = _features.get("AVX512_SKX", False)

__all__ = [
    "clip",
    "einsum_into",
    "has_vectors",
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
    return partial(np.fmax, out=out)


def minimum_into(out: np.ndarray) -> partial[Any]:
    return partial(np.minimum, out=out)


def einsum_into(out: np.ndarray) -> partial[Any]:
    return partial(c_einsum, out=out)


def scalar(value: float, dtype: Any) -> np.ndarray:
    """An array of rank 0, which ufuncs process in half the time of Python's numbers."""
    return np.array(value, dtype)
