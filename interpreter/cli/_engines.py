"""The engines of ``bench``: each loads a file and returns a function that runs it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxwalk
from onnxwalk.interpreter.optional import onnxruntime_session, require

OURS = "onnxwalk"

#: runs the model on the feeds that the engine was opened with, and returns the outputs
Run = Callable[[], list[Any]]

#: the modules of an engine, imported before its time and memory are measured
_MODULES = {
    OURS: ("onnxwalk",),
    "onnxruntime": ("onnxruntime",),
    "reference": ("onnx", "onnx.reference"),
    "keras": ("keras",),
}

#: the engines to compare with
OTHERS = tuple(name for name in _MODULES if name != OURS)


def import_engine(name: str, threads: int) -> None:
    """Import an engine. Raises InvalidInputError, which says what to install.

    This doesn't set the threads of NumPy: its BLAS reads them from the environment when NumPy is
    imported, see ``blas_environment``.
    """
    if name == "keras":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for module in _MODULES[name]:
        require(module)
    if name == "keras" and require("keras").backend.backend() == "tensorflow":
        threading = require("tensorflow").config.threading
        with contextlib.suppress(RuntimeError):  # TensorFlow has started: too late
            threading.set_intra_op_parallelism_threads(threads)
            threading.set_inter_op_parallelism_threads(1)


def blas_environment(threads: int) -> dict[str, str]:
    """The environment variables that set the number of threads of NumPy's BLAS libraries."""
    names = "OPENBLAS_NUM_THREADS OMP_NUM_THREADS MKL_NUM_THREADS VECLIB_MAXIMUM_THREADS"
    return dict.fromkeys([*names.split(), "BLIS_NUM_THREADS"], str(threads))


def open_engine(
    name: str, model: str, feeds: Mapping[str, Any], threads: int, keras_file: str | None = None
) -> Run:
    """Load the model at the path ``model``. Raises what the engine raises."""
    if name == OURS:
        session = onnxwalk.load(model, threads=threads)
        return lambda: session.run(None, feeds)
    if name == "onnxruntime":
        theirs = onnxruntime_session(model, threads=threads)
        return lambda: theirs.run(None, feeds)
    if name == "reference":
        evaluator = require("onnx.reference").ReferenceEvaluator(model)
        return lambda: evaluator.run(None, feeds)
    assert keras_file is not None
    return _open_keras(keras_file, feeds)


def _open_keras(path: str, feeds: Mapping[str, Any]) -> Run:
    keras = require("keras")
    with contextlib.redirect_stdout(io.StringIO()):
        model = keras.saving.load_model(path, compile=False)
    values = list(feeds.values())
    x = values[0] if len(values) == 1 else dict(feeds)
    batch = len(values[0])  # otherwise Keras splits it into batches of 32

    def run() -> list[Any]:
        outputs = model.predict(x, batch_size=batch, verbose=0)
        if isinstance(outputs, dict):
            return list(outputs.values())
        return list(outputs) if isinstance(outputs, Sequence) else [outputs]

    return run


def find_keras_file(model: str) -> str | None:
    """The .keras file next to a model, from which it was probably exported."""
    path = Path(model).with_suffix(".keras")
    return str(path) if path.exists() else None
