"""What ``onnxwalk train`` reads and shows: labels from files, and how far it is."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onnxwalk.interpreter.cli import _images, _show
from onnxwalk.interpreter.cli._rows import npz_members, open_npy
from onnxwalk.interpreter.cli._texts import read_lines
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.training import Callback


def read_labels(path: Path, column: str | None, names: Sequence[str]) -> np.ndarray:
    """Labels from a .npy, .npz (one array, or that named "labels"), .csv or text file: numbers, or
    names of classes, of which ``names`` are those that the model has. Raises InvalidInputError."""
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
    texts = read_lines(path, column, usual="label", option="--label-column")
    return _numbers(texts, path) if _are_numbers(texts) else _classes(texts, names, str(path))


def labels_of_folders(folder: Path, names: Sequence[str]) -> np.ndarray:
    """The classes of a folder's images by the folders that they are in. Raises
    InvalidInputError."""
    parts = [path.relative_to(folder).parts for path in _images.find_images(folder)]
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
    """Shows how far a training is, on stderr: a bar if that is a terminal, else a line for each
    epoch."""

    def __init__(self, epochs: int) -> None:
        self._epochs, self._task = epochs, None
        self._bar: Progress | None = None

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Show it in the ``with`` block."""
        if not sys.stderr.isatty():
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=_show.console(stderr=True), transient=True) as self._bar:
            yield

    def on_epoch_begin(self, epoch: int) -> None:
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            name = f"epoch {epoch + 1}/{self._epochs}"
            self._bar.add_task(name, total=self.fit.batches_per_epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        if self._bar is not None:
            (task,) = self._bar.task_ids
            text = f"epoch {self.fit.epoch + 1}/{self._epochs}  loss {logs['loss']:.4f}"
            self._bar.update(task, completed=batch + 1, description=text)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        text = f"epoch {epoch + 1}/{self._epochs}  " + describe(logs)
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)


def describe(logs: Mapping[str, Any]) -> str:
    """The values in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
