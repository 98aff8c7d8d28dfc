"""The values that cases are fed with: usual ones, and special ones of each type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_USUAL = (0.0, 1, 2, 3, 7, 100, 0.5, 1.5, 2.5)
_LARGE = (1e3, 2.0**24 + 1, 2.0**53 + 1, 1e25)


@dataclass(frozen=True)
class Values:
    """Where values lie: usual ones between ``low`` and ``high``, and the special ones besides.

    ``kinds``: "all", "mild" (nothing that makes a sum lose or exceed everything else), "small"
    (of integers none, since TensorFlow multiplies matrices of them as floats), or "none".
    ``zero``, ``negative``, ``nan``: whether these may be among them. ``within``: an integer type
    whose range the others don't leave.
    """

    low: float = -4.0
    high: float = 4.0
    kinds: str = "all"
    zero: bool = True
    negative: bool = True
    nan: bool = True
    within: str | None = None

    def usual(self, shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> NDArray[Any]:
        """An array of that shape; of integers, the bounds are both possible."""
        dtype_ = to_numpy(dtype)
        if dtype == "bool":
            return rng.integers(0, 2, shape).astype(bool)
        if dtype_.kind in "iu":
            low = max(int(np.ceil(self.low)), np.iinfo(dtype_).min)
            values = rng.integers(low, int(self.high) + 1, shape)
            return np.where((values == 0) & (not self.zero), 1, values).astype(dtype_)
        return rng.uniform(self.low, self.high, shape).astype(dtype_)

    def special(self, dtype: str) -> NDArray[Any] | None:
        """The special values of a type; None if there are none."""
        dtype_ = to_numpy(dtype)
        if self.kinds == "none" or (self.kinds == "small" and dtype_.kind in "iu"):
            return None
        if dtype == "bool":
            return np.array([False, True])
        if dtype_.kind in "iu":
            info = np.iinfo(dtype_)
            candidates = [0, 1, 2, 3, 7, 100, 1000, 2**24 + 1, 2**53 + 1, info.max, info.max - 1]
            candidates += [-n for n in candidates] + [info.min]
            values: list[Any] = [n for n in dict.fromkeys(candidates) if info.min <= n <= info.max]
        else:
            values = [*_USUAL, np.inf, 1024 * float(finfo(dtype_).tiny)]
            if self.kinds == "all":
                largest = float(finfo(dtype_).max)
                values += [n for n in _LARGE if n < largest] + [largest]
            values += [-n for n in values] + [np.nan]
        limits = None if self.within is None else np.iinfo(self.within)
        kept = [
            n
            for n in values
            if (self.zero or n != 0)
            and (self.negative or not np.signbit(n))
            and (self.nan or n == n)
            and (limits is None or n != n or limits.min <= n <= limits.max)
        ]
        return np.array(kept, dtype_)


ANY = Values()
MILD = Values(kinds="mild")
SMALL = Values(kinds="small")
#: TensorFlow sorts NaN wherever its algorithm leaves it
SORTABLE = Values(nan=False)
#: no special ones
PLAIN = Values(kinds="none")
#: what one can divide integers by
DIVISORS = Values(low=1, high=9, zero=False, negative=False)
POSITIVE = Values(low=0.1, high=9, negative=False)


def ids(count: int) -> Values:
    """Indices 0 … count - 1."""
    return Values(low=0, high=count - 1, kinds="none")


def between(low: float, high: float) -> Values:
    return Values(low=low, high=high, kinds="none")


def to_numpy(dtype: str) -> np.dtype[Any]:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def finfo(dtype: np.dtype[Any]) -> Any:
    import ml_dtypes

    return ml_dtypes.finfo(dtype)
