"""``onnxwalk-export completion``: a script with which a shell completes the command line."""

from __future__ import annotations

from collections.abc import Sequence

from onnxwalk.export.errors import run_command
from onnxwalk.interpreter.cli._completion import SHELLS, script
from onnxwalk.interpreter.cli._parser import Parser


def main(arguments: Sequence[str]) -> int:
    """Print the script; returns the exit status."""
    from onnxwalk.export.cli import build_parser

    parser = Parser(prog="onnxwalk-export completion", description=__doc__)
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    shell = parser.parse_args(arguments).shell
    return run_command(lambda: print(script(build_parser(), shell)) or 0, debug=False)
