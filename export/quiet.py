"""Silence TensorFlow, Keras and tf2onnx without changing the user's logging."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from onnxwalk.export.errors import require

_LOGGERS = ("root", "tensorflow", "tf2onnx", "absl", "h5py", "keras")  # tf2onnx warns at the root
_stderr_lock = threading.Lock()


class _Collector(logging.Handler):
    """Collects the errors that tf2onnx logs: it continues in spite of them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f": {record.exc_info[1]}"
        self.messages.append(message)


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Silence inside the block; yields the list to which tf2onnx's error messages are added.

    Raises ExportError when TensorFlow, Keras, tf2onnx or onnx isn't installed.
    """
    _import_silently()
    collector = _Collector()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        logger.handlers[:] = [collector] if logger.name == "tf2onnx" else [logging.NullHandler()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield collector.messages
    finally:
        for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            logger.handlers[:] = handlers


def _import_silently() -> None:
    """Import TensorFlow and the other packages without the messages that TensorFlow prints."""
    if "tensorflow" in sys.modules and "keras" in sys.modules:
        require("tensorflow", "keras", "tf2onnx", "onnx", "h5py")
        return
    before = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with warnings.catch_warnings(), _captured_stderr():
            warnings.simplefilter("ignore")
            require("tensorflow", "keras", "tf2onnx", "onnx", "h5py")
    finally:
        if before is None:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)


@contextmanager
def _captured_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to a temporary file, which is printed only if the
    block fails (not if Ctrl-C ends it)."""
    with _stderr_lock, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        saved = os.dup(2)
        try:
            os.dup2(held.fileno(), 2)
            yield
        except Exception:
            sys.stderr.flush()
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
