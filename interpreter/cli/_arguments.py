"""What the commands' parsers share: the command itself, common options, and types of arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from onnxwalk.interpreter.compiler.passes import REWRITES
from onnxwalk.interpreter.errors import InvalidInputError


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
    description: str,
    *,
    epilog: str | None = None,
    failure: int = 1,
) -> argparse.ArgumentParser:
    """Add a command: ``run`` returns the exit status, ``failure`` is the status after an error."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, failure=failure, parser=parser)
    return parser


def add_repeated(parser: argparse.ArgumentParser, *flags: str, metavar: str, help: str) -> None:
    """Add an option that may be repeated; its values are a list."""
    text = f"{help}; may be repeated"
    parser.add_argument(*flags, action="append", default=[], metavar=metavar, help=text)


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which rewrites are applied and how the model is run."""
    parser.add_argument(
        "--no-optimize",
        action="store_true",
        help="run the file as written: --rewrites none --executor walk",
    )
    parser.add_argument(
        "--rewrites",
        type=_parse_names,
        metavar="NAME,…",
        help=f"apply only these rewrites, or none: {', '.join(REWRITES)}",
    )
    parser.add_argument(
        "--executor",
        choices=("bound", "walk"),
        help="plan memory and calls for the shapes of the inputs (bound, the default), or call one "
        "node after the other (walk)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse a file with nodes out of order or a domain that isn't imported",
    )


def get_execution(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``load`` that the options of ``add_execution`` stand for."""
    if args.no_optimize and (args.rewrites is not None or args.executor is not None):
        raise InvalidInputError(
            "--no-optimize is short for --rewrites none --executor walk: pass either that or these"
        )
    return {
        "optimize": False if args.no_optimize else None,
        "rewrites": args.rewrites,
        "executor": args.executor,
        "strict": args.strict,
    }


def _parse_names(text: str) -> list[str]:
    return [] if text == "none" else [name.strip() for name in text.split(",")]


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is an integer from ``least`` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected an integer from {least} on, got {text!r}")
        return int(text)

    return parse


def add_integer(
    parser: argparse._ActionsContainer,
    flag: str,
    help: str,
    *,
    default: int | None = None,
    least: int = 1,
    metavar: str = "N",
) -> None:
    """Add an option that is an integer from ``least`` on."""
    text = help if default is None else f"{help} (default: {default})"
    parser.add_argument(flag, type=at_least(least), default=default, metavar=metavar, help=text)


def positive_number(text: str) -> float:
    """The type of an argument that is a finite number above 0."""
    value = _parse_float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def non_negative_number(text: str) -> float:
    """The type of an argument that is a finite number from 0 on."""
    value = _parse_float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, got {text!r}")
    return value


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
