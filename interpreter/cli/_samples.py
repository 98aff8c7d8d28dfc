"""The samples for a comparison: random, from files, and edge cases."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._feeds import fill_feeds, read_feeds
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.rows.arrays import ArrayRows
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.convert import declared_dtype

#: edge cases, as functions of random numbers from 0 to 1
EDGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "zeros": np.zeros_like,
    "ones": np.ones_like,
    "negative": lambda x: -x,
    "tiny": lambda x: x * x.dtype.type(1e-6),
    "large": lambda x: x * x.dtype.type(1e3),
}
#: those that apply to integers, which may be indices
_INTEGER_EDGES = ("zeros", "ones")


def generate_samples(
    session: HasInputs, args: argparse.Namespace
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Labels and feeds: the rows of files and texts, ``--batch`` at a time; if some inputs are
    missing there, with random values for them, ``--samples`` times, and with ``--edge`` edge cases.

    Raises InvalidInputError.
    """
    read = read_feeds(session, args)
    missing = [info for info in session.inputs if info.name not in read]
    for label, feeds in _split_rows(read, args.batch):
        values = {name: feed.read() for name, feed in feeds.items()}
        if not missing:
            yield label or "no inputs", values
            continue
        lengths = [feed.rows.length for feed in feeds.values() if feed.rows.length is not None]
        length = max(lengths, default=args.batch)
        suffix = f" with {label}" if label else ""
        size = length if not read or args.batch else None
        for number in range(args.samples):
            seed = args.seed + number
            added = fill_feeds(session, feeds, args, batch=size, seed=seed)
            numbers = {name: feed.read() for name, feed in added.items()}
            yield f"random {seed}{suffix}", values | numbers
        if args.edge:
            added = fill_feeds(session, feeds, args, batch=size)
            numbers = {name: feed.read() for name, feed in added.items()}
            for edge, case in _apply_edges(session, numbers):
                yield edge + suffix, values | case


def _split_rows(read: dict[str, Feed], batch: int | None) -> Iterator[tuple[str, dict[str, Feed]]]:
    """Feeds of ``batch`` rows at a time; one without any feeds if nothing was read."""
    if not read:
        yield "", {}
        return
    origin = ", ".join(dict.fromkeys(feed.origin for feed in read.values()))
    lengths = {name: feed.rows.length for name, feed in read.items()}
    if batch and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidInputError(f"--batch {batch}: inputs have different numbers of rows: {listed}")
    rows = [feed.rows.pieces(batch or sys.maxsize) for feed in read.values()]
    start = 0
    for parts in zip(*rows, strict=True):
        arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim]
        length = max(map(len, arrays), default=1)
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


def _apply_edges(
    session: HasInputs, numbers: dict[str, np.ndarray]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    infos = {info.name: info for info in session.inputs}
    floats = [n for n in numbers if "float" in str(declared_dtype(infos[n]))]
    for edge, change in EDGES.items():
        changed = [
            name
            for name, value in numbers.items()
            if name in floats or (edge in _INTEGER_EDGES and value.dtype.kind in "biu")
        ]
        if changed:
            yield edge, numbers | {name: change(numbers[name]) for name in changed}
