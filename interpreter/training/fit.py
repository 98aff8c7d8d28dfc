"""``train``: epochs of steps, with validation, callbacks, and a history."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import as_path
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.training.callbacks import find_callbacks
from onnxwalk.interpreter.training.checkpoint import check_same, read_checkpoint
from onnxwalk.interpreter.training.checks import check_count
from onnxwalk.interpreter.training.data import ArrayBatches, Batches, IteratedBatches
from onnxwalk.interpreter.training.trainer import Trainer

#: the history: by name, a value for each epoch
History = dict[str, list[float]]


@dataclass
class Trained:
    """What ``train`` returns.

    ``history``: by name ("loss", "val_loss", "accuracy" …) a value for each epoch. ``session``: of
    the model with the trained weights. ``trainer``: to go on.
    """

    history: History
    session: Session
    trainer: Trainer = field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file that was loaded with the trained weights. Raises InvalidInputError."""
        self.trainer.save(path)


def train(
    model: Any,
    data: Any,
    *,
    loss: str,
    optimizer: Any = "Adam",
    epochs: int = 1,
    batch_size: int = 32,
    validation: Any = None,
    validation_split: float = 0.0,
    metrics: Sequence[str] = (),
    callbacks: Sequence[Any] = (),
    shuffle: bool = True,
    seed: int | None = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    frozen: Sequence[str] = (),
    output: str | None = None,
    from_logits: bool = False,
    resume: str | os.PathLike[str] | None = None,
    verbose: int = 0,
    limits: Limits | None = None,
) -> Trained:
    """Train a model: a Session, or what ``onnxwalk.load`` takes. It isn't changed itself.

    ``data``: arrays ``(x, y)``, or an iterable of batches ``(x, y)``; x is an array, or a dict by
    the names of the inputs. ``validation``: the same, or ``validation_split``, the share of arrays
    at the end that isn't trained on.

    ``loss``: "sparse_categorical_crossentropy" (labels: numbers of classes),
    "categorical_crossentropy" (a probability for each class), "binary_crossentropy", "mse", "mae",
    "SoftmaxCrossEntropyLoss" or "NegativeLogLikelihoodLoss" (ONNX's, the classes along axis 1), or
    the name of an output of the model that is a scalar: then data are x alone. ``output``: which
    output it is of, if there are several. ``from_logits``: the output is logits. Where it comes
    from a Softmax or Sigmoid the loss is computed from what goes into that.

    ``optimizer``: "SGD", "Momentum", "Adam" or "Adagrad", or one of ``onnxwalk.training`` with
    settings. ``metrics``: "accuracy", "macro_f1". ``callbacks``: of ``onnxwalk.training``, or
    functions of the epoch and its logs.

    ``shuffle``: draw the order of arrays for each epoch. ``seed``: of that, and of dropout.
    ``frozen``: patterns of the names of weights, or of the layers around them, that are left as
    they are. ``resume``: a file of the callback Checkpoint, to go on from with the same data and
    settings. ``verbose``: 1 prints a line after each epoch.

    Raises InvalidInputError, UnsupportedModelError naming all operators without a rule of the
    gradient, NotFiniteError naming the node where the loss became NaN, and what ``load`` raises.
    What ends a training that had begun, Ctrl-C too, has the trainer, with the weights as they are,
    in ``error.trainer``.
    """
    trainer = Trainer(
        model, loss=loss, optimizer=optimizer, output=output, from_logits=from_logits,
        metrics=metrics, frozen=frozen, seed=seed, limits=limits,
    )  # fmt: skip
    fit = Fit(
        trainer, data, epochs=epochs, batch_size=batch_size, validation=validation,
        validation_split=validation_split, callbacks=callbacks, shuffle=shuffle,
        initial_epoch=initial_epoch, steps_per_epoch=steps_per_epoch, verbose=verbose,
    )  # fmt: skip
    if resume is not None:
        fit.resume(resume)
    history = fit.run()
    return Trained(history, trainer.session(), trainer)


class Fit:
    """The epochs of one training, which can be interrupted after each batch."""

    def __init__(
        self,
        trainer: Trainer,
        data: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation: Any = None,
        validation_split: float = 0.0,
        callbacks: Sequence[Any] = (),
        shuffle: bool = True,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
    ) -> None:
        """See ``train``. Raises InvalidInputError."""
        epochs = check_count("epochs", epochs, 1)
        initial_epoch = check_count("initial_epoch", initial_epoch, 0)
        if steps_per_epoch is not None:
            steps_per_epoch = check_count("steps_per_epoch", steps_per_epoch, 1)
        if isinstance(validation_split, bool) or not isinstance(
            validation_split, int | float | np.number
        ):
            raise InvalidInputError(f"validation_split must be a number, not {validation_split!r}")
        self.trainer, self.epochs, self.verbose = trainer, epochs, verbose
        self.history: History = {}
        self.epoch, self.batch = initial_epoch, 0
        self.callbacks = find_callbacks(callbacks)
        self._settings = {"data": data, "batch_size": batch_size, "shuffle": shuffle}
        self._steps, self._split, self._validation = steps_per_epoch, validation_split, validation
        self._means = trainer.means()
        #: whether Ctrl-C was pressed, and, if that was done again, not whether a step is whole
        self.interrupted, self.is_whole = False, True
        trainer.stop_training = False
        self._make_batches()
        names = self._means.results() | (self._means.results("val_") if self._validated else {})
        for callback in self.callbacks:
            callback.check(names)

    def _make_batches(self) -> None:
        data, size, shuffle = self._settings.values()
        trainer = self.trainer
        self._batches = trainer.batches(data, size, shuffle=shuffle, steps=self._steps)
        self._validated: Batches | None = None
        if self._split:
            if not isinstance(self._batches, ArrayBatches) or self._validation is not None:
                raise InvalidInputError("validation_split is of arrays, and excludes validation=")
            if not 0 < self._split < 1:
                raise InvalidInputError(
                    f"validation_split must be between 0 and 1, not {self._split!r}"
                )
            self._batches, self._validated = self._batches.split(self._split)
        elif self._validation is not None:
            self._validated = trainer.batches(self._validation, size, what="validation")
            if (
                isinstance(self._validated, IteratedBatches)
                and not self._validated.begins_anew
                and self.epochs > self.epoch + 1
            ):
                raise InvalidInputError(
                    "validation is an iterator, which gives its batches once: pass a list of them, "
                    "or an object that begins anew in each epoch"
                )
        for batches in filter(None, (self._batches, self._validated)):
            batches.check()

    @property
    def batches_per_epoch(self) -> int | None:
        """How many batches an epoch has; ``None`` if that isn't known."""
        known = self._batches.steps
        return known if self._steps is None or known is None else min(known, self._steps)

    def run(self) -> History:
        """Train to the end, and return the history.

        Ctrl-C ends it after the batch that is being computed, with KeyboardInterrupt; then ``run``
        can go on, and ``save`` write a checkpoint. So it is after any error of a batch. Each has
        the trainer in ``error.trainer``.
        """
        trainer = self.trainer
        if trainer.stop_training or self.epoch >= self.epochs:
            reason = "a callback had ended it" if trainer.stop_training else f"epochs={self.epochs}"
            warnings.warn(
                f"nothing was trained: epochs done before: {self.epoch}; {reason}",
                stacklevel=3,
            )
        for callback in self.callbacks:
            callback.trainer, callback.fit = trainer, self
            callback.on_train_begin()
        try:
            with _delayed_interrupt(self):
                while self.epoch < self.epochs and not trainer.stop_training:
                    if not self._run_epoch():
                        break
        except BaseException as error:
            error.trainer = trainer  # type: ignore[attr-defined]
            raise
        for callback in self.callbacks:
            callback.on_train_end()
        return self.history

    def _run_epoch(self) -> bool:
        """Train an epoch, or the rest of one; whether there may be more."""
        trainer, epoch = self.trainer, self.epoch
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        for batch in self._batches.epoch(epoch, self.batch):
            trainer.step(batch, self._means)
            self.batch += 1
            logs = self._means.results() if self.callbacks else {}
            for callback in self.callbacks:
                callback.on_train_batch_end(self.batch - 1, logs)
            if self.interrupted:
                raise KeyboardInterrupt
            if trainer.stop_training or self.batch == self._steps:
                break
        done, ended = self.batch, self.batch < (self._steps or 0) and not trainer.stop_training
        if not done:
            if not self.history:
                raise InvalidInputError("the data have no batches to train on")
            warnings.warn(
                f"the data ended after {epoch} of {self.epochs} epochs, and so does the training: "
                "an iterator gives its batches once; pass a list of them, or an object that begins "
                "anew in each epoch",
                stacklevel=4,
            )
            return False
        trainer.check_finite()  # what the last step made wouldn't be seen before the next one
        logs = self._means.results()
        if self._validated is not None:
            logs |= trainer.evaluate_batches(self._validated, "val_")
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        # before the callbacks: a checkpoint goes on with the next epoch
        self.epoch, self.batch, self._means = epoch + 1, 0, trainer.means()
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)
        if self.verbose:
            values = ", ".join(f"{name} {value:.4g}" for name, value in logs.items())
            print(f"epoch {epoch + 1}/{self.epochs}: {values}")
        if ended:
            warnings.warn(
                f"the data ended in epoch {epoch + 1} of {self.epochs}, after {done} of "
                f"{self._steps} batches, and so does the training",
                stacklevel=4,
            )
        return not ended

    # -------------------------------------------------------------------------- to go on later

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint of all that is needed to go on, also in the middle of an epoch.
        Raises InvalidInputError."""
        progress = {
            "epoch": self.epoch,
            "batch": self.batch,
            "history": self.history,
            "stopped": self.trainer.stop_training,
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
            **self._data_settings(),
        }
        arrays = {f"mean {name}": x for name, x in self._means.state().items()}
        for i, callback in enumerate(self.callbacks):
            arrays |= {f"callback {i} {name}": x for name, x in callback.state().items()}
        self.trainer.save_checkpoint(path, progress, arrays)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint. Raises InvalidInputError if it is of another training."""
        if isinstance(self._batches, IteratedBatches) and not self._batches.begins_anew:
            raise InvalidInputError(
                f"{path}: only arrays, and iterables that begin anew in each epoch, can be resumed"
            )
        path = as_path(path)
        about, _ = read_checkpoint(path)
        check_same(path, about.get("progress"), self._data_settings())
        progress, arrays = self.trainer.load_checkpoint(path)
        self.epoch, self.batch = int(progress["epoch"]), int(progress["batch"])
        self.history = {name: list(values) for name, values in progress["history"].items()}
        self.trainer.stop_training = bool(progress["stopped"])
        self._make_batches()  # whose order comes from the checkpoint's seed
        self._means.restore(_beginning(arrays, "mean "))
        names = progress["callbacks"]
        for callback in self.callbacks:
            name = type(callback).__name__
            if name in names:
                i = names.index(name)
                names[i] = ""
                callback.restore(_beginning(arrays, f"callback {i} "))

    def _data_settings(self) -> dict[str, Any]:
        batches = self._batches
        return {
            "batch_size": batches.size,
            "samples": getattr(batches, "samples", None),
            "shuffle": bool(self._settings["shuffle"]) and isinstance(batches, ArrayBatches),
            "steps_per_epoch": self._steps,
        }


def _beginning(arrays: Mapping[str, np.ndarray], begin: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by the rest of their names."""
    return {n.removeprefix(begin): x for n, x in arrays.items() if n.startswith(begin)}


@contextlib.contextmanager
def _delayed_interrupt(fit: Fit) -> Iterator[None]:
    """Have Ctrl-C end the fit after the batch, so that no step is done by half; the second time at
    once."""
    fit.interrupted = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        if fit.interrupted:
            fit.is_whole = False
            signal.default_int_handler(number, frame)
        fit.interrupted = True

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # someone else's
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
