"""What ``onnxwalk train`` reads and shows: labels from files, and how far it is."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._progress import Bar
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.rows.arrays import npz_members, open_npy
from onnxwalk.interpreter.rows.images import find_images
from onnxwalk.interpreter.rows.texts import read_lines
from onnxwalk.interpreter.tables.options import Options
from onnxwalk.interpreter.training import Callback


def read_labels(
    path: Path, column: str | None, names: Sequence[str], options: Options
) -> np.ndarray:
    """Labels from a .npy, .npz (one array, or that named "labels"), .csv or text file: numbers, or
    names of classes, of which ``names`` are those that the model has. ``options``: how tables are
    written. Raises InvalidInputError."""
    if not path.exists():
        raise InvalidInputError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return np.asarray(open_npy(path))
    if suffix == ".npz":
        members = npz_members(path)
        name = "labels" if "labels" in members else next(iter(members), "")
        if len(members) != 1 and name != "labels":
            raise InvalidInputError(
                f"{path}: no array 'labels'; it contains {', '.join(members) or 'nothing'}"
            )
        (array,) = members[name].pieces(sys.maxsize)
        return np.asarray(array)
    texts = read_lines(path, column, usual="label", option="--label-column", options=options)
    return _numbers(texts, path) if _are_numbers(texts) else _classes(texts, names, str(path))


def labels_of_folders(folder: Path, names: Sequence[str]) -> np.ndarray:
    """The classes of a folder's images by the folders that they are in. Raises
    InvalidInputError."""
    parts = [path.relative_to(folder).parts for path in find_images(folder)]
    if any(len(part) < 2 for part in parts):
        raise InvalidInputError(
            f"{folder}: without --labels each image must be in a folder named after its class"
        )
    return _classes([part[0] for part in parts], names, str(folder))


def _are_numbers(texts: Sequence[str]) -> bool:
    try:
        return all(math.isfinite(float(text)) for text in texts)
    except ValueError:
        return False


def _numbers(texts: Sequence[str], path: Path) -> np.ndarray:
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        return np.array([float(text) for text in texts], np.float32)


def _classes(texts: Sequence[str], names: Sequence[str], where: str) -> np.ndarray:
    """The number of each class: its place among the names, or among those that occur, sorted."""
    known = list(names) or sorted(set(texts))
    places = {name: i for i, name in enumerate(known)}
    if unknown := [text for text in texts if text not in places]:
        raise InvalidInputError(
            f"{where}: {unknown[0]!r} is no class of the model{suggest(unknown[0], known)}"
        )
    return np.array([places[text] for text in texts], np.int64)


class Reporter(Callback):
    """Shows how far a training is: on the bar, and a line for each epoch."""

    def __init__(self, epochs: int, bar: Bar) -> None:
        self._epochs, self._bar = epochs, bar

    def on_epoch_begin(self, epoch: int) -> None:
        # (when it goes on in the middle of an epoch, batches are done already)
        self._bar(self.fit.batch, self.fit.batches_per_epoch, self._name(epoch))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        title = f"{self._name(self.fit.epoch)}  loss {logs['loss']:.4f}"
        self._bar(batch + 1, self.fit.batches_per_epoch, title)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self._bar.line(f"{self._name(epoch)}  {describe(logs)}")

    def _name(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self._epochs}"


def describe(logs: Mapping[str, Any]) -> str:
    """The values in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
