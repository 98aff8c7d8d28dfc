"""Outputs become a file, which is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxwalk.interpreter.cli._show import jsonable, widened
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import replace_atomically, translate_os_errors
from onnxwalk.interpreter.ir.model import TensorInfo, TensorType

_SUFFIXES = (".npz", ".npy", ".json")


class OutputFile:
    """Where ``--output`` goes: .npz (each output by its name), .npy (a single one) or .json."""

    def __init__(self, path: Path, names: Sequence[str], infos: Sequence[TensorInfo]) -> None:
        """Raises InvalidInputError for what couldn't be written, before anything is run."""
        self.path = path
        self.suffix = path.suffix.lower()
        self._temporary = path  # within ``writing`` the file that becomes it
        if self.suffix not in _SUFFIXES:
            raise InvalidInputError(f"{path}: outputs are written to {', '.join(_SUFFIXES)} files")
        if self.suffix == ".npy" and len(names) != 1:
            raise InvalidInputError(
                f"{path}: an .npy file holds one array, here are {len(names)} outputs "
                f"({', '.join(names)}): write .npz or .json"
            )
        others = [i for i in infos if i.type is not None and not isinstance(i.type, TensorType)]
        if self.suffix != ".json" and others:
            raise InvalidInputError(f"{path}: output {others[0]} is no tensor: write .json")
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise InvalidInputError(f"{path}: not an ordinary file")
        if not target.parent.is_dir():
            raise InvalidInputError(f"{path}: there is no folder {target.parent}")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Until its end nothing is there under the name but what was there before."""
        with replace_atomically(self.path) as self._temporary:
            yield

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array to fill; for .npy it is the file itself, so that it needn't fit in memory."""
        if self.suffix != ".npy" or dtype.kind not in "biufc" or 0 in shape:
            return np.empty(shape, dtype)
        with translate_os_errors(self.path):
            array = np.lib.format.open_memmap(self._temporary, "w+", dtype, shape)
            if hasattr(os, "posix_fallocate"):  # a full disk must be met here, not within the map
                with open(self._temporary, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, self._temporary.stat().st_size)
            return array

    def write(self, values: Mapping[str, Any]) -> None:
        """Fill the file; what ``allocate`` gave for .npy is there already.

        Raises InvalidInputError for a value that the format can't hold.
        """
        with translate_os_errors(self.path):
            if self.suffix == ".json":
                with open(self._temporary, "w", encoding="utf-8") as file:
                    json.dump(jsonable(values), file, allow_nan=False)
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
        """Only what NumPy can read without pickle is written."""
        if not isinstance(value, np.ndarray):
            raise InvalidInputError(f"{self.path}: output '{name}' is no tensor: write .json")
        plain = value.astype(str) if value.dtype == object else widened(value)
        np.lib.format.write_array(file, plain, allow_pickle=False)
