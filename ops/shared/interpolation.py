"""The weights of interpolation, as functions of the distance from the place that is read."""

from __future__ import annotations

import numpy as np


def hat(d: np.ndarray) -> np.ndarray:
    """Linear interpolation: 1 at 0, falling to 0 at -1 and 1."""
    return np.maximum(1 - abs(d), 0)


def keys(d: np.ndarray, a: float) -> np.ndarray:
    """Cubic convolution (R. G. Keys, 1981, equation 4), 0 from 2 on."""
    d = abs(d)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
