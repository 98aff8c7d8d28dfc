"""What is other in one model file than in another: header, inputs, nodes, weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxwalk.interpreter.analysis.compare.cause import array_of, changed_attributes, same_bits
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Tolerance, difference
from onnxwalk.interpreter.display import describe
from onnxwalk.interpreter.ir.model import (
    Function,
    Graph,
    Model,
    Node,
    SparseTensor,
    Tensor,
    ValueInfo,
)


@dataclass
class Named:
    """Things with names, compared: ``only_a`` and ``only_b`` say what they are, ``changed`` both,
    as "from" and "to" or as a list of what is other. ``same`` is a number."""

    only_a: dict[str, str] = field(default_factory=dict)
    only_b: dict[str, str] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)
    same: int = 0

    def __bool__(self) -> bool:
        """Whether anything is other."""
        return bool(self.only_a or self.only_b or self.changed)


@dataclass
class Weights:
    """The constants of the graphs: ``differing`` with how far they lie apart, over all elements."""

    only_a: dict[str, str] = field(default_factory=dict)
    only_b: dict[str, str] = field(default_factory=dict)
    differing: dict[str, Difference] = field(default_factory=dict)
    same: int = 0

    def __bool__(self) -> bool:
        """Whether anything is other."""
        return bool(self.only_a or self.only_b or self.differing)


@dataclass
class ModelDiff:
    """What is other. ``reordered``: the nodes of both are written in another order, which by
    itself is no difference."""

    header: Named = field(default_factory=Named)
    inputs: Named = field(default_factory=Named)
    outputs: Named = field(default_factory=Named)
    nodes: Named = field(default_factory=Named)
    values: Named = field(default_factory=Named)
    weights: Weights = field(default_factory=Weights)
    reordered: bool = False

    @property
    def equal(self) -> bool:
        return not any(
            (self.header, self.inputs, self.outputs, self.nodes, self.values, self.weights)
        )


def diff(a: Model, b: Model) -> ModelDiff:
    """Compare two files by names: of values, weights and nodes; a node without a name, or with one
    that others have too, goes by its first output. Nothing is computed."""
    found = ModelDiff()
    found.header = _texts(_header(a), _header(b))
    _graphs(a.graph, b.graph, "", found)
    for key in dict.fromkeys([*a.functions, *b.functions]):
        name = "function " + ".".join(filter(None, key))
        one, two = a.functions.get(key), b.functions.get(key)
        if one is None or two is None:
            side = found.nodes.only_b if one is None else found.nodes.only_a
            present = one or two
            assert present is not None
            side[name] = f"{len(present.nodes)} nodes"
        else:
            _functions(one, two, name, found)
    return found


def _header(model: Model) -> dict[str, str]:
    header = {
        "ir_version": str(model.ir_version),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "domain": model.domain,
        "model_version": str(model.model_version or ""),
        "doc": model.doc,
        "graph": model.graph.name,
    }
    header |= {f"opset {domain or 'ai.onnx'}": str(v) for domain, v in model.opsets.items()}
    header |= {f"metadata {key}": value for key, value in model.metadata.items()}
    return {key: value for key, value in header.items() if value}


def _graphs(a: Graph, b: Graph, scope: str, found: ModelDiff) -> None:
    """``scope`` goes before the names of what is in subgraphs: "node/attribute/"."""
    _add(found.inputs, _texts(_types(a.inputs), _types(b.inputs)), scope)
    _add(found.outputs, _texts(_types(a.outputs), _types(b.outputs)), scope)
    declared = _texts(_types(a.value_info.values()), _types(b.value_info.values()))
    _add(found.values, declared, scope)
    _weights(a.initializers, b.initializers, scope, found.weights)
    _nodes(a.nodes, b.nodes, scope, found)


def _functions(a: Function, b: Function, name: str, found: ModelDiff) -> None:
    changes = [
        f"{what}: {x}, there {y}"
        for what in ("inputs", "outputs", "attributes")
        if (x := list(getattr(a, what))) != (y := list(getattr(b, what)))
    ]
    if changes:
        found.nodes.changed[name] = changes
    _nodes(a.nodes, b.nodes, f"{name}/", found)


def _nodes(a: Iterable[Node], b: Iterable[Node], scope: str, found: ModelDiff) -> None:
    mine, theirs = _by_name(a), _by_name(b)
    result = found.nodes
    result.only_a |= {scope + n: _told(node) for n, node in mine.items() if n not in theirs}
    result.only_b |= {scope + n: _told(node) for n, node in theirs.items() if n not in mine}
    common = [name for name in mine if name in theirs]
    found.reordered |= common != [name for name in theirs if name in mine]
    for name in common:
        changes = _changes(mine[name], theirs[name])
        if changes:
            result.changed[scope + name] = changes
        else:
            result.same += 1
        graphs = dict(mine[name].graphs), dict(theirs[name].graphs)
        for attribute in graphs[0].keys() & graphs[1].keys():
            inner = f"{scope}{name}/{attribute}/"
            _graphs(graphs[0][attribute], graphs[1][attribute], inner, found)


def _by_name(nodes: Iterable[Node]) -> dict[str, Node]:
    nodes = list(nodes)
    often = Counter(node.name for node in nodes)
    found: dict[str, Node] = {}
    for place, node in enumerate(nodes):
        output = next((name for name in node.outputs if name), f"node {place}")
        name = node.name if node.name and often[node.name] == 1 else output
        found[name if name not in found else f"{name} ({place})"] = node
    return found


def _told(node: Node) -> str:
    return f"{node.operator_name}({', '.join(node.inputs)})"


def _changes(a: Node, b: Node) -> list[str]:
    found = []
    if a.operator_name != b.operator_name:
        found.append(f"operator: {a.operator_name}, there {b.operator_name}")
    for what in ("inputs", "outputs"):
        x, y = getattr(a, what), getattr(b, what)
        if x != y:
            found.append(f"{what}: {', '.join(x) or 'none'}, there {', '.join(y) or 'none'}")
    return found + changed_attributes(a, b)


def _weights(
    a: Mapping[str, Tensor | SparseTensor],
    b: Mapping[str, Tensor | SparseTensor],
    scope: str,
    found: Weights,
) -> None:
    found.only_a |= {scope + n: describe(array_of(t)) for n, t in a.items() if n not in b}
    found.only_b |= {scope + n: describe(array_of(t)) for n, t in b.items() if n not in a}
    for name in a:
        if name not in b:
            continue
        x, y = array_of(a[name]), array_of(b[name])
        if same_bits(x, y):
            found.same += 1
        else:
            found.differing[scope + name] = difference(x, y, Tolerance(0.0, 0.0))


def _types(values: Iterable[ValueInfo]) -> dict[str, str]:
    return {value.name: str(value.type or "unknown") for value in values}


def _texts(a: Mapping[str, str], b: Mapping[str, str]) -> Named:
    found = Named()
    found.only_a = {key: text for key, text in a.items() if key not in b}
    found.only_b = {key: text for key, text in b.items() if key not in a}
    for key in a:
        if key in b and a[key] != b[key]:
            found.changed[key] = [f"{a[key]}, there {b[key]}"]
        elif key in b:
            found.same += 1
    return found


def _add(to: Named, more: Named, scope: str) -> None:
    to.only_a |= {scope + key: text for key, text in more.only_a.items()}
    to.only_b |= {scope + key: text for key, text in more.only_b.items()}
    to.changed |= {scope + key: texts for key, texts in more.changed.items()}
    to.same += more.same


def as_data(found: ModelDiff) -> dict[str, Any]:
    """All of it as plain data, for JSON."""
    sections: dict[str, Any] = {"equal": found.equal}
    for name in ("header", "inputs", "outputs", "nodes", "values"):
        named: Named = getattr(found, name)
        sections[name] = {
            "only_a": named.only_a,
            "only_b": named.only_b,
            "changed": named.changed,
            "same": named.same,
        }
    weights = found.weights
    sections["weights"] = {
        "only_a": weights.only_a,
        "only_b": weights.only_b,
        "differing": {
            name: {
                "absolute": apart.absolute,
                "relative": apart.relative,
                "type_a": apart.a,
                "type_b": apart.b,
                "reason": apart.reason or None,
                "differs_most": [{"index": list(s.index), "a": s.a, "b": s.b} for s in apart.spots],
            }
            for name, apart in weights.differing.items()
        },
        "same": weights.same,
    }
    sections["reordered"] = found.reordered
    return sections
