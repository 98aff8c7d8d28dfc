"""The difference of two values, and whether it is within the tolerance."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.compare.statistics import NO_STATISTICS, Collector, Statistics
from onnxwalk.interpreter.display import describe

#: elements that are compared at a time, so that the float64 copies stay small
_BLOCK = 1 << 18
#: the number of elements that are reported
_SPOTS = 5

#: the default of ``rtol``: rounding errors accumulate over a hundred layers (5e-5 in MobileNetV2),
#: but a wrong weight causes errors a hundred times as large
_DEFAULTS = {"float64": 1e-6, "complex128": 1e-6, "float32": 1e-3, "complex64": 1e-3}
_DEFAULTS |= {"float16": 2e-2, "bfloat16": 1e-1}
_SMALL_FLOATS = 5e-1  # float8 and float4


@dataclass(frozen=True)
class Rule:
    """Another tolerance for the values of which a name matches a shell pattern."""

    pattern: str
    atol: float
    rtol: float | None = None


@dataclass(frozen=True)
class Tolerance:
    """Two tensors are equal if no elements differ by more than ``atol`` + ``rtol`` × max |b|.

    ``rtol`` None: 1e-3 for floats, 1e-6 for float64, 2e-2 for float16, 1e-1 for bfloat16, 0 for
    integers. ``steps``: where values lie on the grid of a quantized tensor, they may differ by so
    many of its steps, if that is more. ``rules``: other tolerances, by name; the last that matches
    counts.
    """

    atol: float = 1e-6
    rtol: float | None = None
    steps: float = 1.0
    rules: tuple[Rule, ...] = ()

    def of(self, names: Iterable[str]) -> Tolerance:
        """The tolerance of a value that has these names: its own, its layer's, its dtype …"""
        names = list(names)
        for rule in reversed(self.rules):
            if any(fnmatch.fnmatchcase(name, rule.pattern) for name in names):
                return replace(self, atol=rule.atol, rtol=rule.rtol, steps=0.0, rules=())
        return self

    def on_grid(self, step: float) -> Tolerance:
        """The tolerance of a value on a grid of steps of this size."""
        return replace(self, atol=max(self.atol, self.steps * step * (1 + 1e-6)))

    def relative(self, *dtypes: np.dtype) -> float:
        """``rtol``, or its default for the least precise of the dtypes."""
        return max(map(_default_rtol, dtypes)) if self.rtol is None else self.rtol


EXACT = Tolerance(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Spot:
    """An element that differs."""

    index: tuple[int, ...]
    a: Any
    b: Any


@dataclass(frozen=True)
class Difference:
    """The difference of two values.

    ``absolute``: max |a - b|; ``relative``: max |a - b| / max |b|, both over the finite elements.
    They are infinite if NaN or infinities are at different positions, or types or shapes don't
    match; ``reason`` then says what. ``allowed``: what the tolerance lets ``absolute`` be.
    ``spots``: the elements that differ most. ``a``, ``b``: dtype and shape, as "float32 (2, 3)".
    """

    equal: bool
    absolute: float
    relative: float
    a: str
    b: str
    reason: str = ""
    spots: tuple[Spot, ...] = ()
    allowed: float = 0.0
    statistics: Statistics = NO_STATISTICS

    def as_data(self, *, spots: bool = True) -> dict[str, Any]:
        """The fields as plain data, for JSON."""
        data: dict[str, Any] = {
            "relative": self.relative,
            "absolute": self.absolute,
            "reason": self.reason or None,
            "type_a": self.a,
            "type_b": self.b,
            "allowed": self.allowed,
            **self.statistics._asdict(),
        }
        if spots:
            data["differs_most"] = [
                {"index": list(spot.index), "a": spot.a, "b": spot.b} for spot in self.spots
            ]
        return data


def differing(pairs: Iterable[tuple[str, Any, Any]]) -> dict[str, Difference]:
    """The differences of weights, given by name, a and b, that aren't exactly equal."""
    differences = {name: difference(a, b, EXACT) for name, a, b in pairs}
    return {name: each for name, each in differences.items() if not each.equal}


def difference(a: Any, b: Any, tolerance: Tolerance) -> Difference:
    """Compare tensors, sequences, maps, and optionals that may be empty (``None``).

    For sequences and maps it is the difference of the items that differ most.
    """
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return _incomparable(a, b, f"{len(a)} and {len(b)} items")
        return _worst_item(a, b, list(zip(range(len(a)), a, b, strict=True)), tolerance)
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return _incomparable(a, b, "different keys")
        return _worst_item(a, b, [(key, a[key], b[key]) for key in a], tolerance)
    if a is None and b is None:
        return Difference(True, 0.0, 0.0, "nothing", "nothing")
    if any(value is None or isinstance(value, (list, tuple, dict)) for value in (a, b)):
        return _incomparable(a, b, f"{_kind(a)} and {_kind(b)}")
    return _tensor_difference(np.asarray(a), np.asarray(b), tolerance)


def _tensor_difference(a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> Difference:
    if a.shape != b.shape:
        return _incomparable(a, b, "different shapes")
    if is_text(a) != is_text(b):
        return _incomparable(a, b, "text and numbers")
    text = is_text(a)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    starts = range(0, a.size, _BLOCK)
    largest, allowed = 0.0, tolerance.atol
    if not text:
        largest = max((_largest(flat_b[i : i + _BLOCK]) for i in starts), default=0.0)
        allowed += tolerance.relative(a.dtype, b.dtype) * largest
    largest_errors = _LargestErrors(a.shape)
    collector = Collector(a.size, allowed)
    for start in starts:
        x, y = flat_a[start : start + _BLOCK], flat_b[start : start + _BLOCK]
        errors = _text_errors(x, y) if text else _absolute_errors(x, y)
        largest_errors.add(errors, x, y, start)
        if text:
            collector.add(errors)
        else:
            collector.add(errors, _widen(x), _widen(y))
    types, spots = (describe(a), describe(b)), largest_errors.spots()
    statistics = collector.statistics()
    if mismatches := largest_errors.mismatches:
        what = "different texts" if text else "NaN or infinite at different positions"
        reason = f"{what}: {mismatches:,} of {a.size:,}"
        return Difference(False, math.inf, math.inf, *types, reason, spots, allowed, statistics)
    absolute = largest_errors.most
    relative = absolute / largest if largest else math.inf if absolute else 0.0
    return Difference(
        absolute <= allowed, absolute, relative, *types, "", spots, allowed, statistics
    )


class _LargestErrors:
    """Collects the elements of two tensors that differ most, block by block."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.most, self.mismatches = shape, 0.0, 0
        self._largest: list[tuple[float, int, Any, Any]] = []

    def add(self, errors: np.ndarray, x: np.ndarray, y: np.ndarray, start: int) -> None:
        """Add the flat block at ``start``; a mismatch (NaN, a text) has an infinite error."""
        infinite = np.isinf(errors)
        self.mismatches += int(infinite.sum())
        self.most = max(self.most, float(errors[~infinite].max(initial=0)))
        candidates = range(len(errors))
        if len(errors) > _SPOTS:
            candidates = np.argpartition(errors, -_SPOTS)[-_SPOTS:].tolist()
        self._largest += [
            (float(errors[i]), start + i, x[i], y[i]) for i in candidates if errors[i] > 0
        ]
        self._largest = sorted(self._largest, key=lambda spot: (-spot[0], spot[1]))[:_SPOTS]

    def spots(self) -> tuple[Spot, ...]:
        return tuple(
            Spot(tuple(map(int, np.unravel_index(index, self.shape))), a, b)
            for _, index, a, b in self._largest
        )


def _absolute_errors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x - y| in float64: 0 for NaN and NaN, infinite where only one is NaN or infinite."""
    is_exact = not (_is_float(x.dtype) or _is_float(y.dtype))
    unequal = x != y if is_exact else None
    x, y = _widen(x), _widen(y)
    with np.errstate(all="ignore"):
        errors = np.abs(x - y)
    if unequal is not None:  # beyond 2^53 different integers may be equal in float64
        return np.where(unequal, np.maximum(errors, 1), 0)
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.all():
        equal = (x == y) | (np.isnan(x) & np.isnan(y))
        errors = np.where(finite, errors, np.where(equal, 0.0, math.inf))
        errors[finite & np.isinf(errors)] = np.finfo(np.float64).max
    return errors


def _largest(y: np.ndarray) -> float:
    magnitudes = np.abs(_widen(y))
    return float(magnitudes[np.isfinite(magnitudes)].max(initial=0))


def _text_errors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    unequal = [str(a) != str(b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return np.where(unequal, math.inf, 0.0)


def _worst_item(
    a: Any, b: Any, items: list[tuple[Any, Any, Any]], tolerance: Tolerance
) -> Difference:
    """The largest difference of the items of a sequence or map."""
    worst: Difference | None = None
    for key, x, y in items:
        item = difference(x, y, tolerance)
        if worst is None or (not item.equal, item.relative) > (not worst.equal, worst.relative):
            reason = f"item {key}" + (f": {item.reason}" if item.reason else "")
            reason = "" if item.equal else reason
            worst = replace(item, a=describe(a), b=describe(b), reason=reason)
    return worst or Difference(True, 0.0, 0.0, describe(a), describe(b))


def _incomparable(a: Any, b: Any, reason: str) -> Difference:
    return Difference(False, math.inf, math.inf, describe(a), describe(b), reason)


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "a sequence"
    return "nothing" if value is None else "a map" if isinstance(value, dict) else "a tensor"


def is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "OUST"


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind in "fc" or "float" in dtype.name


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _default_rtol(dtype: np.dtype) -> float:
    return _DEFAULTS.get(dtype.name, _SMALL_FLOATS) if _is_float(dtype) else 0.0


def nbytes(value: Any) -> int:
    """The bytes of the arrays in a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return sum(map(nbytes, value))
    return value.nbytes if isinstance(value, np.ndarray) else 0
