"""The one exception that leaves this package, and how a missing package is reported."""

from __future__ import annotations

import importlib
from types import ModuleType

INSTALL = 'pip install "onnxwalk[export]"'


class ExportError(ValueError):
    """A model that can't be exported, or was exported wrongly; the message is one line."""


def require(*names: str) -> tuple[ModuleType, ...]:
    """The modules of these names. Raises ExportError that says what to install."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            raise ExportError(f"export needs {error.name or name}: {INSTALL}") from error
        except ImportError as error:
            raise ExportError(f"{name} is installed but broken: {one_line(error)}") from error
    return tuple(modules)


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """The first sentence-like line of a message: Keras and TensorFlow write whole pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    # a heading such as "Error when deserializing:" says nothing without what follows it
    if text.endswith(":") and len(lines) > 1:
        text = f"{text} {lines[1]}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
