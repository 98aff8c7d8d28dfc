"""Merges the nodes around a convolution into it: padding before it, a scale and a shift after it.
Only pads and weights change; the nodes cost nothing in a run."""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.records import replace


def merge_pad(graph: Graph, context: Context) -> Graph:
    """Pad with zeros, read by one Conv alone, becomes the ``pads`` of that Conv."""
    links = Links(graph, context)
    edits = Edits(links)
    for node in graph.nodes:
        auto_pad = node.attributes.get("auto_pad", "NOTSET")
        if not links.is_operator(node, "Conv") or auto_pad not in ("NOTSET", "VALID"):
            continue
        pad = links.maker.get(node.inputs[0])
        weights = links.constant(node.inputs[1])
        if pad is None or links.only_reader(node.inputs[0]) is not node:
            continue
        if weights is None or weights.ndim < 3:
            continue
        amounts = _zero_padding(pad, links)
        if amounts is None or len(amounts) != 2 * weights.ndim:
            continue
        begins, ends = np.split(np.array(amounts), 2)
        if begins[:2].any() or ends[:2].any() or min(amounts) < 0:
            continue
        zeros = [0] * 2 * (weights.ndim - 2)
        own = zeros if auto_pad == "VALID" else node.attributes.get("pads") or zeros
        if len(own) != len(zeros):
            continue
        pads = [a + int(b) for a, b in zip(own, [*begins[2:], *ends[2:]], strict=True)]
        attributes = {k: v for k, v in node.attributes.items() if k != "auto_pad"} | {"pads": pads}
        inputs = (pad.inputs[0], *node.inputs[1:])
        edits.replace(pad)
        edits.replace(node, replace(node, inputs=inputs, attributes=attributes))
    return edits.graph()


def _zero_padding(node: Node, links: Links) -> list[int] | None:
    """The pads of a Pad with zeros, if they are constant."""
    is_pad = any(links.is_operator(node, "Pad", domain=domain) for domain in ("", "com.microsoft"))
    if not is_pad or node.attributes.get("mode", "constant") != "constant":
        return None
    if len(node.inputs) == 1:
        amounts = node.attributes.get("pads", node.attributes.get("paddings"))
        return amounts if node.attributes.get("value", 0) == 0 else None
    if len(node.inputs) > 3 and node.inputs[3]:
        return None
    if len(node.inputs) > 2 and node.inputs[2] and links.number(node.inputs[2]) != 0:
        return None
    array = links.constant(node.inputs[1])
    return None if array is None else array.reshape(-1).tolist()


def merge_scale(graph: Graph, context: Context) -> Graph:
    """Mul, Add and BatchNormalization by channel become part of the weights before them."""
    while True:
        links = Links(graph, context)
        edits = Edits(links)
        for conv in graph.nodes:
            if links.is_operator(conv, "Conv") and not edits.is_edited(conv):
                _merge_next(conv, links, edits)
        merged = edits.graph()
        if merged is graph:
            return graph
        graph = merged


def _merge_next(conv: Node, links: Links, edits: Edits) -> None:
    after = edits.only_reader(conv.outputs[0])
    weights = links.constant(conv.inputs[1])
    if after is None or weights is None:
        return
    if weights.dtype != np.float32 or weights.ndim < 3:
        return
    bias = np.zeros(len(weights), np.float32)
    if len(conv.inputs) > 2 and conv.inputs[2]:
        known = links.constant(conv.inputs[2])
        if known is None or known.shape != bias.shape:
            return
        bias = known
    affine = _affine(after, conv.outputs[0], len(weights), weights.ndim, links)
    if affine is None:
        return
    factor, shift = affine
    # In memory the outputs come last, so that ``ops.fast.conv`` multiplies without a copy.
    by_row = weights.transpose(*range(2, weights.ndim), 1, 0)
    scaled = np.multiply(by_row, factor, order="C").astype(np.float32)
    scaled = scaled.transpose(-1, -2, *range(weights.ndim - 2))
    shifted = (bias * factor + shift).astype(np.float32)
    x, kernel = conv.inputs[:2]
    bias_name = edits.constant(f"{conv.outputs[0]}/bias", shifted)
    if not (factor == 1).all():
        kernel = edits.constant(f"{conv.outputs[0]}/weights", scaled)
    edits.replace(conv)
    merged = replace(conv, inputs=(x, kernel, bias_name), outputs=after.outputs[:1])
    edits.replace(after, merged)


def _affine(
    node: Node, x: str, channels: int, rank: int, links: Links
) -> tuple[np.ndarray, np.ndarray] | None:
    """factor and shift (channels) of a node, if it computes x·factor + shift."""
    ones, zeros = np.ones(channels), np.zeros(channels)
    if links.is_operator(node, "Mul", "Add") and "broadcast" not in node.attributes:
        other = [name for name in node.inputs if name != x]
        values = links.constant(other[0]) if len(other) == 1 else None
        by_channel = None if values is None else _by_channel(values, channels, rank)
        if by_channel is None:
            return None
        return (by_channel, zeros) if node.op_type == "Mul" else (ones, by_channel)
    if links.is_operator(node, "BatchNormalization") and node.inputs[0] == x:
        if len([name for name in node.outputs if name]) > 1:
            return None
        operator = links.context.operator(node)
        assert operator is not None, "resolve() has looked up every operator"
        attributes = {**operator.attributes, **node.attributes}
        if attributes.get("training_mode", 0) or not attributes.get("is_test", 1):
            return None
        if not attributes.get("spatial", 1):  # scale and shift vary over positions
            return None
        parameters = [links.constant(name) for name in node.inputs[1:]]
        if any(p is None or p.shape != (channels,) for p in parameters):
            return None
        scale, b, mean, var = (np.asarray(p, np.float64) for p in parameters)
        factor = scale / np.sqrt(var + attributes.get("epsilon", 1e-5))
        return factor, b - mean * factor
    return None


def _by_channel(values: np.ndarray, channels: int, rank: int) -> np.ndarray | None:
    """One value per channel of a constant, if it varies only along axis 1 of (N, C, D…)."""
    if values.dtype != np.float32 or values.ndim > rank:
        return None
    full = np.array(values, ndmin=rank)
    if full.size not in (1, channels) or full.size != full.shape[1]:
        return None
    return np.broadcast_to(full.reshape(-1), channels).astype(np.float64)
