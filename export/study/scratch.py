"""The study from scratch: a variant trained here, from Keras's initial weights, beside Keras.

Both read the same batches in the same order. Dropout is off on both sides: nobody else draws the
random masks of TensorFlow. ``in_numpy.py`` trains here, in a process without a framework.

Keras trains texts twice. Its Adam squares the gradient of each occurrence of a word before it adds
them up ("keras"); given the gradient of an Embedding as one array it squares the sum, as any other
weight's, and as the interpreter does ("keras_dense").

    OUTPUT/FAMILY/VARIANT/scratch/keras/ keras_dense/   what a training in Keras leaves
                                  here/                 what the one without a framework leaves
                                  scratch.json          losses, F1 and differences; written last
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxwalk
from onnxwalk.export.errors import ExportError
from onnxwalk.export.study import in_numpy
from onnxwalk.export.study.data import Task
from onnxwalk.export.study.evaluate import macro_f1
from onnxwalk.export.study.progress import Progress
from onnxwalk.export.study.store import atomic_path, prepare_folder, read_json, write_json
from onnxwalk.export.study.train import (
    build_model,
    compile_model,
    make_plan,
    new_model,
    package_versions,
    train_in,
)
from onnxwalk.export.study.variants import Variant

#: the steps after which weights are compared
SHOWN = (1, 10, 100)


def read_scratch(folder: Path) -> dict[str, Any] | None:
    """The ``scratch.json`` of a variant's folder; None if it wasn't trained from scratch."""
    return read_json(folder / "scratch" / "scratch.json")


def train_from_scratch(
    variant: Variant, task: Task, *, preset: str, seed: int, epochs: int, output: Path,
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Train the variant in Keras and here, compare the two, and return ``scratch.json``.

    What is done isn't done again. The caller holds the ``store.locked_folder``. Raises ExportError
    when the folder was trained with another plan, or if training fails.
    """
    folder = output / variant.path / "scratch"
    variant = without_dropout(variant)
    plan = make_plan(variant, task, preset=preset, seed=seed, epochs=epochs)
    record = read_scratch(folder.parent)
    if record is not None and {**record["plan"], "preset": preset} == plan:
        return record
    runs: dict[str, Any] = {"keras": None}
    if task.text is not None:
        runs["keras_dense"] = _dense_adam()
    found = {}
    for name, optimizer in runs.items():
        prepare_folder(folder / name)
        said = f"{variant.path} from scratch, {name}"
        found[name] = train_in(folder / name, said, variant, task, plan, progress, optimizer)
    here = folder / "here"
    prepare_folder(here)
    result = _train_here(here, variant, task, plan, progress)
    record = {
        "plan": plan,
        "versions": package_versions(),
        "packages": result["packages"],
        "steps": _compare_steps(here, variant, task, plan, progress),
        "runs": {name: {"history": run["history"]} for name, run in found.items()},
    }
    record["runs"]["onnxwalk"] = {"history": result["history"]}
    predictions = {name: _predict(folder / name, task, variant.batch) for name in runs}
    predictions["onnxwalk"] = np.load(here / "predictions.npy")
    labels = {name: p.argmax(1) for name, p in predictions.items()}
    for name, run in record["runs"].items():
        run["f1"] = macro_f1(task.test.y, labels[name])
        run["labels_differ"] = int(np.sum(labels[name] != labels["onnxwalk"]))
    write_json(folder / "scratch.json", record)
    for file in (*here.glob("*_[xy].npy"), *here.glob("steps-*.npz"), here / "checkpoint.npz"):
        file.unlink(missing_ok=True)
    return record


def without_dropout(variant: Variant) -> Variant:
    """The variant, a recurrent one with a Dropout that drops nothing."""
    if variant.family == "CNN":
        return variant
    return replace(variant, settings={**variant.settings, "dropout": 0.0})


@cache
def _dense_adam() -> Any:
    """Keras's Adam, which gets each gradient as one array."""
    import keras
    import tensorflow as tf

    @keras.saving.register_keras_serializable("onnxwalk")
    class DenseAdam(keras.optimizers.Adam):
        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            return super().apply([tf.convert_to_tensor(g) for g in grads], trainable_variables)

    return DenseAdam


# ------------------------------------------------------------------------------- the training here


def _train_here(
    folder: Path, variant: Variant, task: Task, plan: Mapping[str, Any], progress: Progress
) -> Any:
    """``result.json`` of the process that trains here; what it has done before it doesn't do again.

    Raises ExportError with what the process says if it fails.
    """
    from onnxwalk.export.pipeline import export_model

    job = {name: plan[name] for name in ("seed", "batch", "epochs")} | {"shown": SHOWN}
    about = {"plan": plan, "job": job}
    if read_json(folder / "about.json") != json.loads(json.dumps(about)):
        shutil.rmtree(folder)
        prepare_folder(folder)
        export_model(new_model(variant, task, plan["seed"]), folder / "start.onnx", trainable=True)
        write_json(folder / "job.json", job)
        write_json(folder / "about.json", about)
    steps = [folder / f"steps-{name}.npz" for name in in_numpy.OPTIMIZERS]
    if all(file.exists() for file in (folder / "result.json", *steps)):
        return read_json(folder / "result.json")
    for name, split in (("train", task.train), ("valid", task.valid), ("test", task.test)):
        for axis, array in (("x", split.x), ("y", split.y)):
            with atomic_path(folder / f"{name}_{axis}.npy") as part:
                np.save(part, array)
    with progress.step(f"{variant.path} from scratch, here", plan["epochs"]) as done:
        for count, line in enumerate(_lines_of_process(folder), 1):
            progress.say(f"{variant.path} from scratch, here  {line}")
            done(count)
    return read_json(folder / "result.json")


def _lines_of_process(folder: Path) -> Iterator[str]:
    """What the process prints, line by line. Raises ExportError if it fails."""
    root = str(Path(onnxwalk.__file__).parents[1])
    # one thread, so that CPU time is the time of computing, not of threads that wait
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", in_numpy.__name__, str(folder)],
        env={**os.environ, **threads, "PYTHONPATH": paths},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    try:
        for line in process.stdout:
            yield line.rstrip()
        said = process.stderr.read().strip().splitlines()
        if process.wait() == 130:
            raise KeyboardInterrupt
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
    if process.returncode:
        why = said[-1].removeprefix("error: ") if said else f"exit status {process.returncode}"
        raise ExportError(f"training without a framework failed: {why}")


def _predict(folder: Path, task: Task, batch: int) -> NDArray[Any]:
    """The probabilities of a Keras model on the test set."""
    import keras

    keras.backend.clear_session()
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    return np.asarray(model.predict(task.test.x, batch_size=batch, verbose=0))


# ------------------------------------------------------------------------------ the first 100 steps


def _compare_steps(
    folder: Path, variant: Variant, task: Task, plan: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    """optimizer -> a row for each of ``SHOWN``: the largest differences of losses up to that step,
    and of weights after it, between the interpreter, Keras, and Keras in float64."""
    start = new_model(variant, task, plan["seed"]).get_weights()
    found: dict[str, Any] = {}
    theirs: dict[tuple[str, str], Any] = {}
    for name in in_numpy.OPTIMIZERS:
        with np.load(folder / f"steps-{name}.npz") as arrays:
            here = dict(arrays)
        sides = {"here": (here["losses"], here)}
        kind = name.partition("_")[0]
        for side in ("keras", "float64"):
            if (kind, side) not in theirs:
                with _floats(side), progress.step(f"steps in {side}, {kind}", max(SHOWN)) as done:
                    model = build_model(variant, task)
                    model.set_weights(start)
                    compile_model(model, _keras_optimizer(kind))
                    theirs[kind, side] = _keras_steps(model, task, plan, done)
            sides[side] = theirs[kind, side]
        found[name] = [
            {
                "step": step,
                **{
                    f"{one} {other}": _difference(sides[one], sides[other], step)
                    for one, other in (("here", "keras"), ("keras", "float64"), ("here", "float64"))
                },
            }
            for step in SHOWN
        ]
    return found


def _keras_optimizer(name: str) -> Callable[[], Any]:
    """Keras's own, with the rates of ``in_numpy``, on gradients as arrays."""
    import keras

    kind = keras.optimizers.SGD if name == "sgd" else _dense_adam()
    return lambda: kind(in_numpy.RATES[name])


def _keras_steps(
    model: Any, task: Task, plan: Mapping[str, Any], done: Callable[[int], None]
) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """The losses of the first steps, and the weights as ``in_numpy`` keeps them."""
    losses, kept = [], {}
    batches = in_numpy.first_batches(
        task.train.x, task.train.y, plan["seed"], plan["batch"], max(SHOWN)
    )
    for step, (x, y) in enumerate(batches, 1):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(x, y)[0]))
        if step in SHOWN:
            for i, variable in enumerate(model.trainable_variables):
                kept[f"{step} {i}"] = np.array(variable)
        done(step)
    return np.array(losses), kept


def _difference(one: Any, other: Any, step: int) -> dict[str, float]:
    """The largest difference of losses up to a step, and of the weights after it."""
    names = [name for name in other[1] if name.startswith(f"{step} ")]
    apart = (one[1][n].astype(np.float64) - other[1][n] for n in names)
    return {
        "loss": float(np.abs(one[0][:step] - other[0][:step]).max()),
        "weights": max(float(np.abs(a).max()) for a in apart),
    }


@contextmanager
def _floats(side: str) -> Iterator[None]:
    """Keras in float64 for the time of the block, if the side says so."""
    import keras

    if side != "float64":
        yield
        return
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
