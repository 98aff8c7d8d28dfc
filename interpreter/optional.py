"""Optional dependencies, imported only where they are needed."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError


def require(module: str, package: str | None = None) -> Any:
    """Import a module of an optional dependency. Raises InvalidInputError if it isn't installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = package or module.partition(".")[0]
        raise InvalidInputError(
            f"{package} is required but isn't installed: pip install {package}"
        ) from None


def onnxruntime_session(
    model: str | bytes, *, threads: int | None = None, folder: str | None = None
) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU that logs nothing; ``model``: a path or bytes.

    ``threads``: threads for each operator, one operator at a time; ``None``: ONNX Runtime's
    default. ``folder``: the folder of the external data that the bytes refer to.

    Raises InvalidInputError if ONNX Runtime isn't installed, and its own errors.
    """
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, folder)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def silence_output() -> Iterator[None]:
    """Suppress all output to stdout and stderr, also by C libraries."""
    with tempfile.TemporaryFile() as file:
        sys.stdout.flush()
        sys.stderr.flush()
        saved = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, before in enumerate(saved, 1):
                os.dup2(before, target)
                os.close(before)
