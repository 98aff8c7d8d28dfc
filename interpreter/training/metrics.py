"""Metrics of predictions, summed up over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.training.losses import BINARY, CATEGORICAL, NUMBERS, LossGraph
from onnxwalk.ops.shared.places import as_places


class Metric(Protocol):
    """A metric; ``sums`` is all that it keeps."""

    sums: np.ndarray

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None: ...

    def result(self) -> float: ...


def chosen_classes(
    losses: LossGraph, labels: np.ndarray, predictions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The class of each sample, and the one that was predicted, as flat arrays."""
    if losses.kind == BINARY:
        edge = 0 if losses.is_logits else 0.5
        return (labels > 0.5).reshape(-1).astype(int), (predictions > edge).reshape(-1).astype(int)
    if losses.kind == CATEGORICAL:
        labels = labels.argmax(losses.classes_axis)
    return labels.reshape(-1), predictions.argmax(losses.classes_axis).reshape(-1)


class Accuracy:
    """The share of samples whose class was predicted."""

    def __init__(self) -> None:
        self.sums = np.zeros(2, np.int64)

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        self.sums += (labels == predictions).sum(), labels.size

    def result(self) -> float:
        right, count = self.sums.tolist()
        return right / count if count else 0.0


class MacroF1:
    """The mean over the classes of F1 = 2·TP / (2·TP + FP + FN), 0 for a class without any, as
    scikit-learn's ``f1_score(average="macro")`` over the classes that occur."""

    def __init__(self) -> None:
        self.sums = np.zeros((0, 3), np.int64)

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        most = int(max(labels.max(initial=-1), predictions.max(initial=-1))) + 1
        if most > len(self.sums):
            self.sums = np.pad(self.sums, ((0, most - len(self.sums)), (0, 0)))
        count, labels, predictions = len(self.sums), as_places(labels), as_places(predictions)
        self.sums[:, 0] += np.bincount(labels[labels == predictions], minlength=count)
        self.sums[:, 1] += np.bincount(labels, minlength=count)
        self.sums[:, 2] += np.bincount(predictions, minlength=count)

    def result(self) -> float:
        right, real, found = self.sums.T
        occurs = real + found > 0
        return float(np.mean(2 * right[occurs] / (real + found)[occurs])) if occurs.any() else 0.0


METRICS: dict[str, type[Accuracy] | type[MacroF1]] = {"accuracy": Accuracy, "macro_f1": MacroF1}


def check_metrics(metrics: Sequence[str], losses: LossGraph) -> tuple[str, ...]:
    """The names of metrics. Raises InvalidInputError for unknown ones, and for those that the loss
    has no classes for."""
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise InvalidInputError(f"metrics must be a list of names, not {metrics!r}")
    for name in metrics:
        if name not in METRICS:
            raise InvalidInputError(f"unknown metric {name!r}{suggest(str(name), METRICS)}")
        if losses.kind in ("", NUMBERS):
            raise InvalidInputError(f"metric {name!r} needs a loss over classes")
    return tuple(metrics)


class Means:
    """The mean loss of an epoch, weighed by the samples, and its metrics."""

    def __init__(self, losses: LossGraph, metrics: Sequence[str]) -> None:
        self._losses = losses
        self._metrics: dict[str, Any] = {name: METRICS[name]() for name in metrics}
        self.total = np.zeros(2, np.float64)

    def add(self, loss: float, labels: Any, predictions: Any, size: int) -> None:
        """Add a batch."""
        self.total += loss * size, size
        if self._metrics:
            pair = chosen_classes(self._losses, labels, predictions)
            for metric in self._metrics.values():
                metric.add(*pair)

    def results(self, prefix: str = "") -> dict[str, float]:
        """By name, as in Keras's history: "loss", "accuracy", with the prefix "val_" …"""
        total, count = self.total.tolist()
        found = {"loss": total / count if count else 0.0}
        found |= {name: metric.result() for name, metric in self._metrics.items()}
        return {prefix + name: value for name, value in found.items()}

    def state(self) -> dict[str, np.ndarray]:
        """All that it holds."""
        return {"loss": self.total, **{n: m.sums for n, m in self._metrics.items()}}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        self.total = state["loss"].copy()
        for name, metric in self._metrics.items():
            metric.sums = state[name].copy()
