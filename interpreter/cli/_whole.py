"""Files that are there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from onnxwalk.interpreter.errors import InvalidInputError


def write(path: Path, text: str) -> None:
    """Write text beside its name, then rename it. Raises InvalidInputError."""
    with beside(path) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name to write to, which is renamed to ``path`` at the end. Raises InvalidInputError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with explained(path):
            yield part
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the file system refuses meanwhile, as an InvalidInputError that names the path."""
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"{path}: can't be written: {error.strerror or error}") from error
