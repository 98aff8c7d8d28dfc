"""The command line: ``onnxwalk COMMAND``, or ``python -m interpreter COMMAND``.

Each module of this package without a leading underscore is a command and is found by its file: its
``add_parser(commands)`` calls ``add_command`` and adds the command's options.

Exit status: 0 for success; 1 after an error, which is one line on stderr (2 in commands for which
1 means that there are differences); 2 for a command line that argparse rejects; 130 after Ctrl-C;
141 when the reader of the output has closed the pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import onnxwalk
from onnxwalk.interpreter import interrupts
from onnxwalk.interpreter.cli._show import printable
from onnxwalk.interpreter.errors import OnnxWalkError, wrap_error

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Only argparse itself ends the process."""
    return interrupts.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    # A character that stdout can't encode must not end a command halfway.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    debug, failure = False, 1
    try:
        args = _build_parser().parse_args(argv)
        debug, failure = args.debug, args.failure
        with warnings.catch_warnings():  # which restores how they are shown
            warnings.showwarning = _show_warning
            status: int = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _discard_output()
        return 141
    except Exception as error:
        if debug or interrupts.was_pressed():
            raise
        print(f"onnxwalk: {printable(_message(error))}", file=sys.stderr)
        return failure


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="onnxwalk", description="Run and examine ONNX models with nothing but NumPy."
    )
    parser.add_argument("--version", action="version", version=onnxwalk.__version__)
    _add_debug(parser, default=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}").add_parser(commands)
    for command in commands.choices.values():
        _add_debug(command, default=argparse.SUPPRESS)  # keep a --debug before the command
    return parser


def _add_debug(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=default, help="show the traceback of an error"
    )


def _show_warning(
    message: Warning | str, category: Any, filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    print(f"onnxwalk: warning: {printable(' '.join(str(message).split()))}", file=sys.stderr)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return f"{name}{error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory; --batch N runs a large input N rows at a time"
    if not isinstance(error, (OnnxWalkError, OSError)):
        error = wrap_error(error, "this command")
    return " ".join(str(error).split())


def _discard_output() -> None:
    """Redirect stdout to the null device, or Python reports the broken pipe again at exit."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
