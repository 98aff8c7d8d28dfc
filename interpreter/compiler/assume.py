"""What files leave unsaid, where there is one reading all the same: nodes out of order, the version
of a domain that isn't imported, constants and casts to types that only a later version has, and a
word that only earlier versions have. ONNX Runtime runs such files."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from onnxwalk.interpreter.compiler.context import every_node, names_used, same_nodes
from onnxwalk.interpreter.compiler.types import chosen_type
from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.interpreter.ir.model import Graph, Model, Node
from onnxwalk.ops import registry
from onnxwalk.ops.contract.records import replace
from onnxwalk.ops.contract.registry import LATEST_OPSET
from onnxwalk.ops.schema.types import signature, spec_versions

_MOST_SHOWN = 10

#: operators whose attributes choose the type, and whose later versions only add types and ways to
#: write them: exporters wrote them before the version that allows them
_CHOOSE_A_TYPE = frozenset({"Cast", "Constant", "ConstantOfShape"})

#: operator, attribute, and a word that a version took out -> the last version that has it.
#: tf2onnx writes this one for each resize to the nearest pixel, whatever the opset.
_TAKEN_OUT = {("Resize", "coordinate_transformation_mode", "tf_half_pixel_for_nn"): 12}

#: domain and operator -> the version that took it out, without putting another in its place
DEPRECATED = {
    ("", "Upsample"): 10,
    ("", "Scatter"): 11,
    ("ai.onnx.ml", "TreeEnsembleClassifier"): 5,
    ("ai.onnx.ml", "TreeEnsembleRegressor"): 5,
}


#: the operators whose nodes may be of another version than the opset's
_VERSIONED = frozenset(
    {*DEPRECATED, *(("", name) for name in _CHOOSE_A_TYPE), *(("", key[0]) for key in _TAKEN_OUT)}
)


def assume(model: Model) -> tuple[Model, list[str]]:
    """The model with its nodes in topological order, all known domains imported and its constants
    of a version that has their types, and what was assumed for that, in words. Raises
    InvalidModelError if nodes form a circle."""
    assumptions = []
    graph = _sort_graph(model.graph, frozenset(), model.source)
    functions = {
        key: replace(f, nodes=_sort(f.nodes, frozenset(), f"{model.source}: function {f.name}"))
        for key, f in model.functions.items()
    }
    if graph is not model.graph or any(
        f.nodes is not model.functions[key].nodes for key, f in functions.items()
    ):
        assumptions.append("the nodes are not in topological order, and were sorted")
        model = replace(model, graph=graph, functions=functions)
    if model.opsets:
        used = dict.fromkeys([node.domain for node in every_node(model.graph)])
        added = {d: LATEST_OPSET[d] for d in used if d not in model.opsets and d in LATEST_OPSET}
        assumptions += [
            f"the domain {domain or 'ai.onnx'} is not imported, and was taken at its newest "
            f"version, {version}"
            for domain, version in added.items()
        ]
        model = replace(model, opsets={**model.opsets, **added}) if added else model
    others: dict[str, bool] = {}
    opsets = model.opsets or {"": 1}
    graph = _with_versions(model.graph, opsets, others)
    functions = {
        key: replace(f, nodes=_nodes_with_versions(f.nodes, {**opsets, **f.opsets}, others))
        for key, f in model.functions.items()
    }
    for later, when in ((True, "before"), (False, "after")):
        if found := [text for text, is_later in others.items() if is_later is later]:
            assumptions.append(f"{when} the version that allows it: {', '.join(found)}")
    return replace(model, graph=graph, functions=functions) if others else model, assumptions


def _with_versions(graph: Graph, opsets: Mapping[str, int], others: dict[str, bool]) -> Graph:
    if graph.operators.isdisjoint(_VERSIONED) and not graph.has_graphs:
        return graph
    nodes = _nodes_with_versions(graph.nodes, opsets, others)
    return replace(graph, nodes=nodes) if others else graph


def _nodes_with_versions(
    given: Iterable[Node], opsets: Mapping[str, int], others: dict[str, bool]
) -> tuple[Node, ...]:
    """The nodes at the version that has them, or that allows what they choose or say, where that is
    not the opset's. These are added to ``others``, in words, with whether it is a later one."""
    nodes, opset = [], opsets.get("", 1)
    for node in given:
        if node.graphs:
            node = node.with_graphs(lambda inner: _with_versions(inner, opsets, others))
        taken_out = DEPRECATED.get((node.domain, node.op_type))
        if taken_out is not None and opsets.get(node.domain, 0) >= taken_out:
            found: tuple[int, str] | None = (taken_out - 1, "")
        elif node.is_one_of(*_CHOOSE_A_TYPE):
            found = _later_version(node, opset)
        else:
            found = _version_of_its_words(node, opset)
        if found:
            version, what = found
            text = " ".join(filter(None, (node.op_type, what, f"as of version {version}")))
            others.setdefault(text, version > opsets.get(node.domain, 1))
            node = replace(node, opset=version)
        nodes.append(node)
    return tuple(nodes)


def _version_of_its_words(node: Node, opset: int) -> tuple[int, str] | None:
    """The last version that has a word of the node, and for what; ``None`` if the opset has it,
    or if an input is left out that the earlier version needs."""
    for (op_type, attribute, word), version in _TAKEN_OUT.items():
        if node.is_one_of(op_type) and node.attributes.get(attribute) == word and opset > version:
            return (version, f"with {attribute} {word}") if all(node.inputs) else None
    return None


def _later_version(node: Node, opset: int) -> tuple[int, str] | None:
    """The first later version that has the node's attributes and the type that they choose, and
    what it needs it for; ``None`` if the opset has them, or no version."""
    reason = None
    for version in (opset, *(v for v in spec_versions("", node.op_type) if v > opset)):
        operator = registry.lookup("", node.op_type, version)
        spec = signature("", node.op_type, version)
        if operator is None or spec is None:
            return None
        kind = chosen_type(node, operator)
        unknown = [name for name in node.attributes if name not in spec.attributes]
        if not unknown and kind in spec.outputs[0].allowed:
            return None if reason is None else (version, reason)
        if not unknown and not kind:
            return None
        reason = reason or (f"with {unknown[0]}" if unknown else f"of {kind}")
    return None


def _sort_graph(graph: Graph, outer: frozenset[str], where: str) -> Graph:
    """The graph itself if it is in order. ``outer``: the names of the surrounding graphs, which a
    node can read before a node of its own graph defines them again."""
    known = outer.union((value.name for value in graph.inputs), graph.initializers)
    inner = known.union(*(node.outputs for node in graph.nodes))
    nodes = graph.nodes
    if graph.has_graphs:
        inside = tuple(n.with_graphs(lambda g: _sort_graph(g, inner, where)) for n in nodes)
        nodes = nodes if same_nodes(inside, nodes) else inside
    nodes = _sort(nodes, known, where)
    return graph if nodes is graph.nodes else replace(graph, nodes=nodes)


def _sort(nodes: tuple[Node, ...], known: frozenset[str], where: str) -> tuple[Node, ...]:
    """The nodes in an order in which each comes after those that it reads from, as close as
    possible to their own; the same tuple if that is such an order."""
    if _is_sorted(nodes, known):
        return nodes
    producers = {
        name: i
        for i, node in enumerate(nodes)
        for name in node.outputs
        if name and name not in known
    }
    needs = [{producers[name] for name in names_used(node) if name in producers} for node in nodes]
    users: list[list[int]] = [[] for _ in nodes]
    for i, others in enumerate(needs):
        for other in others:
            users[other].append(i)
    waiting = [len(others) for others in needs]
    ready = [i for i, count in enumerate(waiting) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for user in users[i]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, user)
    if len(order) < len(nodes):
        circle = ", ".join(f"'{nodes[i].label}'" for i in _circle(needs, set(order))[:_MOST_SHOWN])
        raise InvalidModelError(f"{where}: these nodes depend on each other in a circle: {circle}")
    return tuple(nodes[i] for i in order)


def _is_sorted(nodes: Iterable[Node], known: frozenset[str]) -> bool:
    later = {name for node in nodes for name in node.outputs if name and name not in known}
    for node in nodes:
        if not later.isdisjoint(names_used(node) if node.graphs else node.inputs):
            return False
        later.difference_update(node.outputs)
    return True


def _circle(needs: Sequence[set[int]], done: set[int]) -> list[int]:
    """Nodes that need each other, among those that aren't done."""
    path: list[int] = []
    i = next(i for i in range(len(needs)) if i not in done)
    while i not in path:
        path.append(i)
        i = min(needs[i] - done)
    return path[path.index(i) :]
