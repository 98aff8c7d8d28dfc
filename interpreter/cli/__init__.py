"""The command line: ``onnxwalk COMMAND``, or ``python -m interpreter COMMAND``.

Each module of this package without a leading underscore is a command and is found by its file: its
``add_parser(commands)`` calls ``add_command`` and adds the command's options.

docs/USING.md has the exit statuses.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import onnxwalk
from onnxwalk.interpreter import interrupts
from onnxwalk.interpreter.cli._feeds import name_guesses
from onnxwalk.interpreter.cli._parser import Parser
from onnxwalk.interpreter.cli._session import use_threads
from onnxwalk.interpreter.cli._show import printable
from onnxwalk.interpreter.errors import (
    OnnxWalkError,
    OperatorError,
    refuses_memory,
    wrap_error,
)
from onnxwalk.interpreter.streams import discard_output, open_standard_streams

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Only argparse itself ends the process."""
    open_standard_streams()
    return interrupts.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    # A character that stdout can't encode must not end a command halfway.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    debug, failure = False, 1
    try:
        argv = sys.argv[1:] if argv is None else argv
        parser = build_parser(next((text for text in argv if not text.startswith("-")), None))
        if not argv:
            parser.print_help(sys.stderr)
            return 2
        args = parser.parse_args(argv)
        debug, failure = args.debug, args.failure
        with warnings.catch_warnings():  # which restores how they are shown
            warnings.showwarning = _show_warning
            with use_threads(args):
                status: int = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        discard_output()
        return 141
    except Exception as error:
        if debug or interrupts.was_pressed():
            raise
        text = _message(error)
        if isinstance(error, OperatorError):  # sizes that weren't given may be the reason
            text += name_guesses(args)
        print(f"onnxwalk: {printable(text)}", file=sys.stderr)
        return failure


def build_parser(command: str | None = None) -> Parser:
    """The parser of the command line: with one command, whose import alone takes time then, or with
    all, also if none has that name."""
    parser = Parser(
        prog="onnxwalk", description="Run and examine ONNX models with nothing but NumPy."
    )
    parser.add_argument("-V", "--version", action="version", version=onnxwalk.__version__)
    _add_debug(parser, default=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    names = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    for name in [n for n in names if n.replace("_", "-") == command] or names:
        importlib.import_module(f"{__name__}.{name}").add_parser(commands)
    for added in commands.choices.values():
        _add_debug(added, default=argparse.SUPPRESS)  # keep a --debug before the command
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
    if refuses_memory(error):
        return "not enough memory; --batch N runs a large input N rows at a time"
    if not isinstance(error, (OnnxWalkError, OSError)):
        error = wrap_error(error, "this command")
    return " ".join(str(error).split())
