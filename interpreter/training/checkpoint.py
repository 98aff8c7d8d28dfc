"""Checkpoints: arrays and a description, in one .npz file, written whole or not at all."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import replace_atomically, translate_os_errors

_ABOUT = "about"
_FORMAT = "onnxwalk checkpoint 1"


def write_checkpoint(
    path: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a checkpoint. Raises InvalidInputError."""
    names = list(arrays)
    text = json.dumps({**about, "format": _FORMAT, "arrays": names})
    values: dict[str, Any] = {f"array{i}": arrays[name] for i, name in enumerate(names)}
    values = {n: x.view(np.uint8) if x.dtype.kind == "V" else x for n, x in values.items()}
    values[_ABOUT] = np.frombuffer(text.encode(), np.uint8)
    with replace_atomically(path) as part, translate_os_errors(path), open(part, "wb") as file:
        np.savez(file, **values)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays of a checkpoint. Raises InvalidInputError."""
    try:
        with open(path, "rb") as stored, np.load(stored, allow_pickle=False) as file:
            about = json.loads(bytes(file[_ABOUT]))
            if about["format"] != _FORMAT:
                raise InvalidInputError(
                    f"{path}: a checkpoint of another version: {about['format']}"
                )
            arrays = {name: file[f"array{i}"] for i, name in enumerate(about["arrays"])}
    except OSError as error:
        raise InvalidInputError(f"{path}: can't be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path}: not a checkpoint of a training, or damaged") from None
    return about, arrays


def check_same(path: Path, found: Any, expected: Mapping[str, Any]) -> None:
    """Raise InvalidInputError unless a checkpoint is of a training with the same settings."""
    for name, value in expected.items():
        was = found.get(name) if isinstance(found, dict) else None
        if was != value:
            if name in ("model", "weights"):
                raise InvalidInputError(f"{path}: the checkpoint is of another model")
            raise InvalidInputError(f"{path}: the checkpoint has {name} {was!r}, not {value!r}")
