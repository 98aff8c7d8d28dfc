"""Runs of all rows at once or in batches, which are split and joined along the first axis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.values import dtype_name
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_shape
from onnxwalk.interpreter.tables.maps import as_columns

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


@dataclass
class Result:
    """The requested values, the types of the inputs, and the number and time of the runs.

    ``classes``: the keys of outputs that are maps in the model; their values are arrays here.
    """

    values: dict[str, Any]
    classes: dict[str, list[str]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    runs: int = 0


def run_once(session: Session, names: Sequence[str], feeds: Mapping[str, Feed]) -> Result:
    """Run all rows at once."""
    result = Result({})
    values = {name: feed.read() for name, feed in feeds.items()}
    result.values = run(session, names, values, result)
    return result


def run_batches(
    session: Session,
    names: Sequence[str],
    feeds: Mapping[str, Feed],
    batch: int,
    allocate: Allocate,
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> Result:
    """Run ``batch`` rows at a time; ``tell`` hears how many rows are done, and of how many.

    Only one batch of each input is in memory. ``allocate`` returns the array that joins the batches
    of an output. Raises InvalidInputError for inputs that can't be split and outputs that can't be
    joined.
    """
    split = split_inputs(feeds, batch)
    total = next(iter(split.values())).rows.length or 0
    if total <= batch:
        return run_once(session, names, feeds)
    check_joinable(session, names, split, batch)
    unsplit = {name: feed.read() for name, feed in feeds.items() if name not in split}
    result = Result({})
    sources = {name: feed.rows.pieces(batch) for name, feed in split.items()}
    for start in range(0, total, batch):
        values = {name: next(source) for name, source in sources.items()}
        rows = min(batch, total - start)
        outputs = run(session, names, {**unsplit, **values}, result)
        join(result.values, outputs, slice(start, start + rows), rows, total, allocate)
        tell(start + rows, total)
    for name in split:
        result.shapes[name] = (total, *(result.shapes[name] or ())[1:])
    return result


def run(
    session: Session, names: Sequence[str], values: Mapping[str, Any], result: Result
) -> dict[str, Any]:
    """One run, of which the result takes the time. Raises as ``Session.run``."""
    if not result.runs:
        record_inputs(values, result)
    start = time.perf_counter()
    outputs = session.run(names, values)
    result.seconds += time.perf_counter() - start
    result.runs += 1
    return with_columns(dict(zip(names, outputs, strict=True)), result)


def with_columns(values: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """The values, with maps of classes as arrays. Raises InvalidInputError if the classes differ
    from those of the rows before."""
    found = dict(values)
    for name, value in values.items():
        if isinstance(value, (list, dict)) and (columns := as_columns(value)) is not None:
            found[name], keys = columns
            if result.classes.setdefault(name, keys) != keys:
                raise InvalidInputError(
                    f"output '{name}': the maps of the rows differ in their keys"
                )
    return found


def record_inputs(values: Mapping[str, Any], result: Result) -> None:
    for name, value in values.items():
        is_array = isinstance(value, np.ndarray)
        result.shapes[name] = value.shape if is_array else None
        result.dtypes[name] = dtype_name(value.dtype) if is_array else "sequence"


def split_inputs(feeds: Mapping[str, Feed], batch: int) -> dict[str, Feed]:
    """The inputs to split: those whose first dimension is open in the model, or ``batch`` while
    there are more rows than that. Each run gets all rows of the others."""
    split: dict[str, Feed] = {}
    for name, feed in feeds.items():
        shape = declared_shape(feed.info)
        first = shape[0] if shape else None
        length = feed.rows.length
        if length is None or (isinstance(first, int) and (first != batch or first == length)):
            continue
        if isinstance(first, int) and length % batch:
            raise InvalidInputError(
                f"--batch {batch}: input {feed.info} requires exactly {batch} rows per run, but "
                f"{length} is not a multiple of {batch}"
            )
        split[name] = feed
    lengths = {name: feed.rows.length for name, feed in split.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
        raise InvalidInputError(f"--batch {batch}: inputs have different numbers of rows: {listed}")
    if not split:
        fixed = {s[0] for f in feeds.values() if (s := declared_shape(f.info))}
        sizes = " or ".join(str(size) for size in sorted(s for s in fixed if isinstance(s, int)))
        hint = f"; the model requires {sizes} rows: --batch {sizes}" if sizes else ""
        raise InvalidInputError(f"--batch {batch}: no input can be split{hint}")
    return split


def check_joinable(
    session: Session, names: Sequence[str], split: Mapping[str, Feed], batch: int
) -> None:
    """Raise InvalidInputError for outputs with a fixed first dimension: they have no batch axis."""
    has_open_input = any(
        not isinstance((declared_shape(feed.info) or (None,))[0], int) for feed in split.values()
    )
    for info in session.outputs:
        first = info.shape[0] if info.shape else None
        if info.name in names and has_open_input and isinstance(first, int):
            raise _not_joinable(info.name, str(info))


def join(
    joined: dict[str, Any],
    outputs: Mapping[str, Any],
    places: slice | np.ndarray,
    rows: int,
    total: int,
    allocate: Allocate,
) -> None:
    """Put the outputs of ``rows`` rows into arrays of ``total`` rows, at ``places``.

    Raises NotJoinableError.
    """
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray) or value.shape[:1] != (rows,):
            shape = f"shape {value.shape}" if isinstance(value, np.ndarray) else "not a tensor"
            raise _not_joinable(name, f"{shape} for {rows} rows")
        if name not in joined:
            joined[name] = allocate((total, *value.shape[1:]), value.dtype)
        if value.shape[1:] != joined[name].shape[1:]:
            raise NotJoinableError(
                f"output '{name}' can't be joined: its rows have shape {value.shape[1:]} from row "
                f"{np.arange(total)[places][0]} on, but {joined[name].shape[1:]} before"
            )
        joined[name][places] = value


class NotJoinableError(InvalidInputError):
    """The outputs of batches can't be joined. ``reason``: without what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; run without --batch")
        self.reason = reason


def _not_joinable(name: str, what: str) -> InvalidInputError:
    return NotJoinableError(
        f"output '{name}' can't be joined: it doesn't have one row for each row of the inputs "
        f"({what})"
    )
