"""Opens a model: a path (memory-mapped), bytes, a binary file or a ModelProto; and its external
data, which must be regular files inside the model's folder."""

from __future__ import annotations

import functools
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from onnxwalk.interpreter.errors import InvalidInputError, NotOnnxError, UnsupportedModelError
from onnxwalk.interpreter.files import KEEPS_OPEN_FILES

try:
    import mmap
except ImportError:  # WebAssembly: files are read
    mmap = None  # type: ignore[assignment]

#: the most bytes of a file that is read where a map would keep it from being replaced
_COPIED = 1 << 28

_Self = TypeVar("_Self", bound="Source")


class Source:
    """The bytes of a model, its name for messages, and the folder of its external data."""

    def __init__(
        self,
        data: memoryview,
        name: str,
        path: Path | None = None,
        status: os.stat_result | None = None,
    ) -> None:
        """``path``: of the model, of which only the folder matters without ``status``, that of the
        file that ``data`` was read from."""
        self.data = data
        self.name = name
        self.path = path
        self._status = status
        self._external: dict[str, memoryview] = {}
        self._files = (
            [] if path is None or status is None else [(os.path.abspath(path), stamp(status))]
        )

    @property
    def maps(self) -> tuple[memoryview, ...]:
        """The memory of all files that have been opened."""
        return (self.data, *self._external.values())

    @property
    def files(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Their paths, and the stamp that each had when it was opened."""
        return tuple(self._files)

    @classmethod
    def open(cls: type[_Self], model: Any) -> _Self:
        """From a path, bytes, a binary file object or anything with ``SerializeToString``.

        Raises InvalidInputError for other types and for files that can't be read.
        """
        if isinstance(model, (str, os.PathLike)):
            path = Path(model)
            data, status = _map(path, _open_without_blocking)
            return cls(data, str(path), path, status)
        if isinstance(model, (bytes, bytearray, memoryview)):
            return cls(memoryview(model).cast("B").toreadonly(), "model from bytes")
        if hasattr(model, "SerializeToString"):  # onnx.ModelProto, without importing onnx
            return cls(memoryview(model.SerializeToString()), "model from ModelProto")
        if hasattr(model, "read"):
            try:
                data = model.read()
            except (OSError, ValueError) as error:  # closed, or opened for writing
                raise InvalidInputError(f"the file object can't be read: {error}") from None
            if not isinstance(data, bytes):
                raise InvalidInputError(
                    "the file object returns text: open it in binary mode, 'rb'"
                )
            return cls(memoryview(data), str(getattr(model, "name", "model from a file")))
        raise InvalidInputError(
            f"can't load {type(model).__name__}: give a path, bytes, a binary file or a ModelProto"
        )

    def _open(self, parts: tuple[str, ...], path: str, flags: int) -> int:
        """Open external data: through no link, or through one to a file next to the model's real
        file. Raises InvalidInputError for other links, OSError.

        Caches keep files under names of their own and link to them from the folder of a version,
        model and external data alike, as huggingface_hub does; ONNX Runtime follows such links as
        well. Links may change while this looks at them: what is opened is decided by folders that
        are held open, of which the second is known by the model's file in it.
        """
        assert self.path is not None
        with _Folder(self.path.parent) as folder:
            if not folder.is_link(parts):
                return folder.open(parts, flags)
        model, target = self.path.resolve(), Path(path).resolve()
        home = self.path.parent.resolve() if self._status is None else model.parent
        if target.parent == home:
            with _Folder(home) as folder:
                if self._status is None or os.path.samestat(
                    folder.status(model.name), self._status
                ):
                    return folder.open((target.name,), flags)
        raise InvalidInputError(
            f"external data at '{'/'.join(parts)}': symbolic links are followed only to files next "
            "to the model's real file"
        )

    def external(self, fields: dict[str, Any]) -> memoryview:
        """The bytes that a TensorProto's ``external_data`` refers to.

        Raises ValueError for a location outside the model's folder, links, ranges beyond the file
        and a wrong checksum; UnsupportedModelError if the model wasn't opened by its path.
        """
        entries = {e.get("key", ""): e.get("value", "") for e in fields.get("external_data", [])}
        location = entries.get("location", "")
        if self.path is None:
            raise UnsupportedModelError(
                f"tensor '{fields.get('name', '')}' is stored in the file '{location}': "
                "load the model by its path"
            )
        if location not in self._external:
            folder, parts = self.path.parent, _parts(location)
            try:
                self._external[location], status = _map(
                    folder.joinpath(*parts), functools.partial(self._open, parts)
                )
            except InvalidInputError as error:
                raise ValueError(str(error)) from None
            if status.st_nlink > 1:
                raise ValueError(f"external data at '{location}': hard links are not followed")
            self._files.append((os.path.abspath(folder.joinpath(*parts)), stamp(status)))
        data = self._external[location]
        offset = _number(entries, "offset", 0)
        length = _number(entries, "length", max(0, len(data) - offset))
        if offset + length > len(data):
            raise ValueError(
                f"external data: bytes {offset} to {offset + length} of '{location}', "
                f"which has {len(data)}"
            )
        checksum = entries.get("checksum", "").lower()
        if checksum:
            import hashlib  # few files have checksums

            if hashlib.sha1(data, usedforsecurity=False).hexdigest() != checksum:
                raise ValueError(f"the SHA-1 of '{location}' is not the checksum {checksum}")
        return data[offset : offset + length]


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """What tells a file from another one, and, but for the first two, from itself once it has been
    written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _map(path: Path, opener: Callable[[str, int], int]) -> tuple[memoryview, os.stat_result]:
    """A read-only memory map of a regular file, and the status of what was opened. Raises
    InvalidInputError.

    On Windows, a file that isn't large is read, so that it can be exported anew while it is loaded.
    """
    try:
        with open(path, "rb", opener=opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInputError(f"{path}: not a regular file")
            if status.st_size == 0:
                return memoryview(b""), status
            if mmap is None or (KEEPS_OPEN_FILES and status.st_size <= _COPIED):
                return memoryview(file.read()), status
            try:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # file systems without memory maps
                return memoryview(file.read()), status
            return memoryview(mapped), status
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
    """Release the resident pages of memory maps: unaligned weights have been copied, and others are
    read again when they are used."""
    for view in maps if hasattr(mmap, "MADV_DONTNEED") else ():
        if isinstance(view.obj, mmap.mmap):
            view.obj.madvise(mmap.MADV_DONTNEED)


def _open_without_blocking(path: str, flags: int) -> int:
    """Opening a named pipe must not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _parts(location: str) -> tuple[str, ...]:
    """The components of a location. Raises ValueError if it leads out of the model's folder."""
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if not parts or location.startswith("/") or windows.drive or windows.root:
        raise ValueError(f"external data at '{location}': must be a path within the model's folder")
    if ".." in parts or "\\" in location or "\0" in location:
        raise ValueError(f"external data at '{location}': must not leave the model's folder")
    return parts


#: whether files can be opened from within a folder that is open already, without following links
_CAN_PIN = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
#: opens a folder; with O_PATH also one whose files may be opened but not listed
_AS_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", os.O_RDONLY)


class _Folder:
    """A folder that is held open, so that it remains the same one whatever becomes of its path.
    Where the system can't do that (Windows), it is looked up by its path each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = os.open(path, _AS_FOLDER) if _CAN_PIN else -1

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *error: object) -> None:
        if _CAN_PIN:
            os.close(self._place)

    def status(self, name: str) -> os.stat_result:
        """The status of a file, or of the link, in it."""
        if _CAN_PIN:
            return os.stat(name, dir_fd=self._place, follow_symlinks=False)
        return os.stat(self._path / name, follow_symlinks=False)

    def is_link(self, parts: Sequence[str]) -> bool:
        """Whether any component of a path from here is a link."""
        paths = itertools.accumulate(parts, os.path.join)
        return any((self._path / path).is_symlink() for path in paths)

    def open(self, parts: Sequence[str], flags: int) -> int:
        """Open a file in it, through no link. Raises OSError."""
        if not _CAN_PIN:
            return _open_without_blocking(str(self._path.joinpath(*parts)), flags)
        place = os.dup(self._place)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _AS_FOLDER | os.O_NOFOLLOW, dir_fd=place)
                place, outer = inner, place
                os.close(outer)
            flags |= os.O_NOFOLLOW | os.O_NONBLOCK
            return os.open(parts[-1], flags, dir_fd=place)
        finally:
            os.close(place)


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"external data: {key} '{text[:40]}' is not a number")
    return int(text)


#: what other files begin with, at a position: what they are
_MAGIC = (
    (b"\x89HDF", 0, "an HDF5 file (Keras weights or a legacy Keras model)"),
    (b"PK\x03\x04", 0, "a zip archive (a .keras model, or a PyTorch file)"),
    (b"\x93NUMPY", 0, "a NumPy array"),
    (b"\x89PNG", 0, "an image"),
    (b"\xff\xd8\xff", 0, "an image"),
    (b"ORTM", 4, "ONNX Runtime's own .ort format"),
    (b"TFL3", 4, "a TensorFlow Lite file"),
    (b"GGUF", 0, "a GGUF file"),
    (b'{"', 8, "a safetensors file"),
    (b"\x80\x02", 0, "a pickle (an old PyTorch file)"),
    (b"\x1f\x8b", 0, "a gzip file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd file: unpack it first"),
    (b"\xfd7zXZ", 0, "an xz file: unpack it first"),
    (b"version https:/", 0, "a Git LFS pointer: fetch the file itself with 'git lfs pull'"),
)

#: what text begins with, and what it is
_TEXTS = (
    (b"<", "a web page or XML text: the download may have failed"),
    (
        b"{",
        "JSON text: an error instead of a download, or a model in protobuf's JSON form, "
        "which onnx.load(path, format='json') reads",
    ),
    (
        b"ir_version",
        "a model in protobuf's text form, which onnx.load(path, format='textproto') reads",
    ),
)


def refuse_other_formats(data: memoryview) -> None:
    """Raise NotOnnxError if the bytes are in another well-known format."""
    start = bytes(data[:64])
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = [what for magic, at, what in _MAGIC if start[at : at + len(magic)] == magic]
    found += [what for beginning, what in _TEXTS if text.startswith(beginning)]
    if found:
        keras = "; export it first: onnxwalk-export MODEL" if "keras" in found[0].lower() else ""
        raise NotOnnxError(f"not an ONNX model but {found[0]}{keras}")
