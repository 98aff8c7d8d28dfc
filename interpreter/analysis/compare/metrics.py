"""How far two values lie apart, and whether that is within the tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.interpreter.display import describe

#: elements that are compared at a time: large tensors are never widened as a whole
_BLOCK = 1 << 18
#: of how many elements both values are told
_SPOTS = 5

#: what is allowed relative to the largest value, where the caller doesn't say: rounding adds up
#: over a hundred layers (5e-5 in MobileNetV2), a wrong weight shows a hundred times that
_USUAL = {"float64": 1e-6, "complex128": 1e-6, "float32": 1e-3, "complex64": 1e-3}
_USUAL |= {"float16": 2e-2, "bfloat16": 1e-1}
_SHORTER = 5e-1  # float8 and float4


@dataclass(frozen=True)
class Tolerance:
    """Equal is what differs nowhere by more than ``atol`` + ``rtol`` × the largest |b|.

    ``rtol`` None: 1e-3 for floats, 1e-6 for float64, 2e-2 for float16, 1e-1 for bfloat16, 0 for
    whole numbers.
    """

    atol: float = 1e-6
    rtol: float | None = None

    def relative(self, *dtypes: np.dtype) -> float:
        """What is allowed relative to the largest value of a tensor, for the shorter type."""
        return max(map(_usual, dtypes)) if self.rtol is None else self.rtol


@dataclass(frozen=True)
class Spot:
    """One element of which the values differ, by its index."""

    index: tuple[int, ...]
    a: Any
    b: Any


@dataclass(frozen=True)
class Difference:
    """Two values, compared.

    ``absolute``: max |a - b|. ``relative``: that, over max |b|. Both are over what is finite, and
    infinite where NaN or infinities are at other places, and for types and shapes that don't fit.
    ``spots``: where the values differ most. ``reason``: what doesn't fit at all, if so.
    ``a``, ``b``: type and shape, as "float32 (2, 3)".
    """

    equal: bool
    absolute: float
    relative: float
    a: str
    b: str
    reason: str = ""
    spots: tuple[Spot, ...] = ()


def difference(a: Any, b: Any, tolerance: Tolerance) -> Difference:
    """Compare tensors, sequences, maps, and optionals that may be empty (``None``).

    Of a sequence it is the difference of the items that differ most.
    """
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return _unlike(a, b, f"{len(a)} and {len(b)} items")
        return _worst(a, b, list(zip(range(len(a)), a, b, strict=True)), tolerance)
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return _unlike(a, b, "other keys")
        return _worst(a, b, [(key, a[key], b[key]) for key in a], tolerance)
    if a is None and b is None:
        return Difference(True, 0.0, 0.0, "nothing", "nothing")
    if any(value is None or isinstance(value, (list, tuple, dict)) for value in (a, b)):
        return _unlike(a, b, f"{_kind(a)} and {_kind(b)}")
    return _of_tensors(np.asarray(a), np.asarray(b), tolerance)


def _of_tensors(a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> Difference:
    if a.shape != b.shape:
        return _unlike(a, b, "other shapes")
    if _is_text(a) != _is_text(b):
        return _unlike(a, b, "text and numbers")
    found = _Widest(a.shape)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    largest = 0.0
    for start in range(0, a.size, _BLOCK):
        x, y = flat_a[start : start + _BLOCK], flat_b[start : start + _BLOCK]
        apart = _texts_apart(x, y) if _is_text(a) else _apart(x, y)
        found.take(apart, x, y, start)
        if not _is_text(a):
            largest = max(largest, _largest(y))
    if found.torn:
        what = "other texts" if _is_text(a) else "NaN or infinite at other places"
        reason = f"{what}: {found.torn:,} of {a.size:,}"
        spots = found.spots()
        return Difference(False, math.inf, math.inf, describe(a), describe(b), reason, spots)
    allowed = tolerance.atol
    if not _is_text(a):
        allowed += tolerance.relative(a.dtype, b.dtype) * largest
    relative = found.most / largest if largest else math.inf if found.most else 0.0
    equal = found.most <= allowed
    return Difference(equal, found.most, relative, describe(a), describe(b), spots=found.spots())


class _Widest:
    """Collects, block by block, where two tensors differ most."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.most, self.torn = shape, 0.0, 0
        self._found: list[tuple[float, int, Any, Any]] = []

    def take(self, apart: np.ndarray, x: np.ndarray, y: np.ndarray, start: int) -> None:
        torn = np.isinf(apart)
        self.torn += int(torn.sum())
        self.most = max(self.most, float(apart[~torn].max(initial=0)))
        places = np.argpartition(apart, -_SPOTS)[-_SPOTS:] if len(apart) > _SPOTS else None
        for place in range(len(apart)) if places is None else places.tolist():
            if apart[place] > 0:
                values = x[place], y[place]
                self._found.append((float(apart[place]), start + place, *values))
        self._found = sorted(self._found, key=lambda spot: (-spot[0], spot[1]))[:_SPOTS]

    def spots(self) -> tuple[Spot, ...]:
        return tuple(
            Spot(tuple(int(i) for i in np.unravel_index(place, self.shape)), a, b)
            for _, place, a, b in self._found
        )


def _apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x - y| in float64: 0 for NaN and NaN, infinite where just one is not finite."""
    whole = not (_is_float(x.dtype) or _is_float(y.dtype))
    unlike = x != y if whole else None
    x, y = _wide(x), _wide(y)
    with np.errstate(all="ignore"):
        apart = np.abs(x - y)
    if unlike is not None:  # beyond 2^53 neighbours are the same float64
        return np.where(unlike, np.maximum(apart, 1), 0)
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.all():
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        apart = np.where(finite, apart, np.where(same, 0.0, math.inf))
        apart[finite & np.isinf(apart)] = np.finfo(np.float64).max
    return apart


def _largest(y: np.ndarray) -> float:
    size = np.abs(_wide(y))
    return float(size[np.isfinite(size)].max(initial=0))


def _texts_apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    unlike = [str(a) != str(b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return np.where(unlike, math.inf, 0.0)


def _worst(a: Any, b: Any, items: list[tuple[Any, Any, Any]], tolerance: Tolerance) -> Difference:
    """The items' largest difference, under the name of the whole."""
    worst: Difference | None = None
    for key, x, y in items:
        found = difference(x, y, tolerance)
        if worst is None or (not found.equal, found.relative) > (not worst.equal, worst.relative):
            reason = f"item {key}" + (f": {found.reason}" if found.reason else "")
            reason = "" if found.equal else reason
            worst = Difference(
                found.equal,
                found.absolute,
                found.relative,
                describe(a),
                describe(b),
                reason,
                found.spots,
            )
    return worst or Difference(True, 0.0, 0.0, describe(a), describe(b))


def _unlike(a: Any, b: Any, reason: str) -> Difference:
    return Difference(False, math.inf, math.inf, describe(a), describe(b), reason)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return (
        "a sequence"
        if isinstance(value, (list, tuple))
        else ("a map" if isinstance(value, dict) else "a tensor")
    )


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "OUST"


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind in "fc" or "float" in dtype.name


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _usual(dtype: np.dtype) -> float:
    return _USUAL.get(dtype.name, _SHORTER) if _is_float(dtype) else 0.0


def nbytes(value: Any) -> int:
    """What a value takes of memory, about."""
    return sum(array.nbytes for array in _arrays(value))


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _arrays(item)
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))
    elif isinstance(value, np.ndarray):
        yield value
