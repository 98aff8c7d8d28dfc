"""Limits on the command line: an option for each field of ``Limits``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from onnxwalk.interpreter.budget import Budget
from onnxwalk.interpreter.limits import Limits, format_bytes, parse_bytes

_WHAT: dict[str, tuple[str, str]] = {
    "max_memory": ("SIZE", "memory at once beyond the weights, as 2GiB"),
    "max_tensor_bytes": ("SIZE", "memory of any one tensor"),
    "max_seconds": ("S", "time for loading the model, and for each run of it"),
    "max_loop_iterations": ("N", "how often the bodies of all loops are run, together"),
    "max_nodes": ("N", "nodes, with those of subgraphs and of every call of a function"),
    "max_nesting": ("N", "how deep subgraphs and calls of functions nest"),
    "max_string_bytes": ("SIZE", "bytes of the strings of any one tensor"),
}


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    group = parser.add_argument_group(
        "limits", "what is over one of them is refused; 'none' switches one off"
    )
    defaults = Limits()
    for name, (metavar, what) in _WHAT.items():
        default = getattr(defaults, name)
        shown = "none" if default is None else f"{default:,}"
        if default is not None and metavar == "SIZE":
            shown = format_bytes(default) + (
                ", half of the machine's" if name == "max_memory" else ""
            )
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=_limit(metavar),
            default=default,
            metavar=metavar,
            help=f"{what} (default: {shown})",
        )


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits that a command line gives."""
    return Limits(**{name: getattr(args, name) for name in _WHAT})


def budget_of(args: argparse.Namespace) -> Budget:
    """What a command may use up by other than loading and running."""
    return Budget(limits_of(args))


def _limit(metavar: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text.lower() == "none":
            return None
        if metavar == "SIZE":
            try:
                return parse_bytes(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from None
        try:
            value = float(text) if metavar == "S" else int(text.replace(",", ""))
        except ValueError:
            value = -1
        if not value >= 0:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on, and not 'none'")
        return value

    return parse
