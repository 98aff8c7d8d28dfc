"""Options of the commands that run a model: what is rewritten, and how it is run."""

from __future__ import annotations

import argparse
from typing import Any

from onnxwalk.interpreter.compiler.passes import REWRITES


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    parser.add_argument(
        "--no-optimize",
        action="store_true",
        help="run the file as written: --rewrites none --executor walk",
    )
    parser.add_argument(
        "--rewrites",
        type=_names,
        metavar="NAME,…",
        help=f"apply only these rewrites, or none: {', '.join(REWRITES)}",
    )
    parser.add_argument(
        "--executor",
        choices=("bound", "walk"),
        help="plan memory and calls for the shapes of the inputs (bound, the default), or call one "
        "node after the other (walk)",
    )


def execution_of(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``load`` that a command line gives."""
    optimize = False if args.no_optimize else None
    return {"optimize": optimize, "rewrites": args.rewrites, "executor": args.executor}


def _names(text: str) -> list[str]:
    return [] if text == "none" else [name.strip() for name in text.split(",")]
