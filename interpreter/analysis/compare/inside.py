"""The first value that differs inside a Loop, Scan or If, in the order of iterations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.analysis.compare.cause import Cause
from onnxwalk.interpreter.analysis.compare.comparison import Comparison, Sides
from onnxwalk.interpreter.analysis.compare.metrics import (
    Difference,
    Tolerance,
    difference,
    differing,
)
from onnxwalk.interpreter.analysis.compare.sides import InnerTrace
from onnxwalk.interpreter.display import describe
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.runtime.trace import Event

#: a value inside nodes: its name, and from the outermost the first output of each node around it
#: ("" for the outermost), the subgraph and the iteration
Key: TypeAlias = "tuple[tuple[tuple[str, str, int], ...], str]"


@dataclass(frozen=True)
class InnerCause:
    """``node`` computes the first value that differs, ``name``, after ``equal_count`` equal ones;
    ``path`` is the node's name with the nodes around it, ``name`` likewise. ``inputs`` and
    ``weights`` as in ``Cause``."""

    node: Node
    path: str
    name: str
    difference: Difference
    equal_count: int
    inputs: Mapping[str, str]
    weights: Mapping[str, Difference]


def find_inner_cause(
    sides: Sides, comparison: Comparison, cause: Cause, tolerance: Tolerance
) -> InnerCause | None:
    """The first value that differs inside the node of ``cause``; ``None`` if it has no subgraphs,
    if a side can't trace them, or if all values that both have there are equal.

    Raises OnnxWalkError.
    """
    one, other = (getattr(side, "inside", None) for side in (sides.a, sides.b))
    if cause.node is None or not cause.node.graphs or one is None or other is None:
        return None
    pair, feeds = cause.row.pair, comparison.feeds
    equal_count = 0
    for name, a, b in _match_events(one(feeds, pair.a), other(feeds, pair.b)):
        result = difference(a.outputs[name], b.outputs[name], tolerance)
        if result.equal:
            equal_count += 1
            continue
        event = (a, b)[sides.main]
        inputs = {n: describe(event.inputs.get(n)) for n in event.node.inputs if n}
        weights = {} if sides.models[0] is sides.models[1] else _compare_weights(a, b)
        path, value = event.name, event.named(name)
        return InnerCause(event.node, path, value, result, equal_count, inputs, weights)
    return None


def _match_events(one: InnerTrace, other: InnerTrace) -> Iterator[tuple[str, Event, Event]]:
    """Names of values with the events of both sides. At most the events of one iteration of the
    outermost loop are held."""
    names = one.names & other.names
    theirs = _values(other.events, names)
    held: dict[Key, Event] = {}
    following = next(theirs, None)
    for key, a in _values(one.events, names):
        held = {k: event for k, event in held.items() if k[0][0] == key[0][0]}
        while following is not None and key not in held and not _is_later(following[0], key):
            held[following[0]] = following[1]
            following = next(theirs, None)
        if key in held:
            yield key[1], a, held.pop(key)


def _values(events: Iterator[Event], names: set[str]) -> Iterator[tuple[Key, Event]]:
    for event in events:
        # The outermost node may have a different name in the other file.
        path = tuple(
            (place.node.outputs[0] if depth else "", place.graph, place.iteration)
            for depth, place in enumerate(event.path)
        )
        for name in event.outputs:
            if name in names:
                yield (path, name), event


def _is_later(key: Key, other: Key) -> bool:
    """Whether a value belongs to a later iteration of the outermost loop."""
    return key[0][0][2] > other[0][0][2]


def _compare_weights(a: Event, b: Event) -> dict[str, Difference]:
    """The differences of the constants among the inputs of two nodes."""
    names = zip(a.node.inputs, b.node.inputs, strict=False)
    inputs = ((mine, a.inputs.get(mine), b.inputs.get(theirs)) for mine, theirs in names)
    return differing(each for each in inputs if _is_constant(each[1]) and _is_constant(each[2]))


def _is_constant(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.writeable
