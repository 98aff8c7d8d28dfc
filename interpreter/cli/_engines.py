"""The engines of ``bench``: each loads a file and returns a function that runs it."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.interpreter.optional import onnxruntime_session, require
from onnxwalk.interpreter.runtime.threads import BLAS_VARIABLES

OURS = "onnxwalk"

#: runs the model on the feeds that the engine was opened with, and returns the outputs
Run = Callable[[], list[Any]]
#: runs the model on feeds
Engine = Callable[[Mapping[str, Any]], list[Any]]

#: the modules of an engine, imported before its time and memory are measured
_MODULES = {
    OURS: ("onnxwalk",),
    "onnxruntime": ("onnxruntime",),
    "reference": ("onnx", "onnx.reference"),
    "keras": ("keras",),
    "tract": ("tract",),
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
    return dict.fromkeys(BLAS_VARIABLES, str(threads))


def open_engine(
    name: str,
    model: str,
    feeds: Mapping[str, Any],
    threads: int,
    keras_file: str | None = None,
    parts: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Run:
    """Load the model at the path ``model``. Each run takes the next of so many parts of the feeds
    along their first axis. ``options``: what ``onnxwalk.load`` gets in place of ``threads``. Raises
    what the engine raises."""
    cut = [np.split(x, parts) if parts > 1 else [x] for x in feeds.values()]
    turns = [dict(zip(feeds, values, strict=True)) for values in zip(*cut, strict=True)]
    if name == OURS:
        options = {"threads": threads} if options is None else options
        engine: Engine = functools.partial(onnxwalk.load(model, **options).run, None)
    else:
        engine = _open(name, model, turns[0] if turns else {}, threads, keras_file)
    if len(turns) < 2:
        return functools.partial(engine, feeds)
    following = itertools.cycle(turns).__next__
    return lambda: engine(following())


def _open(
    name: str, model: str, feeds: Mapping[str, Any], threads: int, keras_file: str | None
) -> Engine:
    if name == "onnxruntime":
        return functools.partial(onnxruntime_session(model, threads=threads).run, None)
    if name == "reference":
        evaluator = require("onnx.reference").ReferenceEvaluator(model)
        return functools.partial(evaluator.run, None)
    if name == "tract":
        return _open_tract(model, feeds)
    assert keras_file is not None
    return _open_keras(keras_file, feeds)


def _open_tract(path: str, feeds: Mapping[str, Any]) -> Engine:
    """tract compiles a model for the shapes of its inputs. It has one thread."""
    tract = require("tract")
    try:
        model = tract.onnx().load(path)
        names = [model.input_name(i) for i in range(model.input_count())]
        for i, name in enumerate(names):
            x = feeds[name]
            kind = "bool" if x.dtype == bool else f"{x.dtype.kind}{8 * x.dtype.itemsize}"
            model.set_input_fact(i, ",".join(map(str, (*x.shape, kind))))
        compiled = model.into_model().into_runnable()
    except tract.TractError as error:
        raise RuntimeError(str(error).partition("Stack backtrace")[0]) from None

    def run(given: Mapping[str, Any]) -> list[Any]:
        return [y.to_numpy() for y in compiled.run([given[name] for name in names])]

    return run


def _open_keras(path: str, feeds: Mapping[str, Any]) -> Engine:
    keras = require("keras")
    with contextlib.redirect_stdout(io.StringIO()):
        model = keras.saving.load_model(path, compile=False)
    batch = len(next(iter(feeds.values())))  # otherwise Keras splits it into batches of 32

    def run(given: Mapping[str, Any]) -> list[Any]:
        x = next(iter(given.values())) if len(given) == 1 else dict(given)
        outputs = model.predict(x, batch_size=batch, verbose=0)
        if isinstance(outputs, dict):
            return list(outputs.values())
        return list(outputs) if isinstance(outputs, Sequence) else [outputs]

    return run


def find_keras_file(model: str) -> str | None:
    """The .keras file next to a model, from which it was probably exported."""
    path = Path(model).with_suffix(".keras")
    return str(path) if path.exists() else None
