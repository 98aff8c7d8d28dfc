"""Outputs become a file, which is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interpreter.cli._show import jsonable, widened
from interpreter.errors import InvalidInputError
from interpreter.model import TensorType
from interpreter.session import TensorInfo

_SUFFIXES = (".npz", ".npy", ".json")


class OutputFile:
    """Where ``--output`` goes: .npz (each output by its name), .npy (a single one) or .json."""

    def __init__(self, path: Path, names: Sequence[str], infos: Sequence[TensorInfo]) -> None:
        """Raises InvalidInputError for what couldn't be written, before anything is run."""
        self.path = path
        self.suffix = path.suffix.lower()
        self._target = Path(os.path.realpath(path))  # a link stays one: what it points at is written
        self._temporary = self._target.with_name(f".{self._target.name}.{os.getpid()}.tmp")
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
        if self._target.exists() and not self._target.is_file():
            raise InvalidInputError(f"{path}: not an ordinary file")
        if not self._target.parent.is_dir():
            raise InvalidInputError(f"{path}: there is no folder {self._target.parent}")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Until its end nothing is there under the name but what was there before."""
        try:
            with open(self._temporary, "xb"):  # refused here rather than after the run
                pass
            yield
            os.replace(self._temporary, self._target)
        except OSError as error:
            reason = error.strerror or error
            raise InvalidInputError(f"{self.path}: can't be written: {reason}") from error
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array to fill; for .npy it is the file itself, so that it needn't fit in memory."""
        if self.suffix == ".npy" and dtype.kind in "biufc" and 0 not in shape:
            return np.lib.format.open_memmap(self._temporary, "w+", dtype, shape)
        return np.empty(shape, dtype)

    def write(self, values: Mapping[str, Any]) -> None:
        """Fill the file; what ``allocate`` gave for .npy is there already.

        Raises InvalidInputError for a value that the format can't hold.
        """
        if self.suffix == ".json":
            with open(self._temporary, "w", encoding="utf-8") as file:
                json.dump(jsonable(values), file)
        elif self.suffix == ".npz":
            with zipfile.ZipFile(self._temporary, "w", allowZip64=True) as archive:
                for name, value in values.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, self._plain(name, value), allow_pickle=False)
        else:
            ((name, value),) = values.items()
            if isinstance(value, np.memmap):
                value.flush()
            else:
                with open(self._temporary, "wb") as file:
                    np.lib.format.write_array(file, self._plain(name, value), allow_pickle=False)

    def _plain(self, name: str, value: Any) -> np.ndarray:
        """What NumPy can write and read without pickle."""
        if not isinstance(value, np.ndarray):
            raise InvalidInputError(f"{self.path}: output '{name}' is no tensor: write .json")
        return value.astype(str) if value.dtype == object else widened(value)
