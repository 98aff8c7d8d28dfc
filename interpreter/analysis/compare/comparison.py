"""Compare two sides over samples: every value that both have, in the order of the graph."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from onnxwalk.interpreter.analysis.compare.keras_side import KerasModel
from onnxwalk.interpreter.analysis.compare.layers import matching_orders
from onnxwalk.interpreter.analysis.compare.lockstep import Pair, lockstep
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Tolerance, difference
from onnxwalk.interpreter.analysis.compare.quantized import Grids
from onnxwalk.interpreter.analysis.compare.sides import Feeds, Side
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.session import Session

_NO_GRIDS = Grids({}, {}, {})


class Skipped(NamedTuple):
    """A value of side 0 or 1 that wasn't compared, and why."""

    side: int
    name: str
    reason: str


@dataclass
class Row:
    """A value that both sides have: its largest difference over the samples."""

    pair: Pair
    worst: Difference | None = None
    sample: str = ""
    #: the order into which the axes of the file's value were brought
    axes: tuple[int, ...] | None = None

    @property
    def equal(self) -> bool:
        """Whether the value is equal within the tolerance in all samples."""
        return self.worst is None or self.worst.equal

    @property
    def rank(self) -> tuple[bool, float]:
        """Values that differ rank higher, and among these larger relative errors."""
        return (not self.equal, self.worst.relative if self.worst else -1.0)


@dataclass
class Sides:
    """Both sides, and the function that matches their values."""

    a: Side
    b: Side
    #: the ONNX models of the sides; ``None`` for a Keras model
    models: tuple[Session | None, Session | None]
    pairs: Callable[[Feeds], list[Pair]]
    #: the number of values of each side
    counts: tuple[int, int] = (0, 0)
    #: the values that ``pairs`` found no counterpart for
    unmatched: list[Skipped] = field(default_factory=list)
    #: the quantized tensors of each side
    grids: tuple[Grids, Grids] = (_NO_GRIDS, _NO_GRIDS)

    @property
    def session(self) -> Session:
        """The first ONNX model, whose graph gives the order; one side must have one."""
        return next(s for s in self.models if s is not None)

    @functools.cached_property
    def operators(self) -> Mapping[str, str]:
        """The operator that computes each value of the main side's file."""
        session = self.models[self.main]
        nodes = session.model.graph.nodes if session else ()
        return {name: node.op_type for node in nodes for name in node.outputs}

    @property
    def inputs(self) -> HasInputs:
        """The model that declares the inputs of the samples."""
        return self.session if any(self.models) else cast(KerasModel, self.a)

    @property
    def main(self) -> int:
        """The side whose values and nodes are reported, 0 or 1: the first with an ONNX model."""
        return 1 if self.models[0] is None and self.models[1] is not None else 0


@dataclass
class Comparison:
    """The result; ``rows`` are in the order of the graph."""

    rows: list[Row]
    samples: list[str]
    counts: tuple[int, int]
    #: the values that weren't compared
    skipped: list[Skipped] = field(default_factory=list)
    #: the sample in which the first differing value has its largest difference
    feeds: Feeds = field(default_factory=dict, repr=False)

    @property
    def equal(self) -> bool:
        return all(row.equal for row in self.rows)

    @property
    def first(self) -> Row | None:
        """The first value in the order of the graph that differs."""
        return next((row for row in self.rows if not row.equal), None)

    @property
    def ranked(self) -> list[Row]:
        return sorted(self.rows, key=lambda row: row.rank, reverse=True)


def compare(
    sides: Sides,
    samples: Iterable[tuple[str, Feeds]],
    tolerance: Tolerance,
    memory: int,
) -> Comparison:
    """Run both sides on each sample in parallel, and compare each value as it is computed.

    Raises OnnxWalkError if a side can't run, or if the sides have no value in common.
    """
    comparison: Comparison | None = None
    order: dict[Pair, int] = {}
    best = (math.inf, 0.0)
    for label, feeds in samples:
        if comparison is None:
            pairs = sides.pairs(feeds)
            if not pairs:
                raise InvalidInputError(
                    f"{sides.a.label} and {sides.b.label} have no value in common"
                )
            order = {pair: index for index, pair in enumerate(pairs)}
            comparison = Comparison([Row(pair) for pair in pairs], [], sides.counts)
        comparison.samples.append(label)
        one, other = (partial(side.stream, feeds) for side in (sides.a, sides.b))
        for pair, a, b in lockstep(one, other, list(order), memory):
            index = order[pair]
            row, aligned = comparison.rows[index], align(sides, pair, a, b, tolerance)
            result = aligned.difference
            if row.worst is None or (not result.equal, result.relative) > row.rank:
                row.worst, row.sample, row.axes = result, label, aligned.axes
            if not result.equal and (index, -result.relative) < best:
                best, comparison.feeds = (index, -result.relative), feeds
            del a, b, aligned
    if comparison is None:
        raise InvalidInputError("no samples to compare on")
    missing = [row.pair for row in comparison.rows if row.worst is None]
    comparison.rows = [row for row in comparison.rows if row.worst is not None]
    if not comparison.rows:
        raise InvalidInputError(f"{sides.a.label} and {sides.b.label} computed no value in common")
    reason = "one side didn't return it"
    comparison.skipped = sides.unmatched + [Skipped(0, pair.a, reason) for pair in missing]
    return comparison


class Aligned(NamedTuple):
    """Two values as they are compared, and their difference; ``axes`` as in ``Row``."""

    values: tuple[Any, Any]
    difference: Difference
    axes: tuple[int, ...] | None = None


def align(sides: Sides, pair: Pair, a: Any, b: Any, tolerance: Tolerance) -> Aligned:
    """Compare two values: with Keras in the order of axes that fits best, and integers of a
    quantized tensor with floats as the real numbers that they stand for."""
    values = [a, b]
    allowed = tolerance.of(_names(sides, pair, values))
    step = 0.0
    if all(isinstance(value, np.ndarray) for value in values):
        step = _step(sides, pair, values)
    if step:
        allowed = allowed.on_grid(step)
    main = sides.main
    orders = _keras_orders(sides, values[main], values[1 - main])
    best: Aligned | None = None
    for axes in orders:
        tried = list(values)
        if axes is not None:
            tried[main] = values[main].transpose(axes)
        result = difference(tried[0], tried[1], allowed)
        moved = axes if axes is not None and list(axes) != sorted(axes) else None
        if best is None or (result.equal, -result.relative) > (
            best.difference.equal,
            -best.difference.relative,
        ):
            best = Aligned((tried[0], tried[1]), result, moved)
        if result.equal:
            break
    assert best is not None
    return best


def _keras_orders(sides: Sides, ours: Any, theirs: Any) -> Iterable[tuple[int, ...] | None]:
    """The orders of axes in which a value of a file has the shape of the Keras tensor, the usual
    ones first; only ``None`` if there is none, or neither or both sides are Keras models."""
    are_arrays = isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray)
    if (sides.models[0] is None) == (sides.models[1] is None) or not are_arrays:
        return [None]
    return [*matching_orders(ours.shape, theirs.shape)] or [None]


def _step(sides: Sides, pair: Pair, values: list[Any]) -> float:
    """The step of the grid on which the values of a pair lie, 0 if on none. Where one side has
    integers and the other floats, the former are replaced by the real numbers."""
    grids, step = sides.grids, 0.0
    kinds = ["int" in value.dtype.name for value in values]
    for side in (0, 1):
        name = pair[side]
        grid = grids[side].integers.get(name)
        if kinds[side] and not kinds[1 - side] and grid and grid.fits(values[side].shape):
            values[side] = grid.to_real(values[side])
            step = max(step, grid.step)
        elif kinds[side] == kinds[1 - side]:
            step = max(step, grids[side].step(name))
    return step


def _names(sides: Sides, pair: Pair, values: list[Any]) -> list[str]:
    """The names by which a tolerance may mean a pair."""
    names = [pair.a, pair.b, pair.layer]
    names += [str(value.dtype) for value in values if isinstance(value, np.ndarray)]
    return [*names, sides.operators.get(pair[sides.main], "")]
