"""Write outputs to a file, which is there complete or not at all, or to standard output."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import check_folder, replace_atomically, translate_os_errors
from onnxwalk.interpreter.ir.model import MapType, SequenceType, TensorInfo, TensorType, ValueType
from onnxwalk.interpreter.rows.classes import Ranked
from onnxwalk.interpreter.rows.values import storable, to_jsonable, widened
from onnxwalk.interpreter.tables.files import WRITTEN, table_suffix
from onnxwalk.interpreter.tables.maps import as_maps

_ARRAYS = (".npz", ".npy", ".json")
_SPOOLED = 1 << 23  # bytes from which on joined batches lie in a temporary file

#: the names of formats for standard output
FORMATS = tuple(suffix[1:] for suffix in (*WRITTEN, *_ARRAYS))


@dataclass
class Outputs:
    """What a run has computed, to be written.

    ``classes``: the keys of those that are maps in the model. ``ranked``: those that are scores of
    classes. ``length``: the number of samples, ``None`` if inputs have no rows. ``names``: those of
    the samples, if they are files; ``numbers``: those of the rows, if some were left out. ``top``:
    write only so many classes of each sample.
    """

    values: Mapping[str, Any]
    classes: Mapping[str, list[str]] = field(default_factory=dict)
    ranked: Mapping[str, Ranked] = field(default_factory=dict)
    length: int | None = None
    names: Sequence[str] | None = None
    numbers: np.ndarray | None = None
    top: int | None = None


def spooled(shape: tuple[int, ...], dtype: np.dtype, folder: Path | None = None) -> np.ndarray:
    """An array to fill; a large one is in a temporary file, so that it may exceed memory.

    ``folder``: of that file; by default the system's. Raises OSError on a full disk.
    """
    if not _is_large(shape, dtype):
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:  # the map lives on
        _claim(file, math.prod(shape) * dtype.itemsize)
        return np.memmap(file, dtype, "w+", shape=shape)


def _is_large(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array can and should lie in a file."""
    return dtype.kind in "biufc" and math.prod(shape) * dtype.itemsize >= _SPOOLED


def _claim(file: IO[bytes], size: int) -> None:
    """Have the disk keep room for a file, so that a full one fails here rather than in the map."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


class OutputFile:
    """The file of ``--output``: .npz (each output by its name), .npy (a single one), .json, or rows
    of samples as .csv, .tsv, .jsonl and .parquet. "-" is standard output."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        infos: Sequence[TensorInfo],
        format: str | None = None,
    ) -> None:
        """``format``: one of ``FORMATS``, for standard output.

        Raises InvalidInputError for outputs that can't be written there, before they are run.
        """
        self.path = path
        self.is_stdout = str(path) == "-"
        if format is not None and not self.is_stdout:
            raise InvalidInputError("--format is for --output -; other files say it by their name")
        self._name = _named(path, format)
        self.is_table = is_table(path, format)
        self.suffix = self._name.suffix.lower()
        self._temporary = path  # while ``writing``: the file that becomes ``path``
        self._mapped: np.ndarray | None = None
        if not self.is_table and self.suffix not in _ARRAYS:
            known = ", ".join((*_ARRAYS, *WRITTEN))
            raise InvalidInputError(f"{path}: expected a {known} file")
        if self.suffix == ".npy" and len(names) != 1:
            raise InvalidInputError(
                f"{path}: an .npy file holds one array, but there are {len(names)} outputs "
                f"({', '.join(names)}); use .npz or .json, or choose one by --outputs"
            )
        others = [i for i in infos if i.type is not None and not _is_array(i.type)]
        if self.suffix != ".json" and others:
            raise InvalidInputError(f"{path}: output {others[0]} is not a tensor; use .json")
        if self.is_table and table_suffix(self._name) == ".parquet":
            from onnxwalk.interpreter.tables.parquet import import_parquet

            import_parquet()
        if not self.is_stdout:
            target = Path(os.path.realpath(path))
            if target.exists() and not target.is_file():
                raise InvalidInputError(f"{path}: not a regular file")
            check_folder(path)

    def write_at(self, place: Path) -> None:
        """Write to another place, whose folder is there: the caller moves what is whole."""
        self._temporary = place

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """The file at ``path`` is replaced when this context ends without an error."""
        if self.is_stdout:
            yield
            return
        with replace_atomically(self.path) as self._temporary:
            yield

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array to fill; a large one is a map of the .npy file, so that it may exceed memory."""
        if self.suffix != ".npy" or self.is_stdout or not _is_large(shape, dtype):
            return spooled(shape, dtype, None if self.is_stdout else self._temporary.parent)
        with translate_os_errors(self.path):
            array = np.lib.format.open_memmap(self._temporary, "w+", dtype, shape)
            with open(self._temporary, "r+b") as file:
                _claim(file, self._temporary.stat().st_size)
            self._mapped = array
            return array

    def write(self, outputs: Outputs) -> None:
        """Write the values; those in the map of ``allocate`` are written already.

        Raises InvalidInputError for a value that the format can't hold.
        """
        if self._mapped is not None:
            self._mapped.flush()  # type: ignore[attr-defined]
            self._mapped = None
        elif self.is_stdout:
            sys.stdout.flush()
            self._write(sys.stdout.buffer, outputs)
            sys.stdout.buffer.flush()
        else:
            with translate_os_errors(self.path), open(self._temporary, "wb") as file:
                self._write(file, outputs)

    def _write(self, file: IO[bytes], outputs: Outputs) -> None:
        if self.is_table:
            from onnxwalk.interpreter.tables.writing import write_rows

            columns, parts = _as_columns(outputs, self.path)
            write_rows(file, self._name, columns, parts)
        elif self.suffix == ".json":
            values = {
                name: as_maps(value, outputs.classes[name]) if name in outputs.classes else value
                for name, value in outputs.values.items()
            }
            with open(file.fileno(), "w", encoding="utf-8", closefd=False) as text:
                json.dump(to_jsonable(values), text, allow_nan=False)
        elif self.suffix == ".npz":
            with zipfile.ZipFile(file, "w") as archive:
                for name, value in outputs.values.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        self._write_array(member, name, value)
        else:
            ((name, value),) = outputs.values.items()
            self._write_array(file, name, value)

    def _write_array(self, file: IO[bytes], name: str, value: Any) -> None:
        """Write an array without pickle."""
        if not isinstance(value, np.ndarray):
            raise InvalidInputError(f"{self.path}: output '{name}' is not a tensor; use .json")
        np.lib.format.write_array(file, storable(value), allow_pickle=False)


def is_table(path: Path, format: str | None = None) -> bool:
    """Whether a file, or standard output in a format, holds a row for each sample."""
    return table_suffix(_named(path, format)) in WRITTEN


def _named(path: Path, format: str | None) -> Path:
    return Path(f"-.{format or 'csv'}") if str(path) == "-" else path


def _is_array(kind: ValueType) -> bool:
    """Whether a value of this type is written as an array: a tensor, or a classifier's maps."""
    if isinstance(kind, SequenceType):
        kind = kind.element
        return isinstance(kind, MapType)
    return isinstance(kind, (TensorType, MapType))


def _as_columns(
    outputs: Outputs, path: Path
) -> tuple[dict[str, np.ndarray | list[Any]], dict[str, Sequence[str]]]:
    """One row for each sample: its number or the name of its file, and its values; and the names of
    the elements of rows.

    Raises InvalidInputError for outputs that have no row for each sample.
    """
    length = outputs.length
    columns: dict[str, np.ndarray | list[Any]] = {}
    parts: dict[str, Sequence[str]] = dict(outputs.classes)
    for name, value in outputs.values.items():
        if not isinstance(value, np.ndarray):
            raise InvalidInputError(f"{path}: output '{name}' is not a tensor; use .json")
        length = len(value) if length is None and value.ndim else length
        if not value.ndim or len(value) != length:
            count = "1 row" if length == 1 else f"{length} rows"
            raise InvalidInputError(
                f"{path}: output '{name}' has shape {value.shape}, which isn't one row for each of "
                f"the {count} of the inputs; choose others by --outputs, or write .npz"
            )
        ranked = outputs.ranked.get(name)
        if ranked is not None and outputs.top is not None:
            columns |= ranked.best(name, outputs.top)
        elif ranked is not None and ranked.labels is not None:
            columns[name], parts[name] = ranked.scores, ranked.labels
        else:
            columns[name] = widened(value)
    title = "row" if outputs.names is None else "file"
    while title in columns:
        title += "_"
    numbers = np.arange(length or 0) if outputs.numbers is None else outputs.numbers
    first = numbers if outputs.names is None else list(outputs.names)
    return {title: first, **columns}, parts
