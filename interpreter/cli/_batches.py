"""Runs of all rows at once or in batches, which are split and joined along the first axis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._dump import Dump
from onnxwalk.interpreter.cli._progress import progress
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.inputs.feed import Feed
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
    result.values = _run(session, names, values, result)
    return result


def run_dumping(
    session: Session,
    names: Sequence[str],
    feeds: Mapping[str, Feed],
    dump: Dump,
    iterations: int,
) -> Result:
    """Run all rows at once, node by node as in the file, and dump the values; of the subgraphs of
    If, Loop and Scan only the first ``iterations``."""
    result = Result({}, runs=1)
    values = {name: feed.read() for name, feed in feeds.items()}
    _record_inputs(values, result)
    for name, value in values.items():
        dump.add(name, value)
    start = time.perf_counter()
    result.values = dict(values)
    for event in session.trace(values, iterations=iterations):
        for name, value in event.outputs.items():
            dump.add(name, value, event)
        if not event.path:
            result.values |= {name: v for name, v in event.outputs.items() if name in names}
        dump.omitted |= event.cut(iterations)
    result.seconds = time.perf_counter() - start
    # An initializer may be an output as well.
    if missing := [name for name in names if name not in result.values]:
        result.values |= zip(missing, session.run(missing, values), strict=True)
    result.values = _with_columns({name: result.values[name] for name in names}, result)
    return result


def run_batches(
    session: Session,
    names: Sequence[str],
    feeds: Mapping[str, Feed],
    batch: int,
    allocate: Allocate,
) -> Result:
    """Run ``batch`` rows at a time, with a progress bar if stderr is a terminal.

    Only one batch of each input is in memory. ``allocate`` returns the array that joins the batches
    of an output. Raises InvalidInputError for inputs that can't be split and outputs that can't be
    joined.
    """
    split = _split_inputs(feeds, batch)
    total = next(iter(split.values())).rows.length or 0
    if total <= batch:
        return run_once(session, names, feeds)
    _check_joinable(session, names, split, batch)
    unsplit = {name: feed.read() for name, feed in feeds.items() if name not in split}
    result = Result({})
    sources = {name: feed.rows.pieces(batch) for name, feed in split.items()}
    with progress("running") as tell:
        for start in range(0, total, batch):
            values = {name: next(source) for name, source in sources.items()}
            rows = min(batch, total - start)
            outputs = _run(session, names, {**unsplit, **values}, result)
            _join(result.values, outputs, start, rows, total, allocate)
            tell(start + rows, total)
    for name in split:
        result.shapes[name] = (total, *(result.shapes[name] or ())[1:])
    return result


def _run(
    session: Session, names: Sequence[str], values: Mapping[str, Any], result: Result
) -> dict[str, Any]:
    if not result.runs:
        _record_inputs(values, result)
    start = time.perf_counter()
    outputs = session.run(names, values)
    result.seconds += time.perf_counter() - start
    result.runs += 1
    return _with_columns(dict(zip(names, outputs, strict=True)), result)


def _with_columns(values: Mapping[str, Any], result: Result) -> dict[str, Any]:
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


def _record_inputs(values: Mapping[str, Any], result: Result) -> None:
    for name, value in values.items():
        is_array = isinstance(value, np.ndarray)
        result.shapes[name] = value.shape if is_array else None
        result.dtypes[name] = _show.dtype_name(value.dtype) if is_array else "sequence"


def _split_inputs(feeds: Mapping[str, Feed], batch: int) -> dict[str, Feed]:
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


def _check_joinable(
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


def _join(
    joined: dict[str, Any],
    outputs: Mapping[str, Any],
    start: int,
    rows: int,
    total: int,
    allocate: Allocate,
) -> None:
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray) or value.shape[:1] != (rows,):
            shape = f"shape {value.shape}" if isinstance(value, np.ndarray) else "not a tensor"
            raise _not_joinable(name, f"{shape} for {rows} rows")
        if name not in joined:
            joined[name] = allocate((total, *value.shape[1:]), value.dtype)
        if value.shape[1:] != joined[name].shape[1:]:
            raise InvalidInputError(
                f"output '{name}' can't be joined: its rows have shape {value.shape[1:]} from row "
                f"{start} on, but {joined[name].shape[1:]} before; run without --batch"
            )
        joined[name][start : start + rows] = value


def _not_joinable(name: str, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"output '{name}' can't be joined: it doesn't have one row for each row of the inputs "
        f"({what}); run without --batch"
    )
