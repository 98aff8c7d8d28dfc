"""The fastest ways to call NumPy's functions with an output array."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.shared.products import has_blas

try:  # the ufunc behind np.clip: a third of its time for small arrays, and faster than np.maximum
    from numpy._core.umath import clip  # type: ignore[attr-defined]
except ImportError:
    clip = np.clip  # type: ignore[assignment]

_plain_clip = clip


def _shortest_time(call: Callable[[], Any]) -> int:
    times = []
    for _ in range(3):
        begun = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - begun)
    return min(times)


@functools.cache
def _branches_are_slow() -> bool:
    """Whether clip takes longer than maximum and minimum. Without vector instructions it branches
    for each number, and so does fmax: in Pyodide 5 ns where a number's sign can't be foreseen,
    against 1.1 each. Measured once, where there is no BLAS; such builds may lack both."""
    # so many, and so mixed, that the processor doesn't learn their signs
    bits = np.arange(1 << 16, dtype=np.uint32) * np.uint32(2654435761)
    bits = (bits ^ (bits >> np.uint32(15))) * np.uint32(2246822519)
    x = (bits ^ (bits >> np.uint32(13))).astype(np.float32) / np.float32(2**31) - np.float32(1)
    out, (low, high) = np.empty_like(x), (scalar(value, x.dtype) for value in (0, 0.5))

    def by_bounds() -> None:
        np.maximum(x, low, out=out)
        np.minimum(out, high, out=out)

    return _shortest_time(lambda: _plain_clip(x, low, high, out)) > _shortest_time(by_bounds)


def _clip(x: np.ndarray, lowest: np.ndarray, highest: np.ndarray, out: np.ndarray) -> None:
    if not _branches_are_slow():
        _plain_clip(x, lowest, highest, out)
        return
    np.maximum(x, lowest, out=out)
    if highest.item() != np.inf:
        np.minimum(out, highest, out=out)


def _fmax(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """fmax by maximum, in which a NaN shows in the sum: infinities may give one, too."""
    apart = not (np.may_share_memory(a, out) or np.may_share_memory(b, out))
    if apart and _branches_are_slow():
        np.maximum(a, b, out=out)
        total = np.add.reduce(out, axis=None)
        if total == total:
            return
    np.fmax(a, b, out=out)


if not has_blas:
    clip = _clip  # type: ignore[assignment]

try:  # np.einsum without its search for a contraction order
    from numpy._core.multiarray import c_einsum
except ImportError:
    c_einsum = np.einsum  # type: ignore[assignment]

try:
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_features__ as _features,
    )
except ImportError:
    _features = {}

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
    return partial(np.fmax if has_blas else _fmax, out=out)


def minimum_into(out: np.ndarray) -> partial[Any]:
    return partial(np.minimum, out=out)


def einsum_into(out: np.ndarray) -> partial[Any]:
    return partial(c_einsum, out=out)


def scalar(value: float, dtype: Any) -> np.ndarray:
    """An array of rank 0, which ufuncs process in half the time of Python's numbers."""
    return np.array(value, dtype)
