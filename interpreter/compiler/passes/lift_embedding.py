"""Moves an embedding into the recurrent layer that reads it, which then gets the ids.

The layer's input weights can be multiplied into the embedding once: then a word costs the lookup of
a row, and no product (``ops.fast.recurrent.Table``). Nodes between the embedding and the layer are
applied to the ids instead of the embedded words.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.ir.model import Graph, Node, Tensor
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.records import replace
from onnxwalk.ops.contract.registry import FUSED_DOMAIN


def lift_embedding(graph: Graph, context: Context) -> Graph:
    """RNN, LSTM, GRU of (Transpose of)(GatherND of) Gather(table, ids): the layer of the ids."""
    links = Links(graph, context)
    edits = Edits(links)
    for node in graph.nodes:
        if not links.is_operator(node, "RNN", "LSTM", "GRU"):
            continue
        if any(links.constant(name) is None for name in node.inputs[1:4] if name):
            continue
        match = _find_ids(node.inputs[0], links)
        if match is None:
            continue
        table, name, moves = match
        tensor = Tensor("table", element_type(table.dtype).code, table)
        layer = replace(
            node,
            domain=FUSED_DOMAIN,
            opset=1,
            inputs=(name, *node.inputs[1:]),
            attributes={**node.attributes, "table": tensor},
        )
        edits.replace(node, *moves, layer)
    return edits.graph()


def _find_ids(x: str, links: Links) -> tuple[np.ndarray, str, list[Node]] | None:
    """If ``x`` consists of rows of a table: the table, the name of the ids of these rows, and the
    nodes that compute the ids."""
    path: list[Node] = []
    while True:
        node = links.maker.get(x)
        if node is None:
            return None
        if links.is_operator(node, "Gather"):
            break
        is_transpose = links.is_operator(node, "Transpose")
        if is_transpose and list(node.attributes.get("perm", [])) != [1, 0, 2]:
            return None
        is_gather = links.is_operator(node, "GatherND") and node.attributes.get("batch_dims") == 1
        if not (is_transpose or is_gather):
            return None
        path.append(node)
        x = node.inputs[0]
    table = links.constant(node.inputs[0])
    if table is None or table.ndim != 2 or table.dtype != np.float32 or not len(table):
        return None
    if node.attributes.get("axis", 0) not in (0, -2):
        return None
    name, moves = node.inputs[1], []
    for move in reversed(path):
        output = f"{move.outputs[0]}/ids"
        attributes = dict(move.attributes)
        if move.op_type == "Transpose":
            attributes["perm"] = [1, 0]
        inputs = (name, *move.inputs[1:])
        moves.append(replace(move, inputs=inputs, outputs=(output,), attributes=attributes))
        name = output
    return table, name, moves
