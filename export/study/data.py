"""The data of the two tasks, pictures and sentences, or a substitute for it."""

from __future__ import annotations

import hashlib
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.export.errors import ExportError, one_line, require
from onnxwalk.export.study import corpus, datasets
from onnxwalk.export.study.datasets import Split
from onnxwalk.export.study.language import EXTRA, later
from onnxwalk.export.study.progress import Progress
from onnxwalk.export.study.variants import Preset

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
_NUSAX = ("train", "valid", "test")
_LENGTH = 16  # of the generated corpus, whose sentences have no more words


@dataclass(frozen=True)
class Task:
    """Pictures (n, height, width, channels) float32 in 0 … 1, or ids (n, length) int32."""

    train: Split
    valid: Split
    test: Split
    classes: list[str]
    source: str
    stands_in: bool = False  # a substitute for the assignment's data
    text: Any = None  # the TextVectorization layer of sentences

    @property
    def shape(self) -> tuple[int, ...]:
        return self.train.x.shape[1:]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data: a model is evaluated only on the data that it was trained with."""
        digest = hashlib.blake2b(digest_size=8)
        for split in (self.train, self.valid, self.test):
            digest.update(np.ascontiguousarray(split.x).data)
            digest.update(np.ascontiguousarray(split.y).data)
        return digest.hexdigest()


@dataclass
class Source:
    """The source of the data: ``folder`` contains cifar10 and nusax-sentiment; ``nusax`` is the
    address of a folder with the three CSV files. Each task is read on first use."""

    preset: Preset
    folder: Path | None = None
    nusax: str | None = None
    download: bool = False  # CIFAR-10, by Keras
    tasks: dict[bool, Task] = field(default_factory=dict)

    def task(self, family: str, progress: Progress) -> Task:
        """The data of a family. Raises ExportError if it is missing or malformed."""
        pictures = family == "CNN"
        if pictures not in self.tasks:
            task = self._pictures(progress) if pictures else self._sentences()
            self.tasks[pictures] = task
            sizes = f"{len(task.train)} + {len(task.valid)} + {len(task.test)}"
            progress.say(f"{task.source}: {sizes} for training, validation, test")
        return self.tasks[pictures]

    def _pictures(self, progress: Progress) -> Task:
        preset = self.preset
        if self.folder is not None:
            source = "CIFAR-10"
            folder = _find_folder(self.folder, "cifar10")
            with progress.step("reading pictures", 1) as done:
                train, test, classes = datasets.load_cifar10(
                    folder,
                    per_class=preset.per_class,
                    test_per_class=preset.test_per_class,
                    progress=done,
                )
        else:
            if self.download:
                source, classes = "CIFAR-10", _CIFAR10
                train, test = _download_cifar10()
            else:
                source, classes = (
                    later("scikit-learn's digits"),
                    [str(digit) for digit in range(10)],
                )
                train, test = _load_digits()
            train = _limit_per_class(train, preset.per_class)
            test = _limit_per_class(test, preset.test_per_class)
        (selection,) = require("sklearn.model_selection", extra=EXTRA)
        x, vx, y, vy = selection.train_test_split(train.x, train.y, test_size=0.2, random_state=42)
        stands_in = source != "CIFAR-10"
        return Task(Split(x, y), Split(vx, vy), test, classes, source, stands_in)

    def _sentences(self) -> Task:
        if self.folder is not None:
            parts = datasets.load_nusax(_find_folder(self.folder, "nusax-sentiment"))
        elif self.nusax is not None:
            parts = _download_nusax(self.nusax)
        else:
            return _generate_sentences(self.preset.sentences)
        train, valid, test, classes, layer = parts
        return Task(train, valid, test, classes, "NusaX", text=layer)


def _find_folder(data: Path, name: str) -> Path:
    if not (data / name).is_dir():
        raise ExportError(f"no data at {data / name}")
    return data / name


def _limit_per_class(split: Split, per_class: int | None) -> Split:
    """The first ``per_class`` samples of each class, in their order; all if None."""
    if per_class is None:
        return split
    kept = [np.flatnonzero(split.y == number)[:per_class] for number in np.unique(split.y)]
    chosen = np.sort(np.concatenate(kept))
    return Split(split.x[chosen], split.y[chosen])


def _load_digits() -> tuple[Split, Split]:
    """1437 pictures of 8×8 for training and validation, 360 for the test."""
    (bundled,) = require("sklearn.datasets", extra=EXTRA)
    x, y = bundled.load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:1437], order[1437:]
    return Split(x[train], y[train]), Split(x[test], y[test])


def _download_cifar10() -> tuple[Split, Split]:
    from keras.datasets import cifar10

    try:
        splits = cifar10.load_data()
    except Exception as error:  # Keras raises plain Exception when a download fails
        raise ExportError(f"CIFAR-10 can't be fetched: {one_line(error)}") from error
    train, test = (
        Split(x.astype(np.float32) / np.float32(255), y.reshape(-1).astype(np.int64))
        for x, y in splits
    )
    return train, test


def _download_nusax(address: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        for name in _NUSAX:
            url = f"{address.rstrip('/')}/{name}.csv"
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    (Path(folder) / f"{name}.csv").write_bytes(answer.read())
            except (OSError, ValueError) as error:
                raise ExportError(f"{url} can't be fetched: {one_line(error)}") from error
        return datasets.load_nusax(folder)


def _generate_sentences(count: int) -> Task:
    """``count`` sentences for training, half as many for validation and for the test each."""
    layer: Any = None
    splits = []
    for seed, size in enumerate((count, count // 2, count // 2)):
        texts, labels = corpus.generate(size, seed=seed)
        if layer is None:
            layer = datasets.build_vectorizer(texts, length=_LENGTH)
        y = np.array([corpus.CLASSES.index(label) for label in labels], np.int64)
        splits.append(Split(datasets.encode_texts(layer, texts), y))
    train, valid, test = splits
    classes = list(corpus.CLASSES)
    return Task(train, valid, test, classes, later("a generated corpus"), True, layer)
