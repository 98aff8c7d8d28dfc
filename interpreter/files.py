"""Writing files and folders atomically: afterwards they are complete, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError


def as_path(path: Any) -> Path:
    """The path of a file. Raises InvalidInputError for anything else."""
    try:
        return Path(os.fsdecode(path))
    except TypeError:
        raise InvalidInputError(f"expected the path of a file, not {path!r}") from None


#: whether a file that is open or mapped can't be replaced
KEEPS_OPEN_FILES = os.name == "nt"


def write_file(path: Path, content: str | bytes) -> None:
    """Write text or bytes atomically. Raises InvalidInputError."""
    with replace_atomically(path) as part, translate_os_errors(path):
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def check_folder(path: Path) -> None:
    """Raise InvalidInputError if the folder in which ``path`` is to be written doesn't exist."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise InvalidInputError(f"{path}: folder {folder} not found")


def check_writable(path: Path) -> None:
    """Raise InvalidInputError unless a file can be written at ``path``, which stays as it is."""
    with translate_os_errors(path):
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        open(part, "xb").close()
        part.unlink()


@contextlib.contextmanager
def replace_atomically(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a new empty file or folder next to ``path``, which replaces ``path`` at the end.

    ``path`` may be a file or an empty folder already; it is unchanged after an error. Where it is a
    link, its target is replaced. Raises InvalidInputError if nothing can be written: at the start,
    before anything is computed.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with translate_os_errors(path):
            part.mkdir() if folder else open(part, "xb").close()
        yield part
        with translate_os_errors(path):
            if folder and target.is_dir():
                target.rmdir()
            move_into_place(part, target)
    finally:
        if folder:
            import shutil  # where it is needed: it imports the decompressors

            shutil.rmtree(part, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                part.unlink()


def move_into_place(part: Path, target: Path) -> None:
    """Rename ``part`` to ``target``, which it replaces. Raises OSError, which says so where Windows
    refuses because a program has the target open."""
    try:
        os.replace(part, target)
    except PermissionError as error:
        if KEEPS_OPEN_FILES and target.is_file():
            reason = (
                "a program has it open, as a model that is loaded; close it, or write elsewhere"
            )
            raise PermissionError(error.errno, reason) from error
        raise


@contextlib.contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Turn any OSError in the ``with`` block into an InvalidInputError that names the path."""
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"{path}: can't be written: {error.strerror or error}") from error
