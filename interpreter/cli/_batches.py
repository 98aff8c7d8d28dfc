"""A run in pieces: inputs are split along the first axis, outputs are joined along theirs."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._convert import declared_shape
from onnxwalk.interpreter.cli._dump import Dump
from onnxwalk.interpreter.cli._files import Feed
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.session import Session

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


@dataclass
class Outcome:
    """The values that were asked for, the inputs' shapes, and how long the runs took."""

    values: dict[str, Any]
    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    pieces: int = 0


def run_whole(session: Session, names: Sequence[str], feeds: Mapping[str, Feed]) -> Outcome:
    """All of the inputs at once."""
    outcome = Outcome({})
    values = {name: next(iter(feed.rows.pieces(sys.maxsize))) for name, feed in feeds.items()}
    outcome.values = _run(session, names, values, outcome)
    return outcome


def run_dumping(
    session: Session,
    names: Sequence[str],
    feeds: Mapping[str, Feed],
    dump: Dump,
    iterations: int,
) -> Outcome:
    """All of the inputs at once, node by node as the file has them, into a dump; of nodes within
    nodes the first iterations."""
    outcome = Outcome({})
    values = {name: next(iter(feed.rows.pieces(sys.maxsize))) for name, feed in feeds.items()}
    _note_inputs(values, outcome)
    for name, value in values.items():
        dump.add(name, value)
    start = time.perf_counter()
    found = dict(values)
    for event in session.trace(values, iterations=iterations):
        for name, value in event.outputs.items():
            dump.add(name, value, event)
        if not event.path:
            found |= {name: v for name, v in event.outputs.items() if name in names}
        dump.cut |= event.cut(iterations)
    outcome.seconds = time.perf_counter() - start
    outcome.pieces = 1
    # An initializer may be an output as well.
    missing = [name for name in names if name not in found]
    found |= dict(zip(missing, session.run(missing, values), strict=True)) if missing else {}
    outcome.values = {name: found[name] for name in names}
    return outcome


def run_in_pieces(
    session: Session,
    names: Sequence[str],
    feeds: Mapping[str, Feed],
    batch: int,
    allocate: Allocate,
) -> Outcome:
    """``batch`` rows at a time, with a progress bar on stderr if that is a terminal.

    No more than one piece of each input is in memory. Joined outputs are put where ``allocate``
    says. Raises InvalidInputError for inputs that can't be split and outputs that can't be joined.
    """
    split = _split_inputs(feeds, batch)
    total = next(iter(split.values())).rows.length or 0
    if total <= batch:
        return run_whole(session, names, feeds)
    _check_joinable(session, names, split, batch)
    same = {
        name: next(iter(feed.rows.pieces(sys.maxsize)))
        for name, feed in feeds.items()
        if name not in split
    }
    outcome = Outcome({})
    sources = {name: feed.rows.pieces(batch) for name, feed in split.items()}
    with _progress(total) as advance:
        for start in range(0, total, batch):
            piece = {name: next(source) for name, source in sources.items()}
            rows = min(batch, total - start)
            results = _run(session, names, {**same, **piece}, outcome)
            _join(outcome.values, results, start, rows, total, allocate)
            advance(rows)
    for name in split:
        outcome.shapes[name] = (total, *(outcome.shapes[name] or ())[1:])
    return outcome


def _run(
    session: Session, names: Sequence[str], values: Mapping[str, Any], outcome: Outcome
) -> dict[str, Any]:
    if not outcome.pieces:
        _note_inputs(values, outcome)
    start = time.perf_counter()
    results = session.run(names, values)
    outcome.seconds += time.perf_counter() - start
    outcome.pieces += 1
    return dict(zip(names, results, strict=True))


def _note_inputs(values: Mapping[str, Any], outcome: Outcome) -> None:
    for name, value in values.items():
        is_array = isinstance(value, np.ndarray)
        outcome.shapes[name] = value.shape if is_array else None
        outcome.dtypes[name] = _show.dtype_name(value.dtype) if is_array else "sequence"


def _split_inputs(feeds: Mapping[str, Feed], batch: int) -> dict[str, Feed]:
    """The inputs to split: those whose first dimension the model leaves open, or fixes at
    ``batch`` where there is more. The others are given whole to each run."""
    split: dict[str, Feed] = {}
    for name, feed in feeds.items():
        shape = declared_shape(feed.info)
        first = shape[0] if shape else None
        length = feed.rows.length
        if length is None or (isinstance(first, int) and (first != batch or first == length)):
            continue
        if isinstance(first, int) and length % batch:
            raise InvalidInputError(
                f"--batch {batch}: input {feed.info} takes exactly {batch} rows, and {length} "
                f"don't divide into {batch}s"
            )
        split[name] = feed
    lengths = {name: feed.rows.length for name, feed in split.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
        raise InvalidInputError(f"--batch {batch}: inputs differ in their number of rows: {listed}")
    if not split:
        fixed = {s[0] for f in feeds.values() if (s := declared_shape(f.info))}
        sizes = " or ".join(str(size) for size in sorted(s for s in fixed if isinstance(s, int)))
        hint = f": the model takes {sizes} rows at a time, so --batch {sizes}" if sizes else ""
        raise InvalidInputError(f"--batch {batch}: there is no input to split{hint}")
    return split


def _check_joinable(
    session: Session, names: Sequence[str], split: Mapping[str, Feed], batch: int
) -> None:
    """An output whose declared first dimension is fixed has no row per sample."""
    open_inputs = any(
        not isinstance((declared_shape(feed.info) or (None,))[0], int) for feed in split.values()
    )
    for info in session.outputs:
        first = info.shape[0] if info.shape else None
        if info.name in names and open_inputs and isinstance(first, int):
            raise _not_joinable(info.name, str(info))


def _join(
    joined: dict[str, Any],
    results: Mapping[str, Any],
    start: int,
    rows: int,
    total: int,
    allocate: Allocate,
) -> None:
    for name, value in results.items():
        if not isinstance(value, np.ndarray) or value.shape[:1] != (rows,):
            shape = f"of shape {value.shape}" if isinstance(value, np.ndarray) else "no tensor"
            raise _not_joinable(name, f"{shape} for {rows} rows")
        if name not in joined:
            joined[name] = allocate((total, *value.shape[1:]), value.dtype)
        if value.shape[1:] != joined[name].shape[1:]:
            raise InvalidInputError(
                f"output '{name}' has rows of shape {value.shape[1:]} from row {start} on, but "
                f"{joined[name].shape[1:]} before: they can't be joined; run without --batch"
            )
        joined[name][start : start + rows] = value


def _not_joinable(name: str, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"output '{name}' ({what}) has no row for each row of the inputs, so its pieces can't be "
        "joined; run without --batch"
    )


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A function that moves the bar on by a number of rows."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return
    columns = (TextColumn("running"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_show.console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda rows: progress.advance(task, rows)
