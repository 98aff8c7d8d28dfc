"""Scripts with which a shell completes a command line."""

from __future__ import annotations

import argparse

from onnxwalk.interpreter.optional import require

SHELLS = ("bash", "zsh", "fish")
#: how the placeholder of an argument that is a file, or a folder, ends
_FILES, _FOLDERS = ("FILE", "MODEL", "A", "B"), ("DIR", "FOLDER")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a parser with all its commands. Raises InvalidInputError without shtab."""
    shtab = require("shtab")
    _mark_files(parser, shtab)
    text: str = shtab.complete(parser, shell=shell)
    return text


def _mark_files(parser: argparse.ArgumentParser, shtab: object) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark_files(command, shtab)
        elif isinstance(action.metavar, str):
            for ends, kind in ((_FILES, "FILE"), (_FOLDERS, "DIRECTORY")):
                if action.metavar.rpartition("]")[2].endswith(ends):
                    action.complete = getattr(shtab, kind)  # type: ignore[attr-defined]
