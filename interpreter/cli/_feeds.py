"""Inputs for commands that try a model: read from files, or made up in the sizes asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from onnxwalk.interpreter.cli._convert import declared_shape
from onnxwalk.interpreter.cli._files import Feed, read_inputs
from onnxwalk.interpreter.cli._random import make_up
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.runtime.feeds import HasInputs

_BATCH_NAMES = ("batch", "batch_size", "batchsize", "n", "unk__batch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--dim``, ``--shape`` and ``--input``."""
    parser.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=N",
        help="size of another symbolic dimension (default: 1); may be repeated",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="[NAME=]1,100",
        help="shape of a made-up input; may be repeated",
    )
    parser.add_argument(
        "-i",
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="values of an input, as for run; may be repeated",
    )


def made(session: HasInputs, args: argparse.Namespace, batch: int | None) -> dict[str, Any]:
    """A value for each input: those of ``--input``, the others made up.

    ``batch`` is the size of the dimension named batch or N, or of the first one of each input.
    """
    dims, first = sizes(session, args, batch)
    feeds = read_inputs(session, args.input, None)
    feeds |= make_up(session, feeds, args.shape, 0, dims=dims, first=first)
    return {name: whole(feed) for name, feed in feeds.items()}


def whole(feed: Feed) -> Any:
    """All of an input's values."""
    return next(iter(feed.rows.pieces(sys.maxsize)))


def sizes(
    session: HasInputs, args: argparse.Namespace, batch: int | None
) -> tuple[dict[str, int], int]:
    """The sizes of the dimensions that ``--dim`` and ``batch`` name, and that of an open first one
    that has no name; both for ``make_up``. Raises InvalidInputError for what the model has not."""
    dims = named_sizes(session, args.dim)
    shapes = [declared_shape(info) or () for info in session.inputs]
    first = 1
    if batch is not None:
        named = [name for name in _symbols(session) if name.lower() in _BATCH_NAMES]
        if named:
            dims.setdefault(named[0], batch)
        elif any(shape and not isinstance(shape[0], int) for shape in shapes):
            first = batch
        elif not all(shape and shape[0] == batch for shape in shapes):
            listed = "; ".join(map(str, session.inputs))
            raise InvalidInputError(f"--batch {batch}: the sizes of the inputs are fixed: {listed}")
    return dims, first


def named_sizes(session: HasInputs, texts: Sequence[str]) -> dict[str, int]:
    """What ``--dim`` says. Raises InvalidInputError for what is no dimension of the inputs."""
    dims = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal():
            raise InvalidInputError(f"--dim {text}: give NAME=N, as in sequence=100")
        dims[name] = int(size)
    symbols = _symbols(session)
    if unknown := [name for name in dims if name not in symbols]:
        there = ", ".join(symbols) or "none"
        raise InvalidInputError(f"--dim {unknown[0]}: no such dimension; there are: {there}")
    return dims


def _symbols(session: HasInputs) -> list[str]:
    shapes = [declared_shape(info) or () for info in session.inputs]
    return list(dict.fromkeys(d for shape in shapes for d in shape if isinstance(d, str)))


def at_least(least: int) -> Callable[[str], int]:
    """For argparse: a whole number from ``least`` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return number


whole_number = at_least(1)
