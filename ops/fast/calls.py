"""NumPy's functions in the forms in which they are quickest to call with an array to write into."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.shared import forks

try:  # the ufunc behind np.clip: a third of its time for small arrays, and faster than np.maximum
    from numpy._core.umath import clip  # type: ignore[attr-defined]
except ImportError:
    clip = np.clip  # type: ignore[assignment]

try:  # np.einsum without its search for an order of contraction
    from numpy._core.multiarray import c_einsum
except ImportError:
    c_einsum = np.einsum  # type: ignore[assignment]

#: elements of the buffers of ufuncs while operators run
_BUFFER = 512

_state: Any = None
try:  # what np.errstate and np.setbufsize set, made once
    from numpy._core import umath as _umath

    _computing = _umath._make_extobj(all="ignore", bufsize=_BUFFER)
    _state = _umath._extobj_contextvar
except (ImportError, AttributeError):
    pass

try:
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_features__ as _features,
    )
except ImportError:
    _features = {}

#: whether tanh of float32 takes no longer than exp: 0.5 and 0.6 ns a value with AVX-512, 3 and 1.6
#: with AVX2
tanh_is_quick: bool = _features.get("AVX512_SKX", False)

__all__ = [
    "clip",
    "computing",
    "einsum_into",
    "is_plain",
    "maximum_into",
    "minimum_into",
    "scalar",
    "tanh_is_quick",
]


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


class computing:
    """``with computing():`` NumPy's state while operators run.

    Overflow and 0/0 give what ONNX defines, without a warning. Buffers are small: NumPy copies
    rows to them, and back, as long as a buffer of its usual 8192 elements holds a few rows,
    which takes two to four times what the arithmetic does (x * factor by channel of 64x56x56: 2.3
    to 1.0 times ONNX Runtime's time, LayerNormalization 1.2 to 1.0, rows of 256 elements and more).
    ``np.errstate`` and ``np.setbufsize`` take 4.5 µs, this 1. No fork happens meanwhile.
    """

    __slots__ = ("_before", "_errors", "_thread")

    def __enter__(self) -> None:
        self._thread = forks.begin()
        if _state is not None:
            self._before = _state.set(_computing)
            return
        self._errors = np.errstate(all="ignore")
        self._errors.__enter__()
        np.setbufsize(_BUFFER)

    def __exit__(self, *error: Any) -> None:
        forks.end(self._thread)
        if _state is not None:
            _state.reset(self._before)
        else:
            self._errors.__exit__(*error)
