"""Statistics of the errors of a tensor, collected block by block."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

#: of larger tensors, percentiles are those of every n-th element
_MOST_KEPT = 1 << 22


class Statistics(NamedTuple):
    """Of the absolute errors |a - b| of the elements that are finite on both sides; ``None`` where
    there is none, as of texts.

    ``mean`` and the percentiles ``median``, ``p95`` and ``p99``; ``cosine`` of the angle between a
    and b as vectors; ``sqnr``, the signal-to-quantization-noise ratio 10·log10(Σb² / Σ(a-b)²) in
    dB, infinite if nothing differs; ``share`` of all elements beyond the tolerance.
    """

    mean: float | None = None
    median: float | None = None
    p95: float | None = None
    p99: float | None = None
    cosine: float | None = None
    sqnr: float | None = None
    share: float | None = None


NO_STATISTICS = Statistics()


class Collector:
    """Collects them; ``allowed``: the error above which an element counts for ``share``."""

    def __init__(self, size: int, allowed: float) -> None:
        self._size, self._allowed = size, allowed
        self._stride = max(1, -(-size // _MOST_KEPT))
        self._kept: list[np.ndarray] = []
        self._beyond = self._count = self._seen = 0
        self._sum = self._noise = self._aa = self._bb = self._ab = 0.0

    def add(
        self, errors: np.ndarray, x: np.ndarray | None = None, y: np.ndarray | None = None
    ) -> None:
        """Add the next elements: their errors, infinite for a mismatch, and their values in float64
        or complex128, unless they are texts."""
        self._beyond += int(np.count_nonzero(errors > self._allowed))
        offset = -self._seen % self._stride
        self._seen += len(errors)
        if x is None or y is None:
            return
        kept = errors[offset :: self._stride]
        self._kept.append(kept[np.isfinite(kept)])
        finite = np.isfinite(x) & np.isfinite(y)
        if not finite.all():
            errors, x, y = errors[finite], x[finite], y[finite]
        self._count += len(errors)
        with np.errstate(all="ignore"):
            self._sum += float(errors.sum())
            self._noise += float(np.dot(errors, errors))
            self._aa += float(np.vdot(x, x).real)
            self._bb += float(np.vdot(y, y).real)
            self._ab += float(np.vdot(x, y).real)

    def statistics(self) -> Statistics:
        """Those of all elements that were added."""
        share = self._beyond / self._size if self._size else 0.0
        if not self._count:
            return Statistics(share=share)
        kept = np.concatenate(self._kept)
        median = p95 = p99 = None
        if kept.size:
            median, p95, p99 = map(float, np.percentile(kept, (50, 95, 99)))
        with np.errstate(all="ignore"):
            length = math.sqrt(self._aa) * math.sqrt(self._bb)
        cosine = min(1.0, max(-1.0, self._ab / length)) if 0 < length < math.inf else None
        return Statistics(self._sum / self._count, median, p95, p99, cosine, self._sqnr(), share)

    def _sqnr(self) -> float | None:
        if not self._noise:
            return math.inf
        if not self._bb or not max(self._bb, self._noise) < math.inf:
            return None
        return 10 * math.log10(self._bb / self._noise)
