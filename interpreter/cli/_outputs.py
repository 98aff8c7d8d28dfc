"""Write outputs to a file, which is there complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxwalk.interpreter.cli._arguments import check_folder
from onnxwalk.interpreter.cli._show import storable, to_jsonable
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import replace_atomically, translate_os_errors
from onnxwalk.interpreter.ir.model import TensorInfo, TensorType

_SUFFIXES = (".npz", ".npy", ".json")


class OutputFile:
    """The file of ``--output``: .npz (each output by its name), .npy (a single one) or .json."""

    def __init__(self, path: Path, names: Sequence[str], infos: Sequence[TensorInfo]) -> None:
        """Raises InvalidInputError for outputs that can't be written there, before they are run."""
        self.path = path
        self.suffix = path.suffix.lower()
        self._temporary = path  # while ``writing``: the file that becomes ``path``
        if self.suffix not in _SUFFIXES:
            raise InvalidInputError(f"{path}: expected a {', '.join(_SUFFIXES)} file")
        if self.suffix == ".npy" and len(names) != 1:
            raise InvalidInputError(
                f"{path}: an .npy file holds one array, but there are {len(names)} outputs "
                f"({', '.join(names)}); use .npz or .json"
            )
        others = [i for i in infos if i.type is not None and not isinstance(i.type, TensorType)]
        if self.suffix != ".json" and others:
            raise InvalidInputError(f"{path}: output {others[0]} is not a tensor; use .json")
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise InvalidInputError(f"{path}: not a regular file")
        check_folder(path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """The file at ``path`` is replaced when this context ends without an error."""
        with replace_atomically(self.path) as self._temporary:
            yield

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array to fill; for .npy it is a map of the file, so that it may exceed memory."""
        if self.suffix != ".npy" or dtype.kind not in "biufc" or 0 in shape:
            return np.empty(shape, dtype)
        with translate_os_errors(self.path):
            array = np.lib.format.open_memmap(self._temporary, "w+", dtype, shape)
            if hasattr(os, "posix_fallocate"):  # a full disk fails here rather than inside the map
                with open(self._temporary, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, self._temporary.stat().st_size)
            return array

    def write(self, values: Mapping[str, Any]) -> None:
        """Write the values; those in the map of ``allocate`` are written already.

        Raises InvalidInputError for a value that the format can't hold.
        """
        with translate_os_errors(self.path):
            if self.suffix == ".json":
                with open(self._temporary, "w", encoding="utf-8") as file:
                    json.dump(to_jsonable(values), file, allow_nan=False)
            elif self.suffix == ".npz":
                with zipfile.ZipFile(self._temporary, "w") as archive:
                    for name, value in values.items():
                        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                            self._write_array(member, name, value)
            else:
                ((name, value),) = values.items()
                if isinstance(value, np.memmap):
                    value.flush()
                else:
                    with open(self._temporary, "wb") as binary:
                        self._write_array(binary, name, value)

    def _write_array(self, file: IO[bytes], name: str, value: Any) -> None:
        """Write an array without pickle."""
        if not isinstance(value, np.ndarray):
            raise InvalidInputError(f"{self.path}: output '{name}' is not a tensor; use .json")
        np.lib.format.write_array(file, storable(value), allow_pickle=False)
