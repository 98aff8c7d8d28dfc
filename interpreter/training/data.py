"""Batches: out of arrays, in an order that is drawn for each epoch, or from an iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.training.losses import SPARSE, LossGraph, labels_misfit


class Batch(NamedTuple):
    """The feeds of a step, the labels (``None``: it needs none), and the number of samples."""

    feeds: dict[str, Any]
    labels: Any
    size: int


class Batches(Protocol):
    """The data of an epoch. ``steps``: how many batches, ``None`` if that isn't known."""

    steps: int | None
    size: int | None

    def check(self) -> None:
        """Raise InvalidInputError if it is clear beforehand that the model can't take them."""

    def epoch(self, number: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch (0, 1, …) from the one numbered ``start`` on."""
        ...


class ArrayBatches:
    """Batches of arrays. With a seed the order is drawn for each epoch, from the seed and the
    epoch's number alone."""

    def __init__(
        self, feeds: Mapping[str, np.ndarray], labels: np.ndarray | None, size: int,
        *, seed: int | None = None, fixed: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """``fixed``: by input, the only number of samples that a batch may have."""
        self._fixed = fixed or {}
        self._feeds, self._labels, self._seed = feeds, labels, seed
        self.size: int | None = size
        self._size = size
        self.samples = len(next(iter(feeds.values())))
        self.steps: int | None = -(-self.samples // size)

    def check(self) -> None:
        first, rest = min(self._size, self.samples), self.samples % self._size
        for name, size in self._fixed.items():
            if first != size:
                raise InvalidInputError(
                    f"input {name!r} takes batches of {size} samples alone, not of {first}: pass "
                    f"batch_size={size}"
                )
            if rest and rest != size:
                raise InvalidInputError(
                    f"input {name!r} takes batches of {size} samples alone, and of "
                    f"{self.samples} samples {rest} are left over: leave these out"
                )

    def epoch(self, number: int, start: int) -> Iterator[Batch]:
        order = None
        if self._seed is not None:
            order = np.random.default_rng((self._seed, number)).permutation(self.samples)
        for first in range(start * self._size, self.samples, self._size):
            stop = min(first + self._size, self.samples)
            rows: Any = slice(first, stop) if order is None else order[first:stop]
            labels = None if self._labels is None else self._labels[rows]
            yield Batch({n: x[rows] for n, x in self._feeds.items()}, labels, stop - first)

    def split(self, fraction: float) -> tuple[ArrayBatches, ArrayBatches]:
        """The first samples, and the last ones, which are this part of all (in their order)."""
        kept = int(self.samples * (1 - fraction))
        if not 0 < kept < self.samples:
            raise InvalidInputError(
                f"validation_split={fraction:g} of {self.samples} samples leaves none for training "
                "or none for validation"
            )
        parts = []
        for rows, seed in ((slice(0, kept), self._seed), (slice(kept, None), None)):
            labels = None if self._labels is None else self._labels[rows]
            feeds = {n: x[rows] for n, x in self._feeds.items()}
            parts.append(ArrayBatches(feeds, labels, self._size, seed=seed, fixed=self._fixed))
        return parts[0], parts[1]


class IteratedBatches:
    """Batches ``(x, y)`` of an iterable. ``steps``: how many make an epoch; ``None``: all."""

    size: int | None = None

    def __init__(self, names: Sequence[str], losses: LossGraph, data: Iterable[Any],
                 steps: int | None) -> None:  # fmt: skip
        self._names, self._losses, self._data, self.steps = names, losses, data, steps
        self._is_once = iter(data) is data
        self._going: Iterator[Any] | None = None
        #: whether each epoch has the same batches
        self.begins_anew = steps is None and not self._is_once

    def check(self) -> None:
        """What it gives isn't known beforehand."""

    def epoch(self, number: int, start: int) -> Iterator[Batch]:
        if self._going is None or self.begins_anew:
            self._going = iter(self._data)
        for count in range(self.steps if self.steps is not None else 2**62):
            item = next(self._going, None)
            if item is None:
                return
            if count >= start:
                feeds, labels = split_pair(item, self._losses, f"batch {count + 1}")
                yield make_batch(self._names, self._losses, feeds, labels, f"batch {count + 1}")


def split_pair(data: Any, losses: LossGraph, what: str) -> tuple[Any, Any]:
    """x and y of data. Raises InvalidInputError if they aren't both there where the loss needs
    labels."""
    if not losses.labels:
        if isinstance(data, tuple) and len(data) == 1:
            return data[0], None
        if isinstance(data, tuple):
            raise InvalidInputError(
                f"{what}: the loss is an output of the model, and takes no labels: pass the inputs "
                f"alone, not {_kind(data)}"
            )
        return data, None
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InvalidInputError(f"{what}: expected (x, y), inputs and labels, not {_kind(data)}")
    return data[0], data[1]


def _kind(data: Any) -> str:
    if isinstance(data, tuple | list):
        return f"a {type(data).__name__} of {len(data)}"
    return f"{type(data).__name__}"


def is_arrays(data: Any, losses: LossGraph) -> bool:
    """Whether data are the arrays of all samples, rather than an iterable of batches."""
    if isinstance(data, np.ndarray | Mapping):
        return True
    if not isinstance(data, tuple) or not data:
        return False
    if len(data) > 2:
        return isinstance(data[0], np.ndarray | Mapping)
    return losses.labels == "" or isinstance(data[0], np.ndarray | Mapping | list)


def make_batch(
    names: Sequence[str], losses: LossGraph, x: Any, y: Any, what: str = "data"
) -> Batch:
    """Feeds by the names of inputs, and labels in the type of their input, all of as many rows.

    Raises InvalidInputError.
    """
    feeds = _feeds(names, x, what)
    sizes = {name: len(array) if array.ndim else 0 for name, array in feeds.items()}
    labels = None
    if losses.labels:
        if y is None:
            raise InvalidInputError(f"{what}: the loss needs labels: pass (x, y)")
        labels = check_labels(y, losses, what)
        sizes["labels"] = len(labels)
    if not feeds:
        raise InvalidInputError(
            f"{what}: there are no inputs; the model has {', '.join(names) or 'none'}"
        )
    if not names:
        raise InvalidInputError(f"{what}: the model has no inputs to train on")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
        raise InvalidInputError(f"{what}: inputs and labels differ in their number: {listed}")
    size = next(iter(sizes.values()))
    if not size:
        raise InvalidInputError(f"{what}: there are no samples")
    return Batch(feeds, labels, size)


def _feeds(names: Sequence[str], x: Any, what: str) -> dict[str, np.ndarray]:
    if isinstance(x, Mapping):
        return {name: np.asarray(value) for name, value in x.items()}
    if len(names) != 1:
        raise InvalidInputError(
            f"{what}: the model has the inputs {', '.join(names)}: pass a dict of arrays by these "
            "names"
        )
    try:
        return {names[0]: np.asarray(x)}
    except ValueError:
        raise InvalidInputError(f"{what}: the inputs don't form an array") from None


def check_labels(y: Any, losses: LossGraph, what: str = "data") -> np.ndarray:
    """The labels in the type that the loss needs. Raises InvalidInputError."""
    try:
        labels = np.asarray(y)
    except ValueError:
        raise InvalidInputError(f"{what}: the labels don't form an array") from None
    if not labels.ndim:
        raise InvalidInputError(f"{what}: labels must have one row for each sample, not one value")
    if losses.kind == SPARSE:
        return _check_classes(labels, losses, what)
    if labels.dtype.kind not in "biuf":
        raise InvalidInputError(f"{what}: labels must be numbers, not {labels.dtype}")
    labels = labels.astype(losses.dtype, copy=False)
    if not np.isfinite(labels).all():
        raise InvalidInputError(f"{what}: labels hold NaN or infinities")
    if losses.kind != "numbers" and ((labels < 0) | (labels > 1)).any():
        found = labels[(labels < 0) | (labels > 1)].flat[0]
        hint = "; for the numbers of classes use sparse_categorical_crossentropy"
        hint = hint if losses.kind == "categorical" else ""
        raise InvalidInputError(f"{what}: labels must be from 0 to 1, not {found:g}{hint}")
    labels = _fit_rank(labels, losses)
    if losses.classes is not None and labels.shape[-1] != losses.classes:
        hint = ""
        if losses.kind == "categorical" and labels.ndim == 1:
            hint = "; for the numbers of classes use sparse_categorical_crossentropy"
        raise InvalidInputError(
            f"{what}: labels have shape {labels.shape}, but output {losses.output!r} has "
            f"{losses.classes} values for each sample{hint}"
        )
    _check_shape(labels, losses, what)
    return labels


def _fit_rank(labels: np.ndarray, losses: LossGraph) -> np.ndarray:
    """Labels with or without a last axis of size 1, as the output has it."""
    rank = 2 if losses.shape is None else len(losses.shape)
    if losses.classes == 1 and labels.ndim == rank - 1:
        return labels[..., None]
    if losses.shape is not None and labels.ndim == rank + 1 and labels.shape[-1] == 1:
        return labels[..., 0]
    return labels


def _check_shape(labels: np.ndarray, losses: LossGraph, what: str) -> None:
    """Raise InvalidInputError for labels that, broadcast, would fit an output of another shape."""
    if losses.shape is None:
        return
    expected = losses.labels_shape(losses.shape)
    fits = len(expected) == labels.ndim and all(
        not isinstance(size, int) or size == found
        for size, found in zip(expected[1:], labels.shape[1:], strict=True)
    )
    if not fits:
        raise InvalidInputError(f"{what}: {labels_misfit(losses, labels, losses.shape)}")


def _check_classes(labels: np.ndarray, losses: LossGraph, what: str) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        hint = ""
        if labels.ndim > 1 and labels.shape[-1] == losses.classes:
            hint = "; for a probability for each class use categorical_crossentropy"
        raise InvalidInputError(
            f"{what}: labels must be integers, the numbers of classes, not {labels.dtype}{hint}"
        )
    rank = labels.ndim if losses.shape is None else len(losses.shape)
    if 1 < labels.ndim == rank and labels.shape[-1] == 1 and losses.classes_axis == -1:
        labels = labels[..., 0]
    _check_shape(labels, losses, what)
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or (losses.classes is not None and high >= losses.classes):
        most = "" if losses.classes is None else f" to {losses.classes - 1}"
        found = low if low < 0 else high
        raise InvalidInputError(
            f"{what}: labels must be the numbers of classes, from 0{most}, not {found}"
        )
    return labels.astype(np.int64, copy=False)
