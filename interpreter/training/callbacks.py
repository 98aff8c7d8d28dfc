"""What happens between steps and epochs: early stopping, files on the way, other functions."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.files import as_path
from onnxwalk.interpreter.training.checks import check_count

if TYPE_CHECKING:
    from onnxwalk.interpreter.training.trainer import Trainer


class Callback:
    """The base of callbacks: override what you need. ``trainer.stop_training = True`` ends the
    training after this epoch or batch."""

    trainer: Trainer
    #: what calls it: a ``training.Fit``
    fit: Any

    def check(self, names: Iterable[str]) -> None:
        """Raise InvalidInputError unless the logs, which have these names, are what it needs."""

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch (0, 1, …)."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        """After a step; ``logs``: the means of the epoch so far."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """After an epoch; ``logs``: what goes into the history."""

    def on_train_end(self) -> None:
        """After the last epoch."""

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps, so that training goes on as if it hadn't ended."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a ``state``."""


class Function(Callback):
    """A function of the epoch and its logs, called after each epoch."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self._function(epoch, dict(logs))


class _Monitor(Callback):
    """Keeps the best value of one of the logs."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if mode not in ("auto", "min", "max"):
            raise InvalidInputError(f"mode must be 'auto', 'min' or 'max', not {mode!r}")
        if isinstance(min_delta, bool) or not isinstance(min_delta, int | float | np.number):
            raise InvalidInputError(f"min_delta must be a number, not {min_delta!r}")
        if not math.isfinite(min_delta):
            raise InvalidInputError(f"min_delta must be finite, not {min_delta!r}")
        self.monitor, self.min_delta = monitor, abs(min_delta)
        self._sign = -1.0 if mode == "max" or (mode == "auto" and "loss" not in monitor) else 1.0
        self.best = math.nan

    def check(self, names: Iterable[str]) -> None:
        if self.monitor not in names:
            raise InvalidInputError(
                f"{type(self).__name__}: there is no {self.monitor!r}{suggest(self.monitor, names)}"
            )

    def is_better(self, logs: Mapping[str, float]) -> bool:
        """Whether the value is better than before, and note it."""
        value = logs[self.monitor]
        gain = (self.best - value) * self._sign - self.min_delta
        if math.isnan(self.best) or gain > 0:
            self.best = value
            return True
        return False


class EarlyStopping(_Monitor):
    """Ends the training when a value hasn't improved for ``patience`` epochs.

    ``restore_best_weights``: at the end the weights are those of the best epoch.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        check_count("patience", patience, 0)
        self.patience, self.restore_best_weights = patience, restore_best_weights
        self.best_epoch, self._waited = -1, 0
        self._best: dict[str, np.ndarray] = {}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        if self.is_better(logs):
            self.best_epoch, self._waited = epoch, 0
            if self.restore_best_weights:
                self._best = {n: w.copy() for n, w in self.trainer.weights.items()}
            return
        self._waited += 1
        if self._waited >= self.patience and epoch > 0:
            self.trainer.stop_training = True

    def on_train_end(self) -> None:
        for name, weight in self._best.items():
            np.copyto(self.trainer.weights[name], weight)

    def state(self) -> dict[str, np.ndarray]:
        numbers = np.array([self.best, self.best_epoch, self._waited], np.float64)
        return {"numbers": numbers, **{f"best {n}": w for n, w in self._best.items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.best, epoch, waited = state["numbers"].tolist()
        self.best_epoch, self._waited = int(epoch), int(waited)
        names = {n: n.removeprefix("best ") for n in state if n.startswith("best ")}
        self._best = {name: state[key] for key, name in names.items()}


class ModelCheckpoint(_Monitor):
    """Writes the model after each epoch, or, with ``save_best_only``, after those that improve a
    value."""

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode, 0)
        self.path, self.save_best_only = as_path(filepath), save_best_only

    def check(self, names: Iterable[str]) -> None:
        if self.save_best_only:
            super().check(names)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        if not self.save_best_only or self.is_better(logs):
            self.trainer.save(self.path)

    def state(self) -> dict[str, np.ndarray]:
        return {"best": np.array(self.best)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.best = float(state["best"])


class Checkpoint(Callback):
    """Writes all that training needs to go on (``train(resume=…)``) after each epoch: weights,
    the optimizer's state, random numbers, history."""

    def __init__(self, filepath: str | os.PathLike[str]) -> None:
        self.path = as_path(filepath)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.fit.save(self.path)


def find_callbacks(callbacks: Iterable[Any]) -> list[Callback]:
    """Callbacks and functions as callbacks; those that write come last, as they write what the
    others know. Raises InvalidInputError."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise InvalidInputError(f"callbacks must be a list, not {callbacks!r}")
    found: list[Callback] = []
    for item in callbacks:
        if isinstance(item, Callback):
            found.append(item)
        elif callable(item) and not isinstance(item, type):
            found.append(Function(item))
        else:
            raise InvalidInputError(
                f"callbacks must be onnxwalk.training.Callback or functions of (epoch, logs), not "
                f"{item!r}"
            )
    return sorted(found, key=lambda callback: isinstance(callback, Checkpoint))
