"""Where two sides part within a Loop, Scan or If: value by value, iteration by iteration, until the
first that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from onnxwalk.interpreter.analysis.compare.cause import Cause
from onnxwalk.interpreter.analysis.compare.comparison import Comparison, Sides
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Tolerance, difference
from onnxwalk.interpreter.analysis.compare.sides import Within
from onnxwalk.interpreter.display import describe
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.runtime.trace import Event

#: a value by where it is: graphs and iterations from the outermost, those of nodes within nodes by
#: what these give; and its name
Key: TypeAlias = "tuple[tuple[tuple[str, str, int], ...], str]"


@dataclass(frozen=True)
class Inside:
    """``node`` makes the value ``name`` within others, and ``where`` it is called with where it is:
    the first that differs, after ``same`` values that don't. ``inputs`` and ``weights`` as in
    ``Cause``."""

    node: Node
    where: str
    name: str
    worst: Difference
    same: int
    inputs: Mapping[str, str]
    weights: Mapping[str, Difference]


def find_inside(
    sides: Sides, found: Comparison, cause: Cause, tolerance: Tolerance
) -> Inside | None:
    """The first value that differs within the node of ``cause``; ``None`` if it has no graphs, if a
    side doesn't tell what is inside of nodes, or if all that both have there is the same.

    Raises OnnxWalkError.
    """
    one, other = (getattr(side, "inside", None) for side in (sides.a, sides.b))
    if cause.node is None or not cause.node.graphs or one is None or other is None:
        return None
    pair = cause.row.pair
    same = 0
    for name, a, b in _both(one(found.feeds, pair.a), other(found.feeds, pair.b)):
        worst = difference(a.outputs[name], b.outputs[name], tolerance)
        if worst.equal:
            same += 1
            continue
        mine = (a, b)[sides.leader]
        inputs = {n: describe(mine.inputs.get(n)) for n in mine.node.inputs if n}
        weights = {} if sides.models[0] is sides.models[1] else _weights(a, b)
        return Inside(mine.node, mine.name, mine.named(name), worst, same, inputs, weights)
    return None


def _both(one: Within, other: Within) -> Iterator[tuple[str, Event, Event]]:
    """The names that both have at the same place, with the events on both sides. Of one side no
    more is held than what comes earlier there in the same iteration of the outermost loop."""
    names = one.names & other.names
    theirs = _values(other.events, names)
    held: dict[Key, Event] = {}
    coming = next(theirs, None)
    for key, a in _values(one.events, names):
        now = key[0][0]
        held = {k: event for k, event in held.items() if k[0][0] == now}
        while coming is not None and key not in held and not _is_later(coming[0], key):
            held[coming[0]] = coming[1]
            coming = next(theirs, None)
        if key in held:
            yield key[1], a, held.pop(key)


def _values(events: Iterator[Event], names: set[str]) -> Iterator[tuple[Key, Event]]:
    for event in events:
        # The outermost node may have another name in another file; those within go by what they
        # give.
        places = tuple(
            (place.node.outputs[0] if depth else "", place.graph, place.iteration)
            for depth, place in enumerate(event.path)
        )
        for name in event.outputs:
            if name in names:
                yield (places, name), event


def _is_later(key: Key, other: Key) -> bool:
    """Whether a value is of a later iteration of the outermost loop."""
    return key[0][0][2] > other[0][0][2]


def _weights(a: Event, b: Event) -> dict[str, Difference]:
    """The constants that two nodes take in the same place and that are others."""
    exact = Tolerance(0.0, 0.0)
    found = {}
    for mine, theirs in zip(a.node.inputs, b.node.inputs, strict=False):
        x, y = a.inputs.get(mine), b.inputs.get(theirs)
        if all(isinstance(v, np.ndarray) and not v.flags.writeable for v in (x, y)):
            apart = difference(x, y, exact)
            if not apart.equal:
                found[mine] = apart
    return found
