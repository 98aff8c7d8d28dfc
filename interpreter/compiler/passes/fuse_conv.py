"""Fuses a convolution with the sum, activation and pool that follow it.

They become one FusedConv (onnxwalk.fused), which computes them while a block of the result is in
the cache; each of them alone is another pass over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.records import replace
from onnxwalk.ops.contract.registry import FUSED_DOMAIN
from onnxwalk.ops.fast.epilogue import MONOTONIC
from onnxwalk.ops.shared.numeric import dtype_limits

_WITHOUT_PARAMETERS = ("Relu", "Tanh", "Sigmoid", "HardSwish", "Swish")


def fuse_conv(graph: Graph, context: Context) -> Graph:
    """Conv → FusedConv with the nodes after it, if no other node reads the values in between."""
    links = Links(graph, context)
    edits = Edits(links)
    for conv in graph.nodes:
        if not links.is_operator(conv, "Conv") or edits.is_edited(conv):
            continue
        if any(links.constant(name) is None for name in conv.inputs[1:] if name):
            continue
        members = [conv]
        residual = activation = ""
        parameters: list[float] = []
        x = conv.outputs[0]
        if (node := edits.only_reader(x)) is not None and _is_sum(node, links):
            residual = next(name for name in node.inputs if name != x)
            members.append(node)
            x = node.outputs[0]
        if (node := edits.only_reader(x)) is not None and (match := _activation(node, x, links)):
            activation, parameters = match
            members.append(node)
            x = node.outputs[0]
        node = edits.only_reader(x)
        pools = _is_pool(node, conv, residual, activation, links)
        if node is not None and pools:
            members.append(node)
        if len(members) == 1:
            continue
        for node in members:
            edits.replace(node)
        options = {"activation": activation, "activation_params": parameters, "pool": int(pools)}
        edits.replace(members[-1], _fuse(conv, members[-1].outputs, residual, options))
    return edits.graph()


def _is_sum(node: Node, links: Links) -> bool:
    """Whether a node is an Add of two different values, neither of them a constant."""
    return (
        links.is_operator(node, "Add")
        and "broadcast" not in node.attributes
        and len(set(node.inputs)) == 2
        and all(links.constant(name) is None for name in node.inputs)
    )


def _activation(node: Node, x: str, links: Links) -> tuple[str, list[float]] | None:
    """The name of the activation that a node computes on ``x``, and FusedConv's parameters."""
    if node.inputs[0] != x:
        return None
    if (node.domain, node.op_type) == (FUSED_DOMAIN, "Requantize"):
        multipliers = links.constant(node.inputs[1])
        assert multipliers is not None, "the rewrite ``quantized`` makes it so"
        limits = [node.attributes["low"], node.attributes["high"]]
        return "Requantize", [*limits, *multipliers.reshape(-1).tolist()]
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


def _is_pool(node: Node | None, conv: Node, residual: str, activation: str, links: Links) -> bool:
    """Whether a node is a MaxPool over 2 × 2 with stride 2 that can come before bias and
    activation."""
    if node is None or residual or activation not in ("", *MONOTONIC):
        return False
    if not links.is_operator(node, "MaxPool") or len([name for name in node.outputs if name]) > 1:
        return False
    weights = links.constant(conv.inputs[1])
    if weights is None or weights.ndim != 4 or weights.dtype != np.float32:
        return False
    if conv.attributes.get("group", 1) != 1 or set(weights.shape[2:]) == {1}:
        return False
    attributes = {k: v for k, v in node.attributes.items() if k != "storage_order"}
    for name, plain in (("pads", [0] * 4), ("dilations", [1, 1]), ("ceil_mode", 0)):
        if attributes.pop(name, plain) != plain:
            return False
    if attributes.pop("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    return attributes == {"kernel_shape": [2, 2], "strides": [2, 2]}


def _fuse(conv: Node, outputs: tuple[str, ...], residual: str, options: dict[str, Any]) -> Node:
    bias = conv.inputs[2] if len(conv.inputs) > 2 else ""
    return replace(
        conv,
        op_type="FusedConv",
        domain=FUSED_DOMAIN,
        opset=1,
        inputs=(conv.inputs[0], conv.inputs[1], bias, residual),
        outputs=outputs,
        attributes={**conv.attributes, **{k: v for k, v in options.items() if v}},
    )
