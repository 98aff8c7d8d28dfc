"""What no output depends on is dropped: nodes, initializers, and the names of unused outputs."""

from __future__ import annotations

from dataclasses import replace

from onnxwalk.interpreter.compiler.context import Context, names_read
from onnxwalk.interpreter.ir.model import Graph, Node

#: the built-in operators whose further outputs are only more to compute
_ONLY_MORE = {"MaxPool", "Dropout", "BiasDropout", "Attention", "MultiHeadAttention"}


def drop_unused(graph: Graph, context: Context) -> Graph:
    """Keep only what the graph's outputs need, in subgraphs too."""
    needed = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if not needed.intersection(name for name in node.outputs if name):
            continue
        node = _within(node, context)
        outputs = [name if name in needed else "" for name in node.outputs]
        while outputs and not outputs[-1]:
            outputs.pop()
        if tuple(outputs) != node.outputs and not _counts_outputs(node, context):
            node = replace(node, outputs=tuple(outputs))
        kept.append(node)
        needed |= names_read(node)
    return replace(
        graph,
        nodes=tuple(reversed(kept)),
        initializers={n: t for n, t in graph.initializers.items() if n in needed},
    )


def _counts_outputs(node: Node, context: Context) -> bool:
    """Whether how many outputs are named changes what the others are: Split cuts into as many
    parts, BatchNormalization before opset 14 takes several to mean training."""
    operator = context.operator(node)
    counts = operator is not None and "n_outputs" in operator.reserved
    return counts and not (node.op_type in _ONLY_MORE and context.is_builtin(node))


def _within(node: Node, context: Context) -> Node:
    changed = {name: drop_unused(inner, context) for name, inner in node.graphs}
    return replace(node, attributes={**node.attributes, **changed}) if changed else node
