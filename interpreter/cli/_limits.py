"""Limits on the command line: an option for each field of ``Limits``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from onnxwalk.interpreter.limits import Limits, format_bytes, parse_bytes

_OPTIONS: dict[str, tuple[str, str]] = {
    "max_memory": ("SIZE", "memory at any time in addition to the weights, such as 2GiB"),
    "max_tensor_bytes": ("SIZE", "memory of any one tensor"),
    "max_seconds": ("S", "time for loading the model, and for each run of it"),
    "max_loop_iterations": ("N", "iterations of all loops together"),
    "max_nodes": ("N", "nodes, including those of subgraphs and of every function call"),
    "max_nesting": ("N", "nesting depth of subgraphs and function calls"),
    "max_string_bytes": ("SIZE", "bytes of all strings in any one tensor"),
}


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    group = parser.add_argument_group(
        "limits", "a load or run that exceeds one of them is stopped; 'none' switches one off"
    )
    defaults = Limits()
    for name, (metavar, text) in _OPTIONS.items():
        default = getattr(defaults, name)
        shown = "none" if default is None else f"{default:,}"
        if default is not None and metavar == "SIZE":
            shown = format_bytes(default) + (
                ", half of the machine's" if name == "max_memory" else ""
            )
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=_parser_of(metavar),
            default=default,
            metavar=metavar,
            help=f"{text} (default: {shown})",
        )


def get_limits(args: argparse.Namespace) -> Limits:
    """The limits that the options of ``add_limits`` stand for."""
    return Limits(**{name: getattr(args, name) for name in _OPTIONS})


def parse_size(text: str) -> int:
    """The type of an argument that is a number of bytes, such as 64MiB."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser_of(metavar: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text.lower() == "none":
            return None
        if metavar == "SIZE":
            return parse_size(text)
        try:
            value = float(text) if metavar == "S" else int(text.replace(",", ""))
        except ValueError:
            value = -1
        if not value >= 0:
            raise argparse.ArgumentTypeError(f"expected a number from 0 on, or none, got {text!r}")
        return value

    return parse
