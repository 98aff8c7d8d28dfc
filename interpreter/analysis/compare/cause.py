"""The first value that differs: which node made it, out of what, and what is other there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from onnxwalk.interpreter.analysis.compare.comparison import Comparison, Row, Sides
from onnxwalk.interpreter.analysis.compare.keras_side import KerasModel
from onnxwalk.interpreter.analysis.compare.layers import between
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Tolerance, difference
from onnxwalk.interpreter.analysis.compare.sides import Renamed, Walk
from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.display import describe
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.interpreter.session import Session


@dataclass(frozen=True)
class Cause:
    """``node`` makes the value that differs first; ``nodes`` lead to it from values that are the
    same on both sides, and it is the last of them.

    ``inputs``: of these nodes, the values from outside, by name: type and shape. ``weights``: those
    constants that are others in the other file, by name. ``changes``: what else is.
    """

    row: Row
    name: str
    node: Node | None
    nodes: tuple[Node, ...]
    inputs: Mapping[str, str]
    weights: Mapping[str, Difference]
    changes: tuple[str, ...]


def find_cause(sides: Sides, found: Comparison, tolerance: Tolerance) -> Cause | None:
    """What there is to tell about the first value that differs; ``None`` if none does.

    Walks through the model once more, up to that value. Raises OnnxWalkError.
    """
    row = found.first
    if row is None:
        return None
    name = row.pair[sides.leader]
    if not any(sides.models):
        return _of_layers(sides, row)
    nodes = slice_of(sides, found, sides.leader, name)
    session = sides.session
    inputs = {n: describe(v) for n, v in operands(session, found.feeds, nodes).items()}
    weights: dict[str, Difference] = {}
    changes: list[str] = []
    one, two = sides.models
    if one is not None and two is not None and one is not two:
        others = slice_of(sides, found, 1, row.pair.b)
        weights, changes = _compared(one, nodes, two, others)
    return Cause(
        row, name, nodes[-1] if nodes else None, tuple(nodes), inputs, weights, tuple(changes)
    )


def _of_layers(sides: Sides, row: Row) -> Cause:
    """What is other in two layers of Keras: their weights, and what they are configured with."""
    weights: dict[str, Difference] = {}
    changes: list[str] = []
    mine, theirs = (
        cast(KerasModel, side.side if isinstance(side, Renamed) else side).layers.get(name)
        for side, name in zip((sides.a, sides.b), row.pair[:2], strict=True)
    )
    if mine is not None and theirs is not None:
        exact = Tolerance(0.0, 0.0)
        for x, y in zip(mine.weights, theirs.weights, strict=False):
            apart = difference(np.asarray(x), np.asarray(y), exact)
            if not apart.equal:
                weights[x.path] = apart
        one, two = ({"class": type(x).__name__, **x.get_config()} for x in (mine, theirs))
        changes = [
            f"{key}: {shown(one.get(key))}, there {shown(two.get(key))}"
            for key in dict.fromkeys([*one, *two])
            if key != "name" and one.get(key) != two.get(key)
        ]
    return Cause(row, row.pair.a, None, (), {}, weights, tuple(changes))


def slice_of(sides: Sides, found: Comparison, side: int, name: str) -> list[Node]:
    """The nodes of a side's file that make the value ``name`` out of values that are the same."""
    session = sides.models[side]
    assert session is not None
    same = {row.pair[side] for row in found.rows if row.equal}
    return between(session.model.graph, name, same)


def operands(session: Session, feeds: Mapping[str, Any], nodes: Sequence[Node]) -> dict[str, Any]:
    """The values that these nodes take from outside of them: computed, fed and constant ones."""
    made = {name for node in nodes for name in node.outputs}
    read = dict.fromkeys(
        name
        for node in nodes
        for name in (*node.inputs, *sorted(names_used(node)))
        if name and name not in made
    )
    constants = session.model.graph.initializers
    found: dict[str, Any] = {}
    for name in read:
        if name in feeds:
            found[name] = feeds[name]
        elif name in constants:
            found[name] = array_of(constants[name])
    missing = [name for name in read if name not in found]
    if missing:
        found |= dict(Walk(session, session.model.source).stream(feeds, missing))
    return {name: found[name] for name in read if name in found}


def array_of(tensor: Tensor | SparseTensor) -> np.ndarray:
    """A constant as an array."""
    return tensor.array if isinstance(tensor, Tensor) else tensor.to_dense()


def _compared(
    one: Session, nodes: Sequence[Node], two: Session, others: Sequence[Node]
) -> tuple[dict[str, Difference], list[str]]:
    """What two files have other in nodes that do the same: weights, and the rest in words."""
    if [node.op_type for node in nodes] != [node.op_type for node in others]:
        kinds = " → ".join(node.op_type for node in others) or "no node"
        return {}, [f"made by {kinds} in the other file"]
    exact = Tolerance(0.0, 0.0)
    weights: dict[str, Difference] = {}
    changes: list[str] = []
    for mine, theirs in zip(nodes, others, strict=True):
        for name, a, b in _constants(one.model.graph, mine, two.model.graph, theirs):
            apart = difference(a, b, exact)
            if not apart.equal:
                weights[name] = apart
        changes += [f"attribute {text}" for text in changed_attributes(mine, theirs)]
    return weights, changes


def _constants(
    one: Graph, mine: Node, two: Graph, theirs: Node
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The constants that both nodes take in the same place, by the name in the first file."""
    for a, b in zip(mine.inputs, theirs.inputs, strict=False):
        if a in one.initializers and b in two.initializers:
            yield a, array_of(one.initializers[a]), array_of(two.initializers[b])


def changed_attributes(a: Node, b: Node) -> list[str]:
    """The attributes that two nodes differ in, as "axis: 1, there 2"; graphs are left out."""
    found = []
    for name in dict.fromkeys([*a.attributes, *b.attributes]):
        x, y = a.attributes.get(name), b.attributes.get(name)
        if isinstance(x, Graph) and isinstance(y, Graph):
            continue
        if not same_attribute(x, y):
            found.append(f"{name}: {shown(x)}, there {shown(y)}")
    return found


def same_attribute(x: Any, y: Any) -> bool:
    """Whether two attributes' values are the same, bit for bit. Graphs are not looked into."""
    if isinstance(x, (Tensor, SparseTensor)) and isinstance(y, (Tensor, SparseTensor)):
        return same_bits(array_of(x), array_of(y))
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(same_attribute, x, y))
    if isinstance(x, float) and isinstance(y, float):
        return x == y or (x != x and y != y)
    return type(x) is type(y) and bool(x == y)


def same_bits(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two arrays are of one type and shape, and the same bit for bit."""
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.dtype.hasobject:
        return bool(np.array_equal(x, y))
    x, y = np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(y).reshape(-1)
    return bool(np.array_equal(x.view(np.uint8), y.view(np.uint8)))


def shown(value: Any) -> str:
    """An attribute's value, in short."""
    if value is None:
        return "not given"
    if isinstance(value, (Tensor, SparseTensor)):
        return describe(array_of(value))
    if isinstance(value, Graph):
        return f"graph '{value.name}'"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
