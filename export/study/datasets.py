"""The data of the two tasks: CIFAR-10 as a zip of JPEGs by class, NusaX as CSV."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import ExportError, one_line, require
from onnxwalk.export.study.assignment import LENGTH, WORDS

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Split:
    """x (n, …) as the model expects it, y (n,) int64 class numbers."""

    x: NDArray[Any]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)


def read_images(
    path: str | os.PathLike[str],
    *,
    per_class: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Split, list[str]]:
    """A zip of folders of JPEG or PNG images, or a folder of such folders: one per class.

    Returns x (n, height, width, 3) float32 in 0 … 1 with y, and the classes in alphabetical order.
    ``per_class``: read only this number of images of each class. The order is shuffled, always in
    the same way. ``progress``: called now and then with the number of images read, and of all.

    Raises ExportError when the file is missing, is no zip, or contains no images, or images of
    different sizes.
    """
    (tf,) = require("tensorflow")
    file = Path(path)
    try:
        with _open_archive(file) as archive:
            names = sorted(n for n in archive.namelist() if n.lower().endswith(_IMAGE_SUFFIXES))
            by_class: dict[str, list[str]] = {}
            for name in names:
                by_class.setdefault(Path(name).parent.name, []).append(name)
            by_class.pop("", None)
            if not by_class:
                raise ExportError(f"{file} contains no folders of .jpg or .png images")
            chosen = [
                (name, number)
                for number, members in enumerate(by_class.values())
                for name in members[:per_class]
            ]
            decoded = []
            for name, _ in chosen:
                image = tf.io.decode_image(archive.read(name), channels=3, expand_animations=False)
                decoded.append(image.numpy())
                if progress and len(decoded) % 500 == 0:
                    progress(len(decoded), len(chosen))
    except (OSError, zipfile.BadZipFile, tf.errors.InvalidArgumentError) as error:
        raise ExportError(f"{file} can't be read: {one_line(error)}") from error
    if len({image.shape for image in decoded}) != 1:
        raise ExportError(f"{file} contains images of different sizes")
    order = np.random.default_rng(0).permutation(len(chosen))
    x = np.stack(decoded)[order].astype(np.float32) / np.float32(255)
    y = np.array([number for _, number in chosen], np.int64)[order]
    return Split(x, y), list(by_class)


def _open_archive(path: Path) -> Any:
    return (
        nullcontext(_FolderArchive(path)) if path.is_dir() else zipfile.ZipFile(_check_exists(path))
    )


class _FolderArchive:
    """A folder, read as a zip is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def namelist(self) -> list[str]:
        return [file.relative_to(self.path).as_posix() for file in self.path.rglob("*.*")]

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


def read_texts(path: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """(texts, labels) of a UTF-8 CSV file whose header has ``text`` and ``label``.

    Raises ExportError when the file is missing, has no such columns, or no rows.
    """
    file = _check_exists(path)
    try:
        with open(file, encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = {"text", "label"} - set(reader.fieldnames or ())
            if missing:
                raise ExportError(f"{file} has no column {' and no '.join(sorted(missing))}")
            rows = [(row["text"] or "", row["label"] or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ExportError(f"{file} can't be read: {one_line(error)}") from error
    if not rows:
        raise ExportError(f"{file} has no rows")
    return [text for text, _ in rows], [label for _, label in rows]


def build_vectorizer(corpus: Sequence[str], *, words: int = WORDS, length: int = LENGTH) -> Any:
    """A ``keras.layers.TextVectorization`` adapted to a corpus: 0 is padding, 1 an unknown word."""
    (keras,) = require("keras")
    layer = keras.layers.TextVectorization(max_tokens=words, output_sequence_length=length)
    layer.adapt(list(corpus))
    return layer


def encode_texts(layer: Any, corpus: Sequence[str]) -> NDArray[np.int32]:
    """(n, length) int32: the ids of texts, by a vectorizer."""
    return np.asarray(layer(list(corpus))).astype(np.int32)


def load_cifar10(
    folder: str | os.PathLike[str],
    *,
    per_class: int | None = None,
    test_per_class: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Split, Split, list[str]]:
    """(train, test, classes) of a folder with train and test, each a zip or a folder; the other
    parameters as in ``read_images``. Raises ExportError."""
    splits, classes = [], []
    for name, count in (("train", per_class), ("test", test_per_class)):
        path = Path(folder) / name
        path = path if path.is_dir() else Path(folder) / f"{name}.zip"
        split, found = read_images(path, per_class=count, progress=progress)
        splits.append(split)
        classes.append(found)
    if classes[0] != classes[1]:
        raise ExportError(f"{folder}: train and test have different classes")
    return splits[0], splits[1], classes[0]


def load_nusax(folder: str | os.PathLike[str]) -> tuple[Split, Split, Split, list[str], Any]:
    """(train, valid, test, classes, vectorizer) of a folder with the three CSV files.

    Only the training texts shape the vocabulary. Raises ExportError.
    """
    loaded = [read_texts(Path(folder) / f"{name}.csv") for name in ("train", "valid", "test")]
    layer = build_vectorizer(loaded[0][0])
    classes = sorted(set(loaded[0][1]))
    numbers = {label: number for number, label in enumerate(classes)}
    splits = []
    for corpus, labels in loaded:
        if unknown := set(labels) - set(classes):
            raise ExportError(f"{folder}: label {min(unknown)!r} is not in train.csv")
        y = np.array([numbers[label] for label in labels], np.int64)
        splits.append(Split(encode_texts(layer, corpus), y))
    train, valid, test = splits
    return train, valid, test, classes, layer


def _check_exists(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if not file.is_file():
        raise ExportError(f"no data at {file}")
    return file
