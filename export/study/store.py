"""The files of a study, each written completely or not at all.

    OUTPUT/results.csv  report.html
    OUTPUT/FAMILY/VARIANT/model.keras  model.weights.h5  history.json     what training leaves
                          epoch-N.keras  training.json                   while it isn't finished
                          model.onnx  evaluation.json  predictions.npz    what evaluation leaves
                          scratch/                      of a study from scratch: see scratch.py

``history.json`` is written last: a variant that has it is trained.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.interpreter.files import move_into_place

_UNFINISHED = ".part-"
_LOCK = ".lock"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path next to ``path``, which is renamed to ``path`` if the block succeeds.

    Raises ExportError if the file can't be written.
    """
    # Keras goes by the suffix; results.csv may be written by two processes at once
    part = path.with_name(f"{_UNFINISHED}{os.getpid()}-{path.name}")
    try:
        yield part
        move_into_place(part, path)
    except OSError as error:
        raise ExportError(f"{path} can't be written: {one_line(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Raises ExportError if it can't be written."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """The content, or None if there is no such file. Raises ExportError if it isn't JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} can't be read: {one_line(error)}; delete it") from error


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Prepare the folder, and lock it against other processes; a killed process releases it.

    Raises ExportError if it can't be created, or if another process uses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / _LOCK, "w")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise ExportError(f"{folder} can't be created: {one_line(error)}") from error
    with lock:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ExportError(f"another process is using {folder}") from error
        prepare_folder(folder)
        yield


def prepare_folder(folder: Path) -> None:
    """Create the folder, and remove unfinished files of a killed process.

    Raises ExportError if it can't be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder} can't be created: {one_line(error)}") from error
    for part in [*folder.glob(f"{_UNFINISHED}*"), *folder.glob(".*.part")]:  # ours; the exporter's
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
