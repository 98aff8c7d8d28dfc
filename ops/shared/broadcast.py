"""The limited broadcasting before opset 7, by the attributes ``axis`` and ``broadcast``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.shared.axes import normalize_axis


def limit_broadcasting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The older version of a function of two inputs: only b is broadcast, if the node says so."""

    def limited(
        a: np.ndarray, b: np.ndarray, *, axis: int | None = None, broadcast: int = 0
    ) -> Any:
        return function(a, align_shape(a, b, axis, broadcast))

    formula = (function.__doc__ or "").split("Spec:")[0].strip()
    limited.__doc__ = f"""{formula}

    a and b have the same shape. With broadcast=1, b may also have one element, or the shape of
    consecutive axes of a: those from ``axis`` on, else the last ones.
    """
    return limited


def align_shape(a: np.ndarray, b: np.ndarray, axis: int | None, broadcast: int) -> np.ndarray:
    """b reshaped with axes of size 1, so that NumPy broadcasts it to the shape of a.

    The spec has no "1-dim expansion", but models use it, and a 1 in b's shape is unambiguous.
    """
    if a.shape == b.shape:
        return b
    if not broadcast:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ, and broadcast is not set")
    if b.ndim <= a.ndim:
        if b.size == 1:
            return b.reshape(())
        start = a.ndim - b.ndim if axis is None else normalize_axis(axis, a.ndim)
        along = a.shape[start : start + b.ndim]
        if len(along) == b.ndim and all(m in (1, n) for m, n in zip(b.shape, along, strict=True)):
            return b.reshape(b.shape + (1,) * (a.ndim - start - b.ndim))
    where = "" if axis is None else f" from axis {axis} on"
    raise ValueError(f"shape {b.shape} does not match consecutive axes of {a.shape}{where}")
