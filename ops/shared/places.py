"""Indices in the type in which NumPy takes them."""

from __future__ import annotations

import numpy as np

_SIZE = np.dtype(np.intp).itemsize


def as_places(indices: np.ndarray) -> np.ndarray:
    """Integers that are known to lie within an array as indices of it, of any shape.

    With 32 bits, ``take``, ``repeat`` and ``bincount`` of NumPy 2.0 refuse int64, and later ones
    cut off what doesn't fit, in silence: what isn't known to lie within is to be checked before.
    """
    return indices if indices.dtype.itemsize <= _SIZE else indices.astype(np.intp)
