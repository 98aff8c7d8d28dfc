"""Puts the nodes that compute gradients in the place of ``Gradient`` nodes (of
ai.onnx.preview.training)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnxwalk.interpreter.compiler.context import Context, every_node, names_used
from onnxwalk.interpreter.compiler.gradients.differentiate import differentiate
from onnxwalk.interpreter.errors import InvalidInputError, InvalidModelError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import Graph, Node

_TRAINING = "ai.onnx.preview.training"


def splice_gradients(graph: Graph, context: Context, source: str) -> Graph:
    """The graph with its ``Gradient`` nodes replaced; itself if it has none.

    Such a node names values of its graph: ``y``, ``xs``, by which y is differentiated, and ``zs``,
    which count as constants. Its inputs are the values of xs and zs at which that is done.

    Raises InvalidModelError or UnsupportedModelError naming the node.
    """
    while True:
        position = next((i for i, node in enumerate(graph.nodes) if _is_gradient(node)), None)
        if position is None:
            break
        graph = _splice(graph, position, context, source)
    if inside := [node for node in every_node(graph) if _is_gradient(node)]:
        raise UnsupportedModelError(
            f"{source}: {inside[0]} is inside of a subgraph, where it is not supported"
        )
    return graph


def _is_gradient(node: Node) -> bool:
    return node.is_one_of("Gradient", domain=_TRAINING)


def _splice(graph: Graph, position: int, context: Context, source: str) -> Graph:
    node, before = graph.nodes[position], replace(graph, nodes=graph.nodes[:position])
    xs, zs = list(node.attributes["xs"]), list(node.attributes.get("zs") or [])
    y = node.attributes["y"]
    if len(node.inputs) != len(xs) + len(zs) or not xs:
        raise InvalidModelError(
            f"{source}: {node} has {len(node.inputs)} inputs, but names {len(xs) + len(zs)} values "
            "in xs and zs"
        )
    values = dict(zip([*xs, *zs], node.inputs, strict=True))
    if any(name != given for name, given in values.items()):
        before, values = _at(before, values, y, f"{node.label}/")
    y, xs, zs = str(values.get(y, y)), [values[x] for x in xs], [values[z] for z in zs]
    try:
        found = differentiate(
            before, context, [y], xs, of_sum=True, cut=frozenset([*xs, *zs]), source=source
        )
    except InvalidInputError as error:
        raise InvalidModelError(f"{source}: {node}: {error}") from None
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{error} (for {node})") from None
    # (its attributes say nothing of the opset: whatever the file imports has an Identity)
    results = [
        Node("Identity", (gradient,), (name,), name=f"{node.label}, output {i + 1}", opset=13)
        for i, (gradient, name) in enumerate(zip(found.gradients, node.outputs, strict=False))
        if name
    ]
    nodes = (*found.graph.nodes, *results, *graph.nodes[position + 1 :])
    return replace(graph, nodes=nodes)


def _at(
    graph: Graph, values: Mapping[str, str], y: str, prefix: str
) -> tuple[Graph, dict[str, str]]:
    """The graph with the nodes that compute y once more, from other values in place of some; and
    the new names."""
    names = {name: prefix + name for name in values}
    copies = [
        Node("Identity", (given,), (names[name],), name=names[name], opset=13)
        for name, given in values.items()
    ]
    for node in graph.nodes:
        if all(name in names for name in node.outputs) or names_used(node).isdisjoint(names):
            continue
        if node.graphs:
            raise UnsupportedModelError(
                f"{node} has subgraphs: its gradient can only be taken at its own inputs"
            )
        outputs = [names.setdefault(name, prefix + name) if name else "" for name in node.outputs]
        inputs = tuple(names.get(name, name) for name in node.inputs)
        copies.append(
            replace(node, inputs=inputs, outputs=tuple(outputs), name=prefix + node.label)
        )
    return replace(graph, nodes=(*graph.nodes, *copies)), names
