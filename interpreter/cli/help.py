"""``onnxwalk help``: the help of a command."""

from __future__ import annotations

import argparse
from typing import Any

from onnxwalk.interpreter.cli import main
from onnxwalk.interpreter.cli._arguments import add_command


def add_parser(commands: Any) -> None:
    """Add ``help`` to the commands."""
    text = "show the help of a command"
    parser = add_command(commands, "help", run, text, "The same as `onnxwalk COMMAND --help`.")
    parser.add_argument("topic", nargs="?", metavar="COMMAND", help="default: list the commands")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    return main([*([args.topic] if args.topic else []), "--help"])
