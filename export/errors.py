"""The exception of the exporter, and the handling of errors by its commands."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from types import ModuleType

from onnxwalk.interpreter import interrupts
from onnxwalk.interpreter.errors import OnnxWalkError
from onnxwalk.interpreter.streams import discard_output, open_standard_streams

#: how Keras begins a page about an error in a layer's call
_KERAS_HEADING = "Exception encountered when"

INSTALL = 'pip install "onnxwalk[{}]"'


class ExportError(OnnxWalkError, ValueError):
    """A model that can't be exported, or was exported wrongly; the message is one line."""

    def __init__(self, message: str) -> None:
        # Keras raises the error that a layer's call raises again, with a page as its message
        is_page = message.startswith(_KERAS_HEADING)
        super().__init__(one_line(message, limit=len(message)) if is_page else message)


def require(*names: str, extra: str = "export") -> tuple[ModuleType, ...]:
    """Import these modules. Raises ExportError that names the ``extra`` to install."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            install = INSTALL.format(extra)
            raise ExportError(f"{extra} needs {error.name or name}: {install}") from error
        except ImportError as error:
            raise ExportError(f"{name} is installed but broken: {one_line(error)}") from error
    return tuple(modules)


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """The first meaningful line of a message: those of Keras and TensorFlow fill pages."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # Keras prints in bold
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    # a heading is useless without the next line
    if len(lines) > 1 and (text.endswith(":") or text.startswith(_KERAS_HEADING)):
        text = f"{text} {lines[1]}"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def run_command(command: Callable[[], int], *, debug: bool, stopped: str = "interrupted") -> int:
    """Run a command and return its exit status; 1 after an error, which is printed in one line or,
    with ``debug``, raised; 130 after Ctrl-C, when ``stopped`` is printed; 141 when the reader of
    the output has closed the pipe."""
    open_standard_streams()
    return interrupts.run(lambda: _run(command, debug), stopped)


def _run(command: Callable[[], int], debug: bool) -> int:
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        discard_output()
        return 141
    except Exception as error:
        if debug or interrupts.was_pressed():
            raise
        if isinstance(error, ExportError):
            print(f"error: {error}", file=sys.stderr)
        else:
            name = type(error).__name__
            print(f"error: {name}: {one_line(error)} (--debug shows where)", file=sys.stderr)
    return 1
