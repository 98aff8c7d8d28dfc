"""Scores of classes: their names, and the largest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.rows.values import widened

#: rows that are sorted at once, and the most that are listed
_MOST = 10_000


def read_labels(path: Path) -> list[str]:
    """Class names from a JSON list of strings or a text file with one per line.

    Raises InvalidInputError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() != ".json":
            return [line.strip() for line in text.rstrip().splitlines()]
        labels = json.loads(text)
    except FileNotFoundError:
        raise InvalidInputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InvalidInputError(f"{path}: invalid labels: {error}") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidInputError(
            f"{path}: expected a JSON list of strings, or text with one label per line"
        )
    return labels


@dataclass(frozen=True)
class Ranked:
    """Scores of classes (samples, classes), and the names of the classes if they have any."""

    scores: np.ndarray
    labels: Sequence[str] | None = None

    def largest(self, k: int) -> list[list[dict[str, Any]]]:
        """The ``k`` largest classes of each of the first samples."""
        return [_largest(row, k, self.labels) for row in self.scores[:_MOST]]

    def best(self, name: str, k: int) -> dict[str, np.ndarray | list[Any]]:
        """The ``k`` largest classes of all samples as columns: class, score, class, score …"""
        k = min(k, self.scores.shape[1])
        order = np.empty((len(self.scores), k), np.int64)
        for start in range(0, len(order), _MOST):
            rows = slice(start, start + _MOST)
            order[rows] = np.argsort(-_wide(self.scores[rows]), kind="stable")[:, :k]
        columns: dict[str, np.ndarray | list[Any]] = {}
        for place in range(k):
            classes = order[:, place]
            ending = f"_{place + 1}" if k > 1 else ""
            names = None if self.labels is None else np.array(self.labels, object)
            columns[f"{name}_class{ending}"] = classes if names is None else names[classes]
            scores = np.take_along_axis(self.scores, classes[:, None], axis=1)[:, 0]
            columns[f"{name}_score{ending}"] = scores
        return columns


def rank_outputs(
    values: Mapping[str, Any],
    stored: Mapping[str, Sequence[str]],
    labels: Sequence[str] | None,
    top: int | None,
) -> dict[str, Ranked]:
    """The outputs that are scores of classes: by ``labels``, by the names that are ``stored`` in
    the model for an output, or, where the ``top`` are asked for, all of the right shape.

    Raises InvalidInputError if none is, and it is asked for.
    """
    if stored and labels is None and (ranked := _rank_labeled(values, stored)):
        return ranked
    if top or labels is not None:
        return _rank(values, labels, is_asked=top is not None)
    return {}


def _rank(
    values: Mapping[str, Any], labels: Sequence[str] | None, *, is_asked: bool
) -> dict[str, Ranked]:
    """The outputs of shape (samples, classes), with as many classes as ``labels``.

    Raises InvalidInputError if there is none, and it ``is_asked`` for.
    """
    scores = _find_scores(values)
    if labels is not None:
        scores = {n: _two_classes(s) if len(labels) == 2 else s for n, s in scores.items()}
        fitting = {n: s for n, s in scores.items() if s.shape[1] == len(labels)}
        if scores and not fitting:
            sizes = ", ".join(f"'{n}' has {s.shape[1]} classes" for n, s in scores.items())
            raise InvalidInputError(f"--labels: the file has {len(labels)} names, but {sizes}")
        scores = fitting
    if not scores and is_asked:
        shapes = ", ".join(f"'{n}' is {np.shape(v)}" for n, v in values.items())
        raise InvalidInputError(f"--top requires an output of shape (samples, classes); {shapes}")
    return {name: Ranked(rows, labels) for name, rows in scores.items()}


def _rank_labeled(
    values: Mapping[str, Any], labels: Mapping[str, Sequence[str]]
) -> dict[str, Ranked]:
    """As ``_rank``, of the outputs that have class names of the right number."""
    found = {}
    for name, scores in _find_scores(values).items():
        names = labels.get(name, ())
        scores = _two_classes(scores) if len(names) == 2 else scores
        if names and scores.shape[1] == len(names):
            found[name] = Ranked(scores, names)
    return found


def _find_scores(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of shape (samples, classes)."""
    return {
        name: widened(value)
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype != object
    }


def _two_classes(scores: np.ndarray) -> np.ndarray:
    """Turn the probability p of the second class, (samples, 1), into 1 - p and p, (samples, 2).
    Other scores are returned unchanged."""
    if (
        scores.shape[1] != 1
        or scores.dtype.kind != "f"
        or not ((scores >= 0) & (scores <= 1)).all()
    ):
        return scores
    return np.concatenate([1 - scores, scores], axis=1)


def _largest(row: np.ndarray, k: int, labels: Sequence[str] | None) -> list[dict[str, Any]]:
    """The ``k`` largest scores of one sample; equal ones in their order, NaN last."""
    order = np.argsort(-_wide(row), kind="stable")[:k]
    return [
        {"class": int(i), **({"label": labels[i]} if labels else {}), "value": row[i].item()}
        for i in order
    ]


def _wide(scores: np.ndarray) -> np.ndarray:
    """Scores in a type in which they can be negated."""
    return scores.astype(np.float64 if scores.dtype.kind == "f" else object)
