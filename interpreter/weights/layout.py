"""The layout of a weight: the steps from a variable's array to the one in the file.

A step only moves elements, so that each can be undone:

- ``("transpose", perm)`` and ``("reshape", shape)``, as in NumPy;
- ``("blocks", axis, order)``: the axis consists of as many equal blocks as ``order`` has numbers,
  and block ``order[i]`` comes to place i. (The gates of an LSTM.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

#: one of the tuples above
Step: TypeAlias = tuple[Any, ...]
Layout: TypeAlias = tuple[Step, ...]


def arrange(array: np.ndarray, layout: Layout) -> np.ndarray:
    """The array after the steps: a view of it where NumPy can."""
    for step in layout:
        array = _apply(array, step)
    return array


def restore(array: np.ndarray, layout: Layout, shape: Sequence[int]) -> np.ndarray:
    """The array of ``shape`` of which ``arrange`` makes this one."""
    shapes = [tuple(shape)]
    for step in layout:
        shapes.append(shape_after(shapes[-1], step))
    array = array.reshape(shapes[-1])
    for step, before in zip(reversed(layout), reversed(shapes[:-1]), strict=True):
        match step:
            case ("transpose", perm):
                array = array.transpose(np.argsort(perm))
            case ("reshape", _):
                array = array.reshape(before)
            case ("blocks", axis, order):
                array = _order_blocks(array, axis, np.argsort(order))
    return array


def add_step(layout: Layout, step: Step, shape: tuple[int, ...]) -> Layout:
    """The layout of a variable of ``shape`` with one more step; what has no effect is left out, and
    two transpositions or two changes of shape are one. Raises ValueError if it doesn't fit."""
    before = functools.reduce(shape_after, layout, shape)
    after = shape_after(before, step)
    if step[0] == "transpose" and _keeps_order(step[1], before):
        step = ("reshape", after)
    match (layout[-1:], step):
        case ((("transpose", first),), ("transpose", perm)):
            merged = ("transpose", tuple(first[axis] for axis in perm))
            return add_step(layout[:-1], merged, shape)
        case ((("reshape", _),), ("reshape", _)):
            return add_step(layout[:-1], step, shape)
    return layout if step == ("reshape", before) else (*layout, step)


def _keeps_order(perm: Sequence[int], shape: tuple[int, ...]) -> bool:
    """Whether a transposition only moves axes of size 1."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def shape_after(shape: tuple[int, ...], step: Step) -> tuple[int, ...]:
    """The shape of an array of ``shape`` after a step. Raises ValueError if it doesn't fit."""
    match step:
        case ("transpose", perm) if sorted(perm) == list(range(len(shape))):
            return tuple(shape[axis] for axis in perm)
        case ("reshape", new) if math.prod(new) == math.prod(shape) and min(new, default=0) >= 0:
            return tuple(new)
        case ("blocks", axis, order) if (
            0 <= axis < len(shape)
            and sorted(order) == list(range(len(order)))
            and len(order) > 0
            and shape[axis] % len(order) == 0
        ):
            return shape
    raise ValueError(f"{step} is no step from the shape {shape}")


def _apply(array: np.ndarray, step: Step) -> np.ndarray:
    match step:
        case ("transpose", perm):
            return array.transpose(perm)
        case ("reshape", shape):
            return array.reshape(shape)
        case ("blocks", axis, order):
            return _order_blocks(array, axis, order)
    raise ValueError(f"{step} is no step of a layout")


def _order_blocks(array: np.ndarray, axis: int, order: Sequence[int] | np.ndarray) -> np.ndarray:
    size = array.shape[axis] // len(order)
    places = np.arange(array.shape[axis]).reshape(len(order), size)[np.asarray(order)]
    return array.take(places.reshape(-1), axis)
