"""The differences of two model files: header, inputs, outputs, nodes, weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from onnxwalk.interpreter.analysis.compare.cause import changed_attributes, has_equal_bits
from onnxwalk.interpreter.analysis.compare.metrics import EXACT, Difference, difference
from onnxwalk.interpreter.constants import as_array
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

Change = TypeVar("Change")


@dataclass
class Section(Generic[Change]):
    """Items of both files by name: descriptions of those in one file only, what ``changed`` in
    those of both, and the number of equal ones."""

    only_a: dict[str, str] = field(default_factory=dict)
    only_b: dict[str, str] = field(default_factory=dict)
    changed: dict[str, Change] = field(default_factory=dict)
    same: int = 0

    def __bool__(self) -> bool:
        """Whether there is a difference."""
        return bool(self.only_a or self.only_b or self.changed)


@dataclass
class ModelDiff:
    """The differences of two models. ``reordered``: the common nodes are in a different order,
    which alone isn't a difference."""

    header: Section[list[str]] = field(default_factory=Section)
    inputs: Section[list[str]] = field(default_factory=Section)
    outputs: Section[list[str]] = field(default_factory=Section)
    nodes: Section[list[str]] = field(default_factory=Section)
    values: Section[list[str]] = field(default_factory=Section)
    weights: Section[Difference] = field(default_factory=Section)
    reordered: bool = False

    @property
    def equal(self) -> bool:
        return not any(
            (self.header, self.inputs, self.outputs, self.nodes, self.values, self.weights)
        )


def diff(a: Model, b: Model) -> ModelDiff:
    """Compare two files without running them. Values, weights and nodes are matched by name, nodes
    without a unique name by their first output."""
    result = ModelDiff()
    _compare_texts(_header(a), _header(b), "", result.header)
    _compare_graphs(a.graph, b.graph, "", result)
    for key in dict.fromkeys([*a.functions, *b.functions]):
        name = "function " + ".".join(filter(None, key))
        one, two = a.functions.get(key), b.functions.get(key)
        if one is None or two is None:
            for function, section in ((one, result.nodes.only_a), (two, result.nodes.only_b)):
                if function is not None:
                    section[name] = f"{len(function.nodes)} nodes"
        else:
            _compare_functions(one, two, name, result)
    return result


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


def _compare_graphs(a: Graph, b: Graph, scope: str, result: ModelDiff) -> None:
    """``scope`` is the prefix of names in a subgraph: "node/attribute/"."""
    _compare_texts(_types(a.inputs), _types(b.inputs), scope, result.inputs)
    _compare_texts(_types(a.outputs), _types(b.outputs), scope, result.outputs)
    types = _types(a.value_info.values()), _types(b.value_info.values())
    _compare_texts(*types, scope, result.values)
    _compare_weights(a.initializers, b.initializers, scope, result.weights)
    _compare_nodes(a.nodes, b.nodes, scope, result)


def _compare_functions(a: Function, b: Function, name: str, result: ModelDiff) -> None:
    changes = [
        f"{key}: {x} → {y}"
        for key in ("inputs", "outputs", "attributes")
        if (x := list(getattr(a, key))) != (y := list(getattr(b, key)))
    ]
    if changes:
        result.nodes.changed[name] = changes
    _compare_nodes(a.nodes, b.nodes, f"{name}/", result)


def _compare_nodes(a: Iterable[Node], b: Iterable[Node], scope: str, result: ModelDiff) -> None:
    mine, theirs = _by_name(a), _by_name(b)
    section = result.nodes
    section.only_a |= {scope + n: _call_text(node) for n, node in mine.items() if n not in theirs}
    section.only_b |= {scope + n: _call_text(node) for n, node in theirs.items() if n not in mine}
    common = [name for name in mine if name in theirs]
    result.reordered |= common != [name for name in theirs if name in mine]
    for name in common:
        changes = _list_changes(mine[name], theirs[name])
        if changes:
            section.changed[scope + name] = changes
        else:
            section.same += 1
        graphs = dict(mine[name].graphs), dict(theirs[name].graphs)
        for attribute in graphs[0].keys() & graphs[1].keys():
            inner = f"{scope}{name}/{attribute}/"
            _compare_graphs(graphs[0][attribute], graphs[1][attribute], inner, result)


def _by_name(nodes: Iterable[Node]) -> dict[str, Node]:
    nodes = list(nodes)
    counts = Counter(node.name for node in nodes)
    named: dict[str, Node] = {}
    for index, node in enumerate(nodes):
        output = next((name for name in node.outputs if name), f"node {index}")
        name = node.name if node.name and counts[node.name] == 1 else output
        named[name if name not in named else f"{name} ({index})"] = node
    return named


def _call_text(node: Node) -> str:
    return f"{node.operator_name}({', '.join(node.inputs)})"


def _list_changes(a: Node, b: Node) -> list[str]:
    changes = []
    if a.operator_name != b.operator_name:
        changes.append(f"operator: {a.operator_name} → {b.operator_name}")
    for name in ("inputs", "outputs"):
        x, y = getattr(a, name), getattr(b, name)
        if x != y:
            changes.append(f"{name}: {', '.join(x) or 'none'} → {', '.join(y) or 'none'}")
    return changes + changed_attributes(a, b)


def _compare_weights(
    a: Mapping[str, Tensor | SparseTensor],
    b: Mapping[str, Tensor | SparseTensor],
    scope: str,
    section: Section[Difference],
) -> None:
    section.only_a |= {scope + n: describe(as_array(t)) for n, t in a.items() if n not in b}
    section.only_b |= {scope + n: describe(as_array(t)) for n, t in b.items() if n not in a}
    for name in a:
        if name not in b:
            continue
        x, y = as_array(a[name]), as_array(b[name])
        if has_equal_bits(x, y):
            section.same += 1
        else:
            section.changed[scope + name] = difference(x, y, EXACT)


def _types(values: Iterable[ValueInfo]) -> dict[str, str]:
    return {value.name: str(value.type or "unknown") for value in values}


def _compare_texts(
    a: Mapping[str, str], b: Mapping[str, str], scope: str, section: Section[list[str]]
) -> None:
    section.only_a |= {scope + key: text for key, text in a.items() if key not in b}
    section.only_b |= {scope + key: text for key, text in b.items() if key not in a}
    for key in a:
        if key in b and a[key] != b[key]:
            section.changed[scope + key] = [f"{a[key]} → {b[key]}"]
        elif key in b:
            section.same += 1


def as_data(result: ModelDiff) -> dict[str, Any]:
    """The differences as plain data, for JSON."""
    data: dict[str, Any] = {"equal": result.equal}
    for name in ("header", "inputs", "outputs", "nodes", "values"):
        data[name] = vars(getattr(result, name))
    data["weights"] = {
        "only_a": result.weights.only_a,
        "only_b": result.weights.only_b,
        "differing": {name: each.as_data() for name, each in result.weights.changed.items()},
        "same": result.weights.same,
    }
    data["reordered"] = result.reordered
    return data
