"""The cause of the first difference: the node, its inputs, and differing weights and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from onnxwalk.interpreter.analysis.compare.comparison import Comparison, Row, Sides
from onnxwalk.interpreter.analysis.compare.keras_side import KerasModel
from onnxwalk.interpreter.analysis.compare.layers import slice_graph
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Tolerance, differing
from onnxwalk.interpreter.analysis.compare.sides import Renamed, Walk
from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.constants import as_array
from onnxwalk.interpreter.display import describe
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.interpreter.session import Session


@dataclass(frozen=True)
class Cause:
    """``nodes`` compute the first value that differs from values that are equal on both sides;
    ``node`` is the last of them.

    ``inputs``: dtype and shape of what these nodes read, by name. ``weights``: the constants that
    differ in the other file, by name. ``changes``: other differences, as texts.
    """

    row: Row
    name: str
    node: Node | None
    nodes: tuple[Node, ...]
    inputs: Mapping[str, str]
    weights: Mapping[str, Difference]
    changes: tuple[str, ...]


def find_cause(sides: Sides, comparison: Comparison, tolerance: Tolerance) -> Cause | None:
    """The cause of the first value that differs; ``None`` if none does.

    Walks through the model once more, up to that value. Raises OnnxWalkError.
    """
    row = comparison.first
    if row is None:
        return None
    name = row.pair[sides.main]
    if not any(sides.models):
        return _compare_layers(sides, row)
    nodes = _slice(sides, comparison, sides.main, name)
    inputs = read_operands(sides.session, comparison.feeds, nodes)
    types = {name: describe(value) for name, value in inputs.items()}
    weights: dict[str, Difference] = {}
    changes: list[str] = []
    one, two = sides.models
    if one is not None and two is not None and one is not two:
        others = _slice(sides, comparison, 1, row.pair.b)
        weights, changes = _compare_nodes(one, nodes, two, others)
    last = nodes[-1] if nodes else None
    return Cause(row, name, last, tuple(nodes), types, weights, tuple(changes))


def _compare_layers(sides: Sides, row: Row) -> Cause:
    """The differences of two Keras layers: weights and configuration."""
    weights: dict[str, Difference] = {}
    changes: list[str] = []
    mine, theirs = (
        cast(KerasModel, side.side if isinstance(side, Renamed) else side).layers.get(name)
        for side, name in zip((sides.a, sides.b), row.pair[:2], strict=True)
    )
    if mine is not None and theirs is not None:
        pairs = zip(mine.weights, theirs.weights, strict=False)
        weights = differing((x.path, np.asarray(x), np.asarray(y)) for x, y in pairs)
        one, two = ({"class": type(x).__name__, **x.get_config()} for x in (mine, theirs))
        changes = [
            f"{key}: {attribute_text(one.get(key))} → {attribute_text(two.get(key))}"
            for key in dict.fromkeys([*one, *two])
            if key != "name" and one.get(key) != two.get(key)
        ]
    return Cause(row, row.pair.a, None, (), {}, weights, tuple(changes))


def _slice(sides: Sides, comparison: Comparison, side: int, name: str) -> list[Node]:
    """The nodes of a side's file that compute a value from values that are equal."""
    session = sides.models[side]
    assert session is not None
    equal = {row.pair[side] for row in comparison.rows if row.equal}
    return slice_graph(session.model.graph, name, equal)


def read_operands(
    session: Session, feeds: Mapping[str, Any], nodes: Sequence[Node]
) -> dict[str, Any]:
    """The values that these nodes read but don't compute: results of others, feeds, constants."""
    computed = {name for node in nodes for name in node.outputs}
    names = dict.fromkeys(
        name
        for node in nodes
        for name in (*node.inputs, *sorted(names_used(node)))
        if name and name not in computed
    )
    constants = session.model.graph.initializers
    values = {name: as_array(constants[name]) for name in names if name in constants}
    values |= {name: feeds[name] for name in names if name in feeds}
    if missing := [name for name in names if name not in values]:
        values |= dict(Walk(session, session.model.source).stream(feeds, missing))
    return {name: values[name] for name in names if name in values}


def _compare_nodes(
    one: Session, nodes: Sequence[Node], two: Session, others: Sequence[Node]
) -> tuple[dict[str, Difference], list[str]]:
    """The differences of nodes with the same operators: weights, and attributes as texts."""
    if [node.op_type for node in nodes] != [node.op_type for node in others]:
        kinds = " → ".join(node.op_type for node in others) or "no node"
        return {}, [f"computed by {kinds} in the other file"]
    mine, theirs = one.model.graph.initializers, two.model.graph.initializers
    weights: dict[str, Difference] = {}
    changes: list[str] = []
    for node, other in zip(nodes, others, strict=True):
        weights |= differing(
            (a, as_array(mine[a]), as_array(theirs[b]))
            for a, b in zip(node.inputs, other.inputs, strict=False)
            if a in mine and b in theirs
        )
        changes += [f"attribute {text}" for text in changed_attributes(node, other)]
    return weights, changes


def changed_attributes(a: Node, b: Node) -> list[str]:
    """The attributes in which two nodes differ, as "axis: 1 → 2"; graphs aren't compared."""
    changes = []
    for name in dict.fromkeys([*a.attributes, *b.attributes]):
        x, y = a.attributes.get(name), b.attributes.get(name)
        if isinstance(x, Graph) and isinstance(y, Graph):
            continue
        if not _is_equal(x, y):
            changes.append(f"{name}: {attribute_text(x)} → {attribute_text(y)}")
    return changes


def _is_equal(x: Any, y: Any) -> bool:
    """Whether two values of an attribute are identical."""
    if isinstance(x, (Tensor, SparseTensor)) and isinstance(y, (Tensor, SparseTensor)):
        return has_equal_bits(as_array(x), as_array(y))
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(_is_equal, x, y))
    if isinstance(x, float) and isinstance(y, float):
        return x == y or (x != x and y != y)
    return type(x) is type(y) and bool(x == y)


def has_equal_bits(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two arrays are equal in dtype, shape, and all bits."""
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.dtype.hasobject:
        return bool(np.array_equal(x, y))
    x, y = np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(y).reshape(-1)
    return bool(np.array_equal(x.view(np.uint8), y.view(np.uint8)))


def attribute_text(value: Any) -> str:
    """A value of an attribute as a short text."""
    if value is None:
        return "none"
    if isinstance(value, (Tensor, SparseTensor)):
        return describe(as_array(value))
    if isinstance(value, Graph):
        return f"graph '{value.name}'"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
