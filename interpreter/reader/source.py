"""Where a model's bytes come from: a path (memory-mapped), bytes, a binary file, a ModelProto;
and the external data beside it, which must be an ordinary file inside the model's folder."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError, InvalidModelError, UnsupportedModelError


class Source:
    """The bytes of a model, its name for messages, and the folder of its external data."""

    def __init__(self, data: memoryview, name: str, folder: Path | None) -> None:
        self.data = data
        self.name = name
        self.folder = folder
        self._external: dict[str, memoryview] = {}

    @property
    def maps(self) -> tuple[memoryview, ...]:
        """What has been read from so far."""
        return (self.data, *self._external.values())

    @classmethod
    def open(cls, model: Any) -> Source:
        """From a path, bytes, a binary file object or anything with ``SerializeToString``.

        Raises InvalidInputError for other types and for files that can't be read.
        """
        if isinstance(model, (str, os.PathLike)):
            path = Path(model)
            return cls(map_file(path), str(path), path.parent)
        if isinstance(model, (bytes, bytearray, memoryview)):
            return cls(memoryview(model).cast("B").toreadonly(), "model from bytes", None)
        if hasattr(model, "SerializeToString"):  # onnx.ModelProto, without importing onnx
            return cls(memoryview(model.SerializeToString()), "model from ModelProto", None)
        if hasattr(model, "read"):
            data = model.read()
            if not isinstance(data, bytes):
                raise InvalidInputError("the file object gives text: open it in binary mode, 'rb'")
            return cls(memoryview(data), str(getattr(model, "name", "model from a file")), None)
        raise InvalidInputError(
            f"can't load {type(model).__name__}: give a path, bytes, a binary file or a ModelProto"
        )

    def external(self, fields: dict[str, Any]) -> memoryview:
        """The bytes that a TensorProto's ``external_data`` points at.

        Raises InvalidModelError for a location outside the model's folder, links, ranges beyond
        the file and a checksum that differs.
        """
        entries = {e.get("key", ""): e.get("value", "") for e in fields.get("external_data", [])}
        location = entries.get("location", "")
        if self.folder is None:
            raise UnsupportedModelError(
                f"tensor '{fields.get('name', '')}' is stored in '{location}' beside the model: "
                "load the model by its path"
            )
        if location not in self._external:
            path = _inside(self.folder, location)
            try:
                self._external[location] = map_file(path)
            except InvalidInputError as error:
                raise ValueError(str(error)) from None
        data = self._external[location]
        offset = _number(entries, "offset", 0)
        length = _number(entries, "length", max(0, len(data) - offset))
        if offset + length > len(data):
            raise ValueError(
                f"bytes {offset} to {offset + length} of '{location}', which has {len(data)}"
            )
        checksum = entries.get("checksum", "").lower()
        if checksum and _sha1(data) != checksum:
            raise ValueError(f"the SHA-1 of '{location}' is not its checksum {checksum}")
        return data[offset : offset + length]


def map_file(path: Path) -> memoryview:
    """A read-only memory map of an ordinary file. Raises InvalidInputError."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInputError(f"{path}: not an ordinary file")
            if status.st_size == 0:
                return memoryview(b"")
            try:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # file systems without memory maps
                return memoryview(file.read())
            return memoryview(mapped)
    except InvalidInputError:
        raise
    except IsADirectoryError:
        raise InvalidInputError(f"{path}: a folder, not a file") from None
    except FileNotFoundError:
        raise InvalidInputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"{path}: can't be read: {reason}") from None


def release_pages(maps: Iterable[memoryview]) -> None:
    """Give the pages of memory maps back: weights that a file doesn't align were copied, and need
    them no more; others are read again when they are used."""
    for view in maps:
        if isinstance(view.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            view.obj.madvise(mmap.MADV_DONTNEED)


def _without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe must not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _inside(folder: Path, location: str) -> Path:
    """The path of an external file, if it is an ordinary file of this folder and no link."""
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if not parts or location.startswith("/") or windows.drive or windows.root:
        raise ValueError(f"external data at '{location}': must be a path within the model's folder")
    if ".." in parts or "\\" in location or "\0" in location:
        raise ValueError(f"external data at '{location}': must not leave the model's folder")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise ValueError(f"external data at '{location}': symbolic links are not followed")
    with contextlib.suppress(OSError):  # a missing file is reported where it is opened
        if path.is_file() and path.stat().st_nlink > 1:
            raise ValueError(f"external data at '{location}': hard links are not followed")
    return path


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"external data: {key} '{text[:40]}' is not a number")
    return int(text)


def refuse_other_formats(data: memoryview) -> None:
    """Raise InvalidModelError if the bytes are another well-known format's, saying which."""
    start = bytes(data[:16])
    for magic, at, what in (
        (b"\x89HDF", 0, "an HDF5 file (Keras weights or a legacy Keras model)"),
        (b"PK\x03\x04", 0, "a zip archive (a .keras model, or a PyTorch file)"),
        (b"\x93NUMPY", 0, "a NumPy array"),
        (b"\x89PNG", 0, "a picture"),
        (b"\xff\xd8\xff", 0, "a picture"),
        (b"ORTM", 4, "ONNX Runtime's own .ort format"),
        (b"TFL3", 4, "a TensorFlow Lite file"),
        (b"version https:/", 0, "a Git LFS pointer: fetch the file itself with 'git lfs pull'"),
    ):
        if start[at : at + len(magic)] == magic:
            keras = "; export it first: python -m export MODEL" if "keras" in what.lower() else ""
            raise InvalidModelError(f"not an ONNX model but {what}{keras}")


def _sha1(data: memoryview) -> str:
    import hashlib  # few files have checksums

    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
