"""Which element of the scores is explained, of each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, suggest


@dataclass(frozen=True)
class Targets:
    """One element of each sample's scores, of which there are ``size``.

    ``index`` (N,) says which; ``sign`` (N,) is -1 for the first of the two classes of a sigmoid,
    which has one score, else 1. ``indices`` and ``labels``: as in ``Saliency``.
    """

    size: int
    index: np.ndarray
    sign: np.ndarray
    indices: list[tuple[int, ...]]
    labels: list[str]

    def seed(self, value: np.ndarray, copies: int) -> np.ndarray:
        """What ``value``, the scores of ``copies`` times the samples, is multiplied by."""
        seed = np.zeros(value.size, value.dtype).reshape(-1, self.size)
        seed[np.arange(len(seed)), np.tile(self.index, copies)] = np.tile(self.sign, copies)
        return seed.reshape(value.shape)

    def scores(self, value: np.ndarray, copies: int = 1) -> np.ndarray:
        """The elements of ``copies`` times the samples, float64 (copies, N)."""
        rows = value.astype(np.float64).reshape(-1, self.size)
        found = rows[np.arange(len(rows)), np.tile(self.index, copies)]
        return (found * np.tile(self.sign, copies)).reshape(copies, -1)


def choose(
    value: np.ndarray,
    name: str,
    target: Any,
    *,
    has_rows: bool,
    is_sigmoid: bool,
    labels: Sequence[str] = (),
) -> Targets:
    """The elements of ``value`` that ``target`` names; see ``saliency``.

    ``has_rows``: whether the first axis is that of the samples. Raises InvalidInputError.
    """
    samples = value.shape[0] if has_rows else 1
    shape = value.shape[1:] if has_rows else value.shape
    size = math.prod(shape)
    if not value.size:
        raise InvalidInputError(f"{name!r}, the scores, is empty: its shape is {value.shape}")
    rows = value.reshape(samples, size)
    is_pair = size == 1 and (is_sigmoid or len(labels) == 2)
    names = labels if len(labels) == (2 if is_pair else size) else ()
    if target is None:
        numbers = (rows[:, 0] >= 0).astype(int) if is_pair else rows.argmax(axis=1)
    else:
        given = target if isinstance(target, list | np.ndarray) else [target] * samples
        if len(given) != samples:
            raise InvalidInputError(f"{len(given)} targets for {samples} samples")
        extent = (2,) if is_pair else shape
        numbers = np.array([_number(one, name, extent, labels, names) for one in given])
    sign = np.ones(samples) if not is_pair else np.where(numbers == 1, 1.0, -1.0)
    extent = (2,) if is_pair else shape
    return Targets(
        size,
        np.zeros(samples, int) if is_pair else numbers,
        sign,
        [tuple(map(int, np.unravel_index(n, extent))) if extent else () for n in numbers],
        [names[n] if names else "" for n in numbers],
    )


def _number(
    target: Any, name: str, shape: tuple[int, ...], labels: Sequence[str], names: Sequence[str]
) -> int:
    """The position of a class among the elements of one sample."""
    size = math.prod(shape)
    if isinstance(target, str) and target in names:
        return list(names).index(target)
    if isinstance(target, str) and target.isdecimal():
        target = int(target)
    if isinstance(target, str):
        _refuse_name(target, name, size, labels, names)
    if isinstance(target, tuple):
        if len(target) != len(shape) or not all(
            isinstance(i, int | np.integer) and 0 <= i < n
            for i, n in zip(target, shape, strict=False)
        ):
            raise InvalidInputError(f"class {target}: expected an index into {shape}, of {name!r}")
        return int(np.ravel_multi_index(target, shape)) if shape else 0
    if isinstance(target, bool) or not isinstance(target, int | np.integer):
        raise InvalidInputError(f"a class is a number, a name or a tuple, not {target!r}")
    if sum(n != 1 for n in shape) > 1:
        raise InvalidInputError(
            f"class {target}: {name!r} has shape {shape} for each sample, so a class is a tuple, "
            f"as in {tuple(0 for _ in shape)}"
        )
    if not 0 <= target < size:
        raise InvalidInputError(f"class {target}: {name!r} has the classes 0 to {size - 1}")
    return int(target)


def _refuse_name(
    target: str, name: str, size: int, labels: Sequence[str], names: Sequence[str]
) -> NoReturn:
    if names:
        raise InvalidInputError(f"no class is named {target!r}{suggest(target, names)}")
    if labels:
        raise InvalidInputError(
            f"class {target!r}: there are {len(labels)} class names, but {name!r} has {size} scores"
        )
    raise InvalidInputError(
        f"class {target!r}: the model has no class names; pass a number from 0 to {size - 1}"
    )
