"""The command line: ``onnxwalk COMMAND``, or ``python -m interpreter COMMAND``.

Each file of this folder without a leading underscore is a command: it has ``add_parser(commands)``,
which adds an argparse parser whose default ``run`` is a function of the parsed arguments that
returns the exit status, and may have a default ``failure``, that after an error. A new file needs
no mention here.

Exit status: 0, 1 after an error (one line on stderr; 2 in commands for which 1 means that things
differ), 2 for a command line that argparse refuses, 130 after Ctrl-C, 141 when what reads the
output stopped reading.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

import onnxwalk
from onnxwalk.interpreter.cli._show import printable
from onnxwalk.interpreter.errors import OnnxWalkError, wrap_error

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Only argparse itself ends the process."""
    # A name that the output's encoding lacks must not end a command halfway.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    debug, failure = False, 1
    try:
        args = _parser().parse_args(argv)
        debug, failure = args.debug, getattr(args, "failure", 1)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _discard_output()
        return 141
    except Exception as error:
        if debug:
            raise
        print(f"onnxwalk: {printable(_one_line(error))}", file=sys.stderr)
        return failure


def _parser() -> argparse.ArgumentParser:
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
        _add_debug(command, default=argparse.SUPPRESS)  # or it would undo one before the command
    return parser


def _add_debug(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=default, help="show the traceback of an error"
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return f"{name}{error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory; --batch N runs a large input in pieces"
    if not isinstance(error, (OnnxWalkError, OSError)):
        error = wrap_error(error, "this command")
    return " ".join(str(error).split())


def _discard_output() -> None:
    """Point stdout at nothing, or Python complains about the pipe once more as it ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
