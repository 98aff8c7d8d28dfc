"""A sum and an activation behind a convolution are done on its result while that is in the cache.

Conv, Add and the activation become one FusedConv (onnxwalk.fused): each of them alone would be one
more pass over memory that has long left the cache.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.registry import FUSED_DOMAIN
from onnxwalk.ops.fast.epilogue import MONOTONIC
from onnxwalk.ops.shared.numeric import dtype_limits

_WITHOUT_PARAMETERS = ("Relu", "Tanh", "Sigmoid", "HardSwish", "Swish")


def fuse_conv(graph: Graph, context: Context) -> Graph:
    """Conv → FusedConv with what follows it, where nothing else reads what is in between."""
    links = Links(graph, context)
    edits = Edits(links)
    for conv in graph.nodes:
        if not links.is_operator(conv, "Conv") or edits.touched(conv):
            continue
        if any(links.constant(name) is None for name in conv.inputs[1:] if name):
            continue
        members, last = [conv], conv
        residual = activation = ""
        parameters: list[float] = []
        after = links.only_reader(last.outputs[0])
        if after is not None and _is_sum(after, links) and not edits.touched(after):
            residual = next(name for name in after.inputs if name != last.outputs[0])
            members.append(after)
            last = after
            after = links.only_reader(last.outputs[0])
        if after is not None and not edits.touched(after):
            found = _activation(after, last.outputs[0], links)
            if found is not None:
                activation, parameters = found
                members.append(after)
                last = after
        pool = _pool(links.only_reader(last.outputs[0]), conv, residual, activation, links)
        if pool is not None and not edits.touched(pool):
            members.append(pool)
            last = pool
        else:
            pool = None
        if last is conv:
            continue
        for node in members:
            edits.replace(node)
        edits.replace(last, _fused(conv, last, residual, activation, parameters, pool))
    return edits.graph()


def _is_sum(node: Node, links: Links) -> bool:
    """Add of two different values, neither of them a constant."""
    return (
        links.is_operator(node, "Add")
        and "broadcast" not in node.attributes
        and len(set(node.inputs)) == 2
        and all(links.constant(name) is None for name in node.inputs)
    )


def _activation(node: Node, x: str, links: Links) -> tuple[str, list[float]] | None:
    """The activation that a node is, and its parameters as FusedConv takes them."""
    if node.inputs[0] != x:
        return None
    if links.is_operator(node, *_WITHOUT_PARAMETERS) and not node.attributes.get("alpha"):
        return node.op_type, []
    if links.is_operator(node, "LeakyRelu"):
        return "LeakyRelu", [node.attributes.get("alpha", 0.01)]
    if links.is_operator(node, "HardSigmoid"):
        return "HardSigmoid", [node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)]
    if links.is_operator(node, "Clip"):
        if len(node.inputs) == 1:
            bounds = [node.attributes.get("min"), node.attributes.get("max")]
        else:
            bounds = [links.number(name) if name else None for name in (*node.inputs[1:], "")][:2]
            if any(b is None for b, name in zip(bounds, node.inputs[1:], strict=False) if name):
                return None
        low, high = (
            default if bound is None else bound
            for bound, default in zip(bounds, dtype_limits(np.dtype(np.float32)), strict=True)
        )
        return ("Clip", [low, high]) if low <= high else None
    return None


def _pool(
    node: Node | None, conv: Node, residual: str, activation: str, links: Links
) -> Node | None:
    """A MaxPool over 2 × 2 by steps of 2 that can be taken before the bias and the activation."""
    if node is None or residual or activation not in ("", *MONOTONIC):
        return None
    if not links.is_operator(node, "MaxPool") or len([name for name in node.outputs if name]) > 1:
        return None
    weights = links.constant(conv.inputs[1])
    if weights is None or weights.ndim != 4 or weights.dtype != np.float32:
        return None
    if conv.attributes.get("group", 1) != 1 or set(weights.shape[2:]) == {1}:
        return None
    attributes = {k: v for k, v in node.attributes.items() if k != "storage_order"}
    for name, plain in (("pads", [0] * 4), ("dilations", [1, 1]), ("ceil_mode", 0)):
        if attributes.pop(name, plain) != plain:
            return None
    if attributes.pop("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return node if attributes == {"kernel_shape": [2, 2], "strides": [2, 2]} else None


def _fused(
    conv: Node,
    last: Node,
    residual: str,
    activation: str,
    parameters: list[float],
    pool: Node | None,
) -> Node:
    bias = conv.inputs[2] if len(conv.inputs) > 2 else ""
    attributes = dict(conv.attributes)
    if activation:
        attributes |= {"activation": activation}
    if parameters:
        attributes |= {"activation_params": parameters}
    if pool is not None:
        attributes |= {"pool": 1}
    return replace(
        conv,
        op_type="FusedConv",
        domain=FUSED_DOMAIN,
        opset=1,
        inputs=(conv.inputs[0], conv.inputs[1], bias, residual),
        outputs=last.outputs,
        attributes=attributes,
    )
