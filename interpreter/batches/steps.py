"""The rows of a part through a model, batch by batch, with or without those that are damaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, LimitError, OperatorError
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.runs import (
    Allocate,
    Result,
    check_joinable,
    join,
    run,
    split_inputs,
)
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_dtype, declared_shape

_BYTES = 1 << 20  # of inputs in one batch, by default
_MOST_ROWS = 256
_UNKNOWN_ROWS = 32  # in one batch where the size of a row isn't known


@dataclass
class Outcome:
    """The outputs of a part's rows, in their order.

    ``kept``: the numbers of the rows that are there, ``None``: all. ``damaged``: the others by
    their numbers, and why.
    """

    result: Result
    total: int
    kept: np.ndarray | None = None
    damaged: dict[int, str] = field(default_factory=dict)


def fixed_rows(session: Session) -> int | None:
    """The number of rows that the model requires; ``None`` if it takes others."""
    shapes = [declared_shape(info) for info in session.inputs]
    fixed = [shape[0] for shape in shapes if shape and isinstance(shape[0], int)]
    return max(fixed) if fixed and len(fixed) == sum(map(bool, shapes)) else None


def default_batch(session: Session) -> int:
    """As many rows as the model requires, or as have 1 MiB in its inputs, at most 256."""
    if (fixed := fixed_rows(session)) is not None:
        return fixed
    shapes = [declared_shape(info) for info in session.inputs]
    size = 0
    for info, shape in zip(session.inputs, shapes, strict=True):
        dtype = declared_dtype(info)
        if shape is None or dtype is None or not all(isinstance(n, int) for n in shape[1:]):
            return _UNKNOWN_ROWS
        size += math.prod(int(n or 1) for n in shape[1:]) * dtype.itemsize
    rows = min(_BYTES // max(size, 1), _MOST_ROWS)
    return 1 << (rows.bit_length() - 1) if rows else 1


def run_rows(
    session: Session,
    names: Sequence[str],
    feeds: Mapping[str, Feed],
    batch: int,
    allocate: Allocate,
    *,
    skips: bool,
    tell: Callable[[int, int], object],
) -> Outcome:
    """Run all rows; ``skips``: leave those out that can't be read, or that the model rejects.

    Raises NotJoinableError for outputs without a row for each row of the inputs, InvalidInputError,
    and what ``Session.run`` raises.
    """
    split = split_inputs(feeds, batch)
    total = next(iter(split.values())).rows.length or 0
    is_fixed = any(isinstance((declared_shape(f.info) or (0,))[0], int) for f in split.values())
    unsplit = {name: feed.read() for name, feed in feeds.items() if name not in split}
    sources = {name: feed.rows.pieces(batch) for name, feed in split.items()}
    outcome = Outcome(Result({}), total)
    check_joinable(session, names, split, batch)
    for start in range(0, max(total, 1), batch):
        values = {name: next(source) for name, source in sources.items()}
        places = np.arange(start, min(start + batch, total))
        if skips:
            outcome.damaged |= _damaged(split, places)
            good = np.array([row not in outcome.damaged for row in places.tolist()], bool)
            if not good.all():
                values = {name: value[good] for name, value in values.items()}
                places = places[good]
            if not len(places) and total:
                continue
        whole = len(places) == 1 or is_fixed or not skips
        for at, outputs in _run(session, names, unsplit, values, places, whole, skips, outcome):
            join(outcome.result.values, outputs, at, len(at), total, allocate)
        tell(int(min(start + batch, total)), total)
    return _without_damaged(outcome)


def run_first(session: Session, names: Sequence[str], feeds: Mapping[str, Feed], batch: int) -> int:
    """Run the first batch, and return the number of its rows. Raises as ``run_rows``."""
    split = split_inputs(feeds, batch)
    check_joinable(session, names, split, batch)
    rows = min(next(iter(split.values())).rows.length or 0, batch)
    values = {name: next(iter(feed.rows.pieces(batch))) for name, feed in split.items()}
    values |= {name: feed.read() for name, feed in feeds.items() if name not in split}
    outputs = run(session, names, values, Result({}))
    join({}, outputs, slice(0, rows), rows, rows, np.empty)
    return rows


def _damaged(split: Mapping[str, Feed], places: np.ndarray) -> dict[int, str]:
    """The rows among ``places`` that couldn't be read, and why."""
    found: dict[int, str] = {}
    for feed in split.values():
        damaged: Mapping[int, str] = getattr(feed.rows, "damaged", {})
        found |= {row: damaged[row] for row in places.tolist() if row in damaged}
    return found


def _run(
    session: Session,
    names: Sequence[str],
    unsplit: Mapping[str, Any],
    values: Mapping[str, Any],
    places: np.ndarray,
    whole: bool,
    skips: bool,
    outcome: Outcome,
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Run these rows; where the model rejects them, halves of them, down to the rows that it does
    reject. ``whole``: don't, as fewer rows can't be run."""
    try:
        yield places, run(session, names, {**unsplit, **values}, outcome.result)
        return
    except (OperatorError, InvalidInputError, LimitError) as error:
        if not skips:
            raise
        if whole or len(places) == 1:
            outcome.damaged |= dict.fromkeys(places.tolist(), str(error))
            return
    middle = len(places) // 2
    for half in (slice(0, middle), slice(middle, None)):
        part = {name: value[half] for name, value in values.items()}
        yield from _run(session, names, unsplit, part, places[half], False, skips, outcome)


def _without_damaged(outcome: Outcome) -> Outcome:
    """Raises InvalidInputError if no row is left."""
    if not outcome.damaged:
        return outcome
    first, reason = min(outcome.damaged.items())
    if len(outcome.damaged) == outcome.total:
        raise InvalidInputError(f"row {first}: {reason}; and so are all {outcome.total} rows")
    kept = np.setdiff1d(np.arange(outcome.total), np.fromiter(outcome.damaged, np.int64))
    values = {name: value[kept] for name, value in outcome.result.values.items()}
    outcome.result.values, outcome.kept = values, kept
    return outcome
