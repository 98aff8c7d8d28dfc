"""Zarr arrays and groups, which zarr reads: ``pip install "onnxwalk[zarr]"``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.optional import require
from onnxwalk.interpreter.rows.arrays import regrouped

#: one of these is in the folder of an array or a group
_MARKS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether this is a folder that Zarr wrote."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


class ZarrRows:
    """The rows of a Zarr array; each chunk is read once."""

    names: list[str] | None = None

    def __init__(self, array: Any, where: str) -> None:
        self._array, self.where = array, where
        self.dtype = np.dtype(array.dtype)
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.length: int | None = self.shape[0] if self.shape else None

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, …). Raises InvalidInputError."""
        return regrouped(self._chunks(), size)

    def _chunks(self) -> Iterator[np.ndarray]:
        try:
            if not self.length:
                yield np.asarray(self._array[...])
                return
            rows = max(int(self._array.chunks[0]), 1)
            for start in range(0, self.length, rows):
                yield np.asarray(self._array[start : start + rows])
        except Exception as error:  # of any codec and store
            raise InvalidInputError(f"{self.where}: damaged: {error}") from error


def open_zarr(path: Path) -> ZarrRows | dict[str, ZarrRows]:
    """An array, or the arrays of a group by their names. Raises InvalidInputError."""
    try:
        zarr = require("zarr")
    except InvalidInputError:
        message = 'zarr is required for Zarr files: pip install "onnxwalk[zarr]"'
        raise InvalidInputError(message) from None
    try:
        found = zarr.open(str(path), mode="r")
        if hasattr(found, "shape"):
            return ZarrRows(found, str(path))
        return {name: ZarrRows(array, f"{path}, array {name!r}") for name, array in found.arrays()}
    except Exception as error:  # zarr's own, and those of stores
        raise InvalidInputError(f"{path}: not a Zarr array or group: {error}") from error
