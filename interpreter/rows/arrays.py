"""The rows of one input, read in pieces along the first axis, so that a file may be larger than
memory."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError


class Rows(Protocol):
    """The source of an input's values."""

    #: number of rows; ``None`` for scalars and sequences, which can't be split
    length: int | None
    #: a name for each row in the summary, as those of image files
    names: list[str] | None

    def pieces(self, size: int) -> Iterator[Any]:
        """The rows in order, at most ``size`` at a time; all at once if they can't be split."""
        ...


class ArrayRows:
    """The rows of an array or a memory map."""

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
    """A sequence, which can't be split."""

    length: int | None = None
    names: list[str] | None = None

    def __init__(self, value: list[Any]) -> None:
        self.value = value

    def pieces(self, size: int) -> Iterator[list[Any]]:
        """The value itself."""
        yield self.value


class JoinedRows:
    """The rows of several sources, one after the other."""

    def __init__(self, parts: Sequence[Rows], origins: Sequence[str]) -> None:
        """Raises InvalidInputError for a source without rows. ``origins``: for messages."""
        for part, origin in zip(parts, origins, strict=True):
            if part.length is None:
                raise InvalidInputError(f"{origin}: a value without rows can't be joined to others")
        self._parts, self._origins = parts, origins
        self.length: int | None = sum(part.length or 0 for part in parts)
        names = [part.names for part in parts]
        self.names = [n for part in names if part for n in part] if all(names) else None

    @property
    def notes(self) -> list[str]:
        """Those of the sources."""
        return [note for part in self._parts for note in getattr(part, "notes", ())]

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, …), which may come from several sources."""
        return regrouped(self._pieces(size), size)

    def _pieces(self, size: int) -> Iterator[np.ndarray]:
        first: tuple[int, ...] | None = None
        for part, origin in zip(self._parts, self._origins, strict=True):
            for piece in part.pieces(min(size, part.length or 1)):
                if piece.shape[1:] != (first := piece.shape[1:] if first is None else first):
                    raise InvalidInputError(
                        f"{origin}: rows of shape {piece.shape[1:]}, but {self._origins[0]} has "
                        f"{first}"
                    )
                yield piece


def regrouped(pieces: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows, ``size`` at a time; fewer in the last piece."""
    kept: list[np.ndarray] = []
    for piece in pieces:
        kept.append(piece)
        while sum(map(len, kept)) >= size:
            joined = np.concatenate(kept) if len(kept) > 1 else kept[0]
            yield joined[:size]
            kept = [joined[size:]] if len(joined) > size else []
    if kept:
        yield np.concatenate(kept) if len(kept) > 1 else kept[0]


class ConstantRows:
    """One value for every row: ``value`` has one row, of which there are ``length``."""

    names: list[str] | None = None

    def __init__(self, value: np.ndarray, length: int) -> None:
        self._value = value
        self.length: int | None = length

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Views (≤ size, …)."""
        for start in range(0, self.length or 0, size):
            rows = min(size, (self.length or 0) - start)
            yield np.broadcast_to(self._value, (rows, *self._value.shape[1:]))


class MemberRows:
    """An array in an .npz file, decompressed as its rows are read.

    Raises InvalidInputError for anything but an array of numbers or text.
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
        """Arrays (≤ size, …). In Fortran order no row is contiguous: all are read at once."""
        with (
            _name_errors(f"{self.where}: damaged"),
            zipfile.ZipFile(self.path) as archive,
            archive.open(self.member) as file,
        ):
            if self.length is None or self.length <= size or self.fortran:
                with _quietly():
                    array = np.lib.format.read_array(file, allow_pickle=False)
                yield from ArrayRows(array).pieces(size)
                return
            _header(file, self.where)
            for start in range(0, self.length, size):
                yield self._read(file, (min(size, self.length - start), *self.shape[1:]))

    def _read(self, file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
        piece = np.empty(shape, self.dtype)
        data = file.read(piece.nbytes)
        if len(data) < piece.nbytes:
            raise ValueError("the file ends before the array does")
        piece.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
        return piece


def open_npy(path: Path) -> np.ndarray:
    """A read-only memory map of an .npy file. Raises InvalidInputError."""
    with _name_errors(f"{path}: not an .npy file, or damaged"):
        with open(path, "rb") as file:
            shape, _, _ = _header(file, str(path))
        if 0 in shape:  # an empty file can't be mapped
            return np.load(path, allow_pickle=False)
        with _quietly():
            return np.lib.format.open_memmap(path, mode="r")


def npz_members(path: Path) -> dict[str, MemberRows]:
    """The arrays of an .npz file by name. Raises InvalidInputError."""
    with _name_errors(f"{path}: not an .npz file, or damaged"):
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): MemberRows(path, name) for name in members}


@contextlib.contextmanager
def _name_errors(message: str) -> Iterator[None]:
    """Turn the errors of a damaged file into InvalidInputError."""
    try:
        yield
    except InvalidInputError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"{message}: {error}") from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without NumPy's warnings of headers that Python 2 wrote, or that are damaged so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order, and dtype. Raises ValueError, and InvalidInputError for arrays of
    Python objects."""
    version = np.lib.format.read_magic(file)
    with _quietly():
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:  # 3.0 is for structured arrays only
            raise ValueError(f"version {version[0]}.{version[1]} of the format isn't supported")
    if dtype.hasobject:
        raise InvalidInputError(
            f"{where}: an array of Python objects (a pickle), which is unsafe to load; save "
            "numbers, or text as numpy.array(…, dtype=str)"
        )
    return shape, fortran, dtype
