"""The values of one input, given out in pieces along the first axis so that a file larger than
memory can be run: each kind of source reads a piece when it is asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError


class Rows(Protocol):
    """What a run reads an input from."""

    #: along the first axis; ``None``: can't be split (no axis, or no array at all)
    length: int | None
    #: of each row, for people: the names of image files
    names: list[str] | None

    def pieces(self, size: int) -> Iterator[Any]:
        """The rows in order, at most ``size`` at a time; all at once if they can't be split."""
        ...


class ArrayRows:
    """An array, or a memory map, which is read only where a piece needs it."""

    names: list[str] | None = None

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.length: int | None = len(array) if array.ndim else None

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Views (≤ size, …)."""
        if self.length is None or self.length <= size:
            yield np.asarray(self.array)
            return
        for start in range(0, self.length, size):
            yield np.asarray(self.array[start : start + size])


class ListRows:
    """A value that is no tensor: a sequence."""

    length: int | None = None
    names: list[str] | None = None

    def __init__(self, value: list[Any]) -> None:
        self.value = value

    def pieces(self, size: int) -> Iterator[list[Any]]:
        """The value itself."""
        yield self.value


class MemberRows:
    """An array in an .npz file, unpacked as its rows are asked for.

    Raises InvalidInputError for what is no array of numbers or text.
    """

    names: list[str] | None = None

    def __init__(self, path: Path, member: str) -> None:
        self.path, self.member = path, member
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            self.shape, self.fortran, self.dtype = _header(file, self.where)
        self.length = self.shape[0] if self.shape else None

    @property
    def where(self) -> str:
        """The file and the array in it, for messages."""
        return f"{self.path}, array {self.member.removesuffix('.npy')!r}"

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, …). One in Fortran order has no row in one piece: it is read whole."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                if self.length is None or self.length <= size or self.fortran:
                    whole = np.lib.format.read_array(file, allow_pickle=False)
                    yield from ArrayRows(whole).pieces(size)
                    return
                _header(file, self.where)
                for start in range(0, self.length, size):
                    shape = (min(size, self.length - start), *self.shape[1:])
                    yield self._next(file, shape)
        except InvalidInputError:
            raise
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InvalidInputError(f"{self.where}: damaged: {error}") from error

    def _next(self, file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
        piece = np.empty(shape, self.dtype)
        data = file.read(piece.nbytes)
        if len(data) < piece.nbytes:
            raise ValueError("the file ends before the array does")
        piece.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
        return piece


def open_npy(path: Path) -> np.ndarray:
    """A read-only memory map of an .npy file. Raises InvalidInputError."""
    try:
        with open(path, "rb") as file:
            shape, _, _ = _header(file, str(path))
        if 0 in shape:  # nothing to map
            return np.load(path, allow_pickle=False)
        return np.lib.format.open_memmap(path, mode="r")
    except InvalidInputError:
        raise
    except (ValueError, EOFError) as error:
        raise InvalidInputError(f"{path}: no .npy file, or a damaged one: {error}") from error


def npz_members(path: Path) -> dict[str, MemberRows]:
    """The arrays of an .npz file by name. Raises InvalidInputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): MemberRows(path, name) for name in members}
    except InvalidInputError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"{path}: no .npz file, or a damaged one: {error}") from error


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype. Raises ValueError; InvalidInputError for
    arrays of Python objects."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:  # 3.0 is there for field names alone
        raise ValueError(f"version {version[0]}.{version[1]} of the format holds no plain array")
    if dtype.hasobject:
        raise InvalidInputError(
            f"{where}: Python objects (a pickle), which could run any program as they are read; "
            "save numbers, or text as numpy.array(…, dtype=str)"
        )
    return shape, fortran, dtype
