"""Training one variant in Keras, so that it can be interrupted at any moment.

Epochs are trained one by one. Their random numbers (the order of the samples, dropout) depend on
the seed and the number of the epoch only, so that an interrupted run has the same result.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import ExportError
from onnxwalk.export.study.data import Task
from onnxwalk.export.study.progress import Progress
from onnxwalk.export.study.store import atomic_path, read_json, write_json
from onnxwalk.export.study.variants import Variant

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


def count_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare_tensorflow() -> None:
    """Let TensorFlow use all cores; call it before anything else uses TensorFlow.

    oneDNN's convolutions, which TensorFlow leaves off on one core, halve the time of training.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from onnxwalk.export.quiet import quiet

    with quiet():
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(count_cores())
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # it has begun, in a program that calls this one
            return


def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that affect the results."""
    packages = ("tensorflow", "keras", "numpy", "onnx", "onnxruntime", "tf2onnx", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def make_plan(
    variant: Variant, task: Task, *, preset: str, seed: int, epochs: int
) -> dict[str, Any]:
    """All that determines the result of a training; the same plan has the same result."""
    return {
        "family": variant.family,
        "variant": variant.name,
        "settings": {
            k: list(v) if isinstance(v, tuple) else v for k, v in variant.settings.items()
        },
        "preset": preset,
        "seed": seed,
        "epochs": epochs,
        "batch": variant.batch,
        "data": {
            "source": task.source,
            "stands_in": task.stands_in,
            "train": len(task.train),
            "valid": len(task.valid),
            "fingerprint": task.fingerprint,
        },
    }


def read_history(variant: Variant, output: Path) -> dict[str, Any] | None:
    """Read ``history.json``; None if the variant isn't trained."""
    return read_json(output / variant.path / "history.json")


def train(
    variant: Variant, task: Task, plan: dict[str, Any], output: Path, progress: Progress
) -> dict[str, Any]:
    """Train the variant, unless that is done, and return the content of ``history.json``.

    The caller holds the ``store.locked_folder``.

    Raises ExportError when the folder contains a model that was trained with another plan.
    """
    return train_in(output / variant.path, variant.path, variant, task, plan, progress)


def train_in(
    folder: Path,
    name: str,
    variant: Variant,
    task: Task,
    plan: dict[str, Any],
    progress: Progress,
    optimizer: Callable[[], Any] | None = None,
) -> dict[str, Any]:
    """As ``train``, in any folder; ``name``: what progress calls it. Without an ``optimizer`` it is
    Keras's Adam."""
    record = read_json(folder / "history.json")
    if record is not None:
        _check_plan(record["plan"], plan, folder)
        return record
    started = read_json(folder / "training.json")
    if started is not None:
        _check_plan(started["plan"], plan, folder)
    state = _load_checkpoint(folder, started) or {
        "plan": plan,
        "done": 0,
        "history": {metric: [] for metric in (*METRICS, "seconds", "cpu_seconds")},
    }
    model = state.pop("model", None)
    if model is None:
        model = new_model(variant, task, plan["seed"])
        compile_model(model, optimizer)
    for epoch in range(state["done"], plan["epochs"]):
        _train_epoch(model, task, plan, epoch, state["history"], f"{name} epoch", progress)
        state["done"] = epoch + 1
        last = {metric: values[-1] for metric, values in state["history"].items()}
        progress.say(
            f"{name}  epoch {epoch + 1}/{plan['epochs']}  loss {last['loss']:.3f}, "
            f"accuracy {last['accuracy']:.3f}; validation {last['val_loss']:.3f}, "
            f"{last['val_accuracy']:.3f}  {last['seconds']:.1f} s"
        )
        if epoch + 1 < plan["epochs"]:
            _save_checkpoint(model, folder, state)
    return _save_trained(model, folder, state)


def _check_plan(found: dict[str, Any], plan: dict[str, Any], folder: Path) -> None:
    """Raise ExportError if the plans differ in anything but the preset's name."""
    for name, value in plan.items():
        if name != "preset" and found.get(name) != value:
            was = f"{name} {found.get(name)}, not {value}"
            if name == "data":
                was = f"other data ({found[name]['source']}, not {value['source']})"
            raise ExportError(
                f"{folder} was trained with {was}: name another --output, or delete it"
            )


def build_model(variant: Variant, task: Task) -> Any:
    """The Keras model for a task; the generated corpus doesn't need 10,000 words."""
    if task.text is not None and task.stands_in:
        return variant.build(task.shape, len(task.classes), task.text.vocabulary_size())
    return variant.build(task.shape, len(task.classes))


def new_model(variant: Variant, task: Task, seed: int) -> Any:
    """The Keras model with its initial weights, which the seed determines."""
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    return build_model(variant, task)


def compile_model(model: Any, optimizer: Callable[[], Any] | None = None) -> None:
    """With the study's loss, and Keras's Adam or another optimizer."""
    import keras

    model.compile(
        (optimizer or keras.optimizers.Adam)(),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # XLA takes four times as long here
    )


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of the samples in an epoch; that of ``onnxwalk.train`` with the same seed."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def _load_checkpoint(folder: Path, started: dict[str, Any] | None) -> dict[str, Any] | None:
    """The state after the last complete epoch; None if there is none."""
    import keras

    if started is None:
        return None
    file = folder / f"epoch-{started['done']}.keras"
    if not file.exists():
        return None
    keras.backend.clear_session()
    return {**started, "model": keras.saving.load_model(file)}


def _train_epoch(
    model: Any,
    task: Task,
    plan: dict[str, Any],
    epoch: int,
    history: dict[str, list[float]],
    doing: str,
    progress: Progress,
) -> None:
    import keras

    seed, batch = plan["seed"], plan["batch"]
    order = epoch_order(seed, epoch, len(task.train))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign([seed, epoch])
    doing = f"{doing} {epoch + 1}/{plan['epochs']}"
    with progress.step(doing, -(-len(order) // batch)) as done:
        started, used = time.perf_counter(), time.process_time()
        result = model.fit(
            task.train.x[order],
            task.train.y[order],
            batch_size=batch,
            shuffle=False,
            validation_data=(task.valid.x, task.valid.y),
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(on_train_batch_end=lambda n, logs: done(n + 1))
            ],
        )
        history["seconds"].append(round(time.perf_counter() - started, 3))
        # a training that an earlier version began has none of its first epochs
        history.setdefault("cpu_seconds", []).append(round(time.process_time() - used, 3))
    for name in METRICS:
        history[name].append(float(result.history[name][0]))


def _save_checkpoint(model: Any, folder: Path, state: dict[str, Any]) -> None:
    """Write the model first: ``training.json`` must not name a file that doesn't exist."""
    file = folder / f"epoch-{state['done']}.keras"
    with atomic_path(file) as part:
        model.save(part)
    write_json(folder / "training.json", state)
    _delete_checkpoints(folder, but=file)


def _delete_checkpoints(folder: Path, but: Path | None = None) -> None:
    for file in folder.glob("epoch-*.keras"):
        if file != but:
            file.unlink()


def _save_trained(model: Any, folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    with atomic_path(folder / "model.keras") as part:
        model.save(part)
    with atomic_path(folder / "model.weights.h5") as part:
        model.save_weights(part)
    record = {
        "plan": state["plan"],
        "parameters": int(model.count_params()),
        "history": state["history"],
        "versions": package_versions(),
        "threads": count_cores(),
    }
    write_json(folder / "history.json", record)
    (folder / "training.json").unlink(missing_ok=True)
    _delete_checkpoints(folder)
    return record
