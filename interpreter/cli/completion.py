"""``onnxwalk completion``: a script with which a shell completes the command line."""

from __future__ import annotations

import argparse
from typing import Any

from onnxwalk.interpreter.cli import build_parser
from onnxwalk.interpreter.cli._arguments import add_command
from onnxwalk.interpreter.cli._completion import SHELLS, script

_DESCRIPTION = """\
Print a script with which a shell completes commands, options and files after a Tab. Needs shtab:
pip install shtab

  bash    onnxwalk completion bash > ~/.local/share/bash-completion/completions/onnxwalk
  zsh     onnxwalk completion zsh > FOLDER/_onnxwalk, where FOLDER is one of $fpath
  fish    onnxwalk completion fish > ~/.config/fish/completions/onnxwalk.fish

`onnxwalk-export completion SHELL` does the same for onnxwalk-export.
"""


def add_parser(commands: Any) -> None:
    """Add ``completion`` to the commands."""
    text = "print a script for a shell that completes the command line"
    parser = add_command(commands, "completion", run, text, _DESCRIPTION)
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    print(script(build_parser(), args.shell))
    return 0
