"""Drops what no output depends on: nodes, initializers, and the names of unused outputs."""

from __future__ import annotations

from onnxwalk.interpreter.compiler.context import Context, names_used, same_nodes
from onnxwalk.interpreter.ir.model import Graph
from onnxwalk.ops.contract.records import replace


def drop_unused(graph: Graph, context: Context) -> Graph:
    """Keep only what the graph's outputs need, in subgraphs too; the graph itself if it has no
    more."""
    needed = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if len(node.outputs) == 1 and node.outputs[0] in needed and not node.graphs:
            kept.append(node)
            needed.update(node.inputs)
            continue
        if not any(name in needed for name in node.outputs if name):
            continue
        node = node.with_graphs(lambda inner: drop_unused(inner, context))
        outputs = [name if name in needed else "" for name in node.outputs]
        while outputs and not outputs[-1]:
            outputs.pop()
        operator = context.operator(node)
        if tuple(outputs) != node.outputs and not (operator and operator.counts_outputs):
            node = replace(node, outputs=tuple(outputs))
        kept.append(node)
        needed |= names_used(node)
    nodes = tuple(reversed(kept))
    initializers = {n: t for n, t in graph.initializers.items() if n in needed}
    if len(initializers) == len(graph.initializers) and same_nodes(nodes, graph.nodes):
        return graph
    return replace(graph, nodes=nodes, initializers=initializers)
