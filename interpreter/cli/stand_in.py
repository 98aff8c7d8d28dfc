"""``onnxwalk stand-in``: write a wheel that is installed in place of onnxruntime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli._arguments import add_command
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.onnxruntime.globals import VERSION
from onnxwalk.onnxruntime.wheel import DISTRIBUTIONS, installed_original, write_wheel

_DESCRIPTION = """\
Write a wheel named onnxruntime that contains onnxwalk in its place, for programs that import or
require onnxruntime where it can't be installed:

  onnxwalk stand-in -o wheels
  pip install wheels/onnxruntime-*.whl

The program then imports onnxwalk's form of the API. "pip uninstall onnxruntime" removes it.
"""


def add_parser(commands: Any) -> None:
    """Add ``stand-in`` to the commands."""
    text = "write a wheel to install in place of onnxruntime"
    parser = add_command(commands, "stand-in", run, text, _DESCRIPTION)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="the folder for the wheels"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME",
        choices=DISTRIBUTIONS[1:],
        help="write a wheel of this name too, for programs that require it: "
        f"{', '.join(DISTRIBUTIONS[1:])}; may be repeated",
    )
    parser.add_argument(
        "--as-version",
        default=VERSION,
        metavar="VERSION",
        help=f"the version of onnxruntime that programs see (default: {VERSION})",
    )
    parser.add_argument(
        "--force", action="store_true", help="write it even if the real one is installed here"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises InvalidInputError if the real package is installed."""
    original = installed_original()
    if original and not args.force:
        raise InvalidInputError(
            f"{original} is installed here, and installing the wheel would replace it; --force "
            "writes the wheel all the same"
        )
    args.output.mkdir(parents=True, exist_ok=True)
    for name in ("onnxruntime", *dict.fromkeys(args.also)):
        print(write_wheel(args.output, name, args.as_version))
    return 0
