"""The samples that two sides are compared on: made up, out of files, and edge cases."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._convert import declared_dtype
from onnxwalk.interpreter.cli._feeds import sizes, whole
from onnxwalk.interpreter.cli._files import Feed, read_inputs
from onnxwalk.interpreter.cli._random import make_up
from onnxwalk.interpreter.cli._rows import ArrayRows
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.runtime.feeds import HasInputs

#: what the edge cases make of numbers from 0 to 1
EDGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "zeros": np.zeros_like,
    "ones": np.ones_like,
    "negative": lambda x: -x,
    "tiny": lambda x: x * x.dtype.type(1e-6),
    "large": lambda x: x * x.dtype.type(1e3),
}
#: those of which whole numbers, which may be indices, are one too
_WHOLE = ("zeros", "ones")


def samples(session: HasInputs, args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Samples with what they are called: the rows of ``--input``, ``--batch`` at a time; where it
    doesn't give all inputs, ``--samples`` times made-up numbers, and with ``--edge`` edge cases.

    Raises InvalidInputError.
    """
    read = read_inputs(session, args.input, None)
    missing = [info for info in session.inputs if info.name not in read]
    pieces = list(_pieces(read, args.batch)) if not missing else _pieces(read, args.batch)
    for label, given in pieces:
        values = {name: whole(feed) for name, feed in given.items()}
        if not missing:
            yield label or "no inputs", values
            continue
        length = max((len(v) for v in values.values() if np.ndim(v)), default=args.batch)
        dims, first = sizes(session, args, length if not read or args.batch else None)
        for number in range(args.samples):
            seed = args.seed + number
            made = make_up(session, given, args.shape, seed, dims=dims, first=first)
            named = f"random {seed}" + (f" with {label}" if label else "")
            yield named, values | {name: whole(feed) for name, feed in made.items()}
        if args.edge:
            made = make_up(session, given, args.shape, args.seed, dims=dims, first=first)
            numbers = {name: whole(feed) for name, feed in made.items()}
            for edge, case in _edges(session, numbers):
                yield edge + (f" with {label}" if label else ""), values | case


def _pieces(read: dict[str, Feed], batch: int | None) -> Iterator[tuple[str, dict[str, Feed]]]:
    """The given inputs, so many rows at a time; once nothing if there are none."""
    if not read:
        yield "", {}
        return
    origin = ", ".join(dict.fromkeys(feed.origin for feed in read.values()))
    lengths = {name: feed.rows.length for name, feed in read.items()}
    if batch and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidInputError(f"--batch {batch}: the inputs have other numbers of rows: {listed}")
    rows = [feed.rows.pieces(batch or sys.maxsize) for feed in read.values()]
    start = 0
    for parts in zip(*rows, strict=True):
        length = max((len(part) for part in parts if np.ndim(part)), default=1)
        label = f"rows {start} to {start + length - 1} of {origin}" if batch else origin
        start += length
        yield (
            label,
            {
                feed.info.name: Feed(feed.info, ArrayRows(part), origin)
                if isinstance(part, np.ndarray)
                else feed
                for feed, part in zip(read.values(), parts, strict=True)
            },
        )


def _edges(
    session: HasInputs, numbers: dict[str, np.ndarray]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    infos = {info.name: info for info in session.inputs}
    floats = [n for n in numbers if "float" in str(declared_dtype(infos[n]))]
    for edge, change in EDGES.items():
        changed = [
            name
            for name, value in numbers.items()
            if name in floats or (edge in _WHOLE and value.dtype.kind in "biu")
        ]
        if changed:
            yield edge, numbers | {name: change(numbers[name]) for name in changed}
