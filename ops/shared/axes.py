"""Axes as ONNX writes them: negative ones count from the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np


def normalize_axis(axis: SupportsIndex, rank: int) -> int:
    """The axis counted from the front. Raises ValueError if it is out of range."""
    axis = axis.__index__()
    if not -rank <= axis < rank:
        if rank == 0:
            raise ValueError(f"axis {axis} is out of range for rank 0 (a scalar has no axes)")
        raise ValueError(f"axis {axis} is out of range for rank {rank} ({-rank} to {rank - 1})")
    return axis if axis >= 0 else axis + rank


def normalize_axes(axes: Iterable[Any], rank: int) -> tuple[int, ...]:
    """The axes counted from the front, in the same order. Raises ValueError for duplicates."""
    normalized = tuple(normalize_axis(axis, rank) for axis in axes)
    if len(set(normalized)) != len(normalized):
        listed = ", ".join(str(int(axis)) for axis in axes)
        raise ValueError(f"axes ({listed}) contain an axis of rank {rank} twice")
    return normalized


def channels_last(x: np.ndarray) -> np.ndarray:
    """A view (N, …, C) of (N, C, …). (``np.moveaxis`` takes ten times as long.)"""
    return x.transpose(0, *range(2, x.ndim), 1)


def channels_first(x: np.ndarray) -> np.ndarray:
    """A view (N, C, …) of (N, …, C)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
