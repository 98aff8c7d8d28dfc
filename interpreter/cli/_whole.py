"""Text files that are there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from interpreter.errors import InvalidInputError


def write(path: Path, text: str) -> None:
    """Write a file beside its name, then rename it. Raises InvalidInputError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InvalidInputError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
