"""The part of a study from scratch that trains here, as a process of its own:

    python -m onnxwalk.export.study.in_numpy FOLDER

It can't use a framework: before it trains, each import of one is made to fail, and at the end it
writes down what it had imported. FOLDER holds what ``scratch.py`` writes there: start.onnx, the
arrays of the data, and job.json. It leaves steps-*.npz, one for each optimizer (losses, and weights
as Keras has them, of the first steps), trained.onnx, predictions.npy, and, last, result.json.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxwalk
from onnxwalk.export.study.store import atomic_path, write_json
from onnxwalk.export.study.train import epoch_order
from onnxwalk.interpreter import interrupts, training
from onnxwalk.interpreter.weights import read_weights

LOSS = "sparse_categorical_crossentropy"

#: what computes gradients, or runs graphs, and must not be there
FRAMEWORKS = (
    "tensorflow", "keras", "tf_keras", "torch", "jax", "jaxlib", "onnxruntime", "onnx", "tf2onnx",
)  # fmt: skip

RATES = {"sgd": 0.01, "adam": 0.001}


def rounded_rate(step: int) -> float:
    """Adam's rate of a step with √(1 − β₂ᵗ) / (1 − β₁ᵗ) in float32, as in Keras even in float64.

    1 − 0.999 loses five digits there, and the first rate is 6e-6 smaller.
    """
    exact, rounded = (
        [dtype(1) - np.power(dtype(beta), dtype(step + 1)) for beta in (0.9, 0.999)]
        for dtype in (np.float64, np.float32)
    )
    found = np.sqrt(rounded[1]) / rounded[0] * exact[0] / np.sqrt(exact[1])
    return RATES["adam"] * float(found)


#: name -> the optimizer of the steps that are compared one by one
OPTIMIZERS = {
    "sgd": training.SGD(RATES["sgd"]),
    "adam": training.Adam(RATES["adam"]),
    "adam_rounded": training.Adam(rounded_rate),
}


def forbid_frameworks() -> None:
    """Let every import of a framework fail from now on. Raises RuntimeError if one was imported."""
    if found := [name for name in FRAMEWORKS if name in sys.modules]:
        raise RuntimeError(f"{', '.join(found)} was imported before the training began")
    for name in FRAMEWORKS:
        sys.modules[name] = None  # type: ignore[assignment]


def imported_packages() -> list[str]:
    """The packages of this process that aren't Python's own."""
    # a module without a specification wasn't imported, but made by another
    real = {n for n, module in sys.modules.items() if getattr(module, "__spec__", None) is not None}
    tops = {name.partition(".")[0] for name in real}
    known = {*sys.stdlib_module_names, "__main__", "__mp_main__", "sitecustomize"}
    return sorted(name for name in tops - known if not name.startswith("_"))


def first_batches(
    x: NDArray[Any], y: NDArray[Any], seed: int, size: int, count: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """The first batches of a training, in the order of its epochs."""
    given, epoch = 0, 0
    while True:
        order = epoch_order(seed, epoch, len(y))
        for start in range(0, len(y), size):
            if given == count:
                return
            rows = order[start : start + size]
            yield x[rows], y[rows]
            given += 1
        epoch += 1


class _Clock(training.Callback):
    """The CPU seconds of each epoch, kept in checkpoints too; says a line after each."""

    def __init__(self, epochs: int) -> None:
        self.seconds: list[float] = []
        self._epochs, self._before = epochs, 0.0

    def on_epoch_begin(self, epoch: int) -> None:
        self._before = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.seconds.append(round(time.process_time() - self._before, 3))
        print(
            f"epoch {epoch + 1}/{self._epochs}  loss {logs['loss']:.3f}, accuracy "
            f"{logs['accuracy']:.3f}; validation {logs['val_loss']:.3f}, {logs['val_accuracy']:.3f}"
            f"  {self.seconds[-1]:.2f} s of CPU",
            flush=True,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        return {"seconds": np.array(self.seconds)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.seconds = state["seconds"].tolist()


def _take_steps(folder: Path, job: Mapping[str, Any], x: NDArray[Any], y: NDArray[Any]) -> None:
    """The first steps with each optimizer, unless that is done."""
    for name, optimizer in OPTIMIZERS.items():
        file = folder / f"steps-{name}.npz"
        if file.exists():
            continue
        trainer = training.Trainer(folder / "start.onnx", loss=LOSS, optimizer=optimizer, seed=0)
        weights = [w for w in read_weights(trainer.session().model) or () if w.trainable]
        kept: dict[str, NDArray[Any]] = {}
        losses = []
        for step, batch in enumerate(
            first_batches(x, y, job["seed"], job["batch"], max(job["shown"])), 1
        ):
            losses.append(trainer.train_on_batch(*batch)["loss"])
            if step in job["shown"]:
                for i, weight in enumerate(weights):
                    kept[f"{step} {i}"] = weight.read(trainer.weights[weight.initializer]).copy()
        with atomic_path(file) as part:
            np.savez(part, losses=np.array(losses), **kept)  # type: ignore[arg-type]


def run(folder: Path) -> None:
    """Do the job in a folder; an interrupted one goes on after its last epoch."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    data = {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*_[xy].npy")}
    x, y = data["train_x"], data["train_y"]
    _take_steps(folder, job, x, y)
    checkpoint, clock = folder / "checkpoint.npz", _Clock(job["epochs"])
    trained = onnxwalk.train(
        folder / "start.onnx",
        (x, y),
        loss=LOSS,
        optimizer=OPTIMIZERS["adam"],
        epochs=job["epochs"],
        batch_size=job["batch"],
        validation=(data["valid_x"], data["valid_y"]),
        metrics=["accuracy"],
        seed=job["seed"],
        callbacks=[clock, training.Checkpoint(checkpoint)],
        resume=checkpoint if checkpoint.exists() else None,
    )
    trained.save(folder / "trained.onnx")
    test, size = data["test_x"], job["batch"]
    found = [trained.session(np.array(test[i : i + size])) for i in range(0, len(test), size)]
    with atomic_path(folder / "predictions.npy") as part:
        np.save(part, np.concatenate(found))
    result = {
        "history": {**trained.history, "cpu_seconds": clock.seconds},
        "packages": imported_packages(),
    }
    write_json(folder / "result.json", result)


def main(arguments: list[str]) -> int:
    """Run the job of a folder; 0, 1 for an error in one line, or 130 for Ctrl-C."""
    return interrupts.run(lambda: _main(Path(arguments[0])))


def _main(folder: Path) -> int:
    try:
        forbid_frameworks()
        run(folder)
    except (onnxwalk.OnnxWalkError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
