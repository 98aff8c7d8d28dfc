"""The graph as it is in training: Dropout drops, and BatchNormalization goes by its batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.ir.model import Graph, Node, Tensor
from onnxwalk.interpreter.training.losses import Nodes


def in_training(
    graph: Graph, context: Context, frozen: Collection[str], recorded: Collection[str] | None
) -> tuple[Graph, dict[str, str]]:
    """The graph with its nodes in training mode, and the moving statistics that a step sets: by
    the name of the initializer, the value that is to be its next one.

    ``frozen``: initializers that keep their values; a normalization by such statistics stays as in
    inference. ``recorded``: the nodes that act otherwise in training; ``None``: all that can.
    """
    nodes = Nodes(graph, "training")
    statistics: dict[str, str] = {}

    def change(node: Node) -> Node:
        node = node.with_graphs(lambda inner: replace(inner, nodes=tuple(map(change, inner.nodes))))
        if recorded is not None and node.name not in recorded:
            return node
        if context.is_operator(node, "Dropout"):
            return _dropping(node, context, nodes)
        return node

    changed = []
    for node in graph.nodes:
        node = change(node)
        is_chosen = recorded is None or node.name in recorded
        if is_chosen and context.is_operator(node, "BatchNormalization"):
            node = _by_batch(node, context, graph, frozen, nodes, statistics)
        changed.append(node)
    return replace(nodes.graph(), nodes=tuple(changed)), statistics


def _dropping(node: Node, context: Context, nodes: Nodes) -> Node:
    opset = context.opset(node) or 1
    if opset < 7:
        return replace(node, attributes={**node.attributes, "is_test": 0})
    data, ratio, *_ = (*node.inputs, "", "")
    if opset < 12:  # these versions drop nothing
        ratio = nodes.constant(node.attributes.get("ratio", 0.5), np.float32)
        node, opset = replace(node, attributes={}, outputs=node.outputs[:1]), 13
    return replace(node, inputs=(data, ratio, nodes.constant(True, np.bool_)), opset=opset)


def _by_batch(
    node: Node,
    context: Context,
    graph: Graph,
    frozen: Collection[str],
    nodes: Nodes,
    statistics: dict[str, str],
) -> Node:
    opset, moving = context.opset(node) or 1, node.inputs[3:5]
    constants: Mapping[str, object] = graph.initializers
    if any(name in frozen or not isinstance(constants.get(name), Tensor) for name in moving):
        return node
    count = 2 if opset >= 14 else 4
    further = [nodes.name(f"{name}/next") for name in moving]
    further += [nodes.name(f"{name}/current") for name in moving][: count - 2]
    if opset >= 14:
        attributes = {**node.attributes, "training_mode": 1}
    else:
        attributes = {**node.attributes, "is_test": 0} if opset < 7 else dict(node.attributes)
    statistics |= dict(zip(moving, further, strict=False))
    return replace(node, outputs=(node.outputs[0], *further), attributes=attributes)
