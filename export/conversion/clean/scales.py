"""Fold a scale and a shift after a convolution or a matrix product into its weights.

BatchNormalization in inference is x·s + t with a number each per channel, so
(W x + b)·s + t = (W·s) x + (b·s + t).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.conversion.draft import Draft, attributes

_PRODUCTS = ("Conv", "ConvTranspose", "MatMul")
_FLOATS = ("float32", "float64")  # short floats would round twice


def fold_scales(draft: Draft) -> None:
    """Fold Mul and Add by constants per channel into the Conv, ConvTranspose or MatMul before.

    A product stays as it is if other nodes read its result or share its weights. The result has
    the name of the output of the Mul or Add. Variables that are to be trained are not computed
    with, but one that is added after a convolution without a bias becomes its bias.
    """
    producers, reads = draft.producers(), draft.count_reads()
    for node in draft.graph.node:
        if node.op_type not in ("Mul", "Add") or len(node.input) != 2:
            continue
        source, other = node.input
        if source in draft.weights:
            source, other = other, source
        before = producers.get(source)
        if other not in draft.weights or before is None or reads[source] != 1:
            continue
        values, moved = draft.weights[other], None
        first = producers.get(before.input[0]) if before.input else None
        if before.op_type == "Transpose" and first is not None and reads[before.input[0]] == 1:
            perm = attributes(before).get("perm", ())
            if len(perm) < max(values.ndim, 1):
                continue
            moved, before, values = before, first, _align_to_source(values, perm)
        if other in draft.variables:
            folded = node.op_type == "Add" and _move_bias(draft, before, values, other, reads)
        elif not draft.variables.keys().isdisjoint(before.input):
            folded = False
        elif node.op_type == "Mul":
            folded = _scale(draft, before, values, reads, producers)
        else:
            folded = _shift(draft, before, values, other, reads)
        if not folded:
            continue
        result = node.output[0]
        node.output[0] = ""
        if moved is not None:  # the tensors on both sides of the Transpose are another's now
            inner = draft.new_name(f"{result.removesuffix(':0')}/folded:0")
            reads[inner] = reads[before.output[0]]
            before.output[0] = moved.input[0] = inner
            producers[inner] = before
            before = moved
        before.output[0] = result
        producers[result] = before
    draft.keep_nodes(lambda node: not node.output or node.output[0] != "")
    draft.remove_unused()


def _scale(draft: Draft, node: Any, factor: NDArray[Any], reads: Any, producers: Any) -> bool:
    """Multiply the output of a product, or of the shift after it, by a number per channel."""
    if node.op_type == "Add":  # (x + b)·s = x·s + b·s, for what is a product before the shift
        source, shift = node.input
        if source in draft.weights:
            source, shift = shift, source
        before = producers.get(source)
        if shift not in draft.weights or before is None or before.op_type not in _PRODUCTS:
            return False
        shifts = draft.weights[shift]
        single = reads[source] == 1 and reads[shift] == 1
        if not single or np.broadcast(shifts, factor).shape != shifts.shape:
            return False
        if not _scale(draft, before, factor, reads, producers):
            return False
        draft.weights[shift] = shifts * factor
        return True
    if node.op_type not in _PRODUCTS or node.input[1] not in draft.weights:
        return False
    name = node.input[1]
    weight = draft.weights[name]
    channels = _per_channel(node, weight, factor)
    bias = node.input[2] if len(node.input) > 2 else ""
    if channels is None or reads[name] != 1:
        return False
    if bias and (bias not in draft.weights or reads[bias] != 1):
        return False
    axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": weight.ndim - 1}[node.op_type]
    spread = [1] * weight.ndim
    spread[axis] = -1
    draft.weights[name] = weight * channels.reshape(spread)
    if bias:
        draft.weights[bias] = draft.weights[bias] * channels
    return True


def _align_to_source(values: NDArray[Any], perm: Any) -> NDArray[Any]:
    """What is broadcast against a transposed tensor, as it is against the tensor before."""
    full = values.reshape((1,) * (len(perm) - values.ndim) + values.shape)
    return full.transpose(np.argsort(perm))


def _shift(draft: Draft, node: Any, values: NDArray[Any], other: str, reads: Any) -> bool:
    """Add a number per channel to the output of a convolution, or of an earlier shift."""
    if node.op_type == "Add":
        names = [name for name in node.input if name in draft.weights]
        if len(names) != 1 or reads[names[0]] != 1:
            return False
        first = draft.weights[names[0]]
        same_type = first.shape == values.shape and first.dtype == values.dtype
        if same_type and first.dtype.name in _FLOATS:
            draft.weights[names[0]] = first + values
        return same_type and first.dtype.name in _FLOATS
    if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in draft.weights:
        return False
    channels = _per_channel(node, draft.weights[node.input[1]], values)
    if channels is None:
        return False
    if len(node.input) > 2:
        if node.input[2] not in draft.weights:
            return False
        channels = channels + draft.weights[node.input[2]]
    name = node.input[2] if len(node.input) > 2 else other
    if reads[name] != 1:
        name = draft.new_name(f"{node.name}/bias")
        reads[name] = 1
    draft.weights[name] = channels
    del node.input[2:]
    node.input.append(name)
    return True


def _move_bias(draft: Draft, node: Any, values: NDArray[Any], bias: str, reads: Any) -> bool:
    """Make a variable that is added after a convolution without a bias its bias."""
    if node.op_type not in ("Conv", "ConvTranspose") or len(node.input) > 2:
        return False
    weight = draft.weights.get(node.input[1])
    channels = None if weight is None else _per_channel(node, weight, values)
    if channels is None or channels.size != values.size or not draft.is_movable(bias):
        return False
    name = draft.new_name(f"{bias}/bias")
    draft.rearrange(bias, name, ("reshape", channels.shape))
    reads[name] = 1
    node.input.append(name)
    return True


def _per_channel(node: Any, weight: NDArray[Any], values: NDArray[Any]) -> NDArray[Any] | None:
    """(channels,) of what is broadcast against the result, or None if it isn't per channel."""
    if weight.dtype.name not in _FLOATS or values.dtype != weight.dtype:
        return None
    if node.op_type == "MatMul":
        if weight.ndim != 2:
            return None
        count, rank, axis = weight.shape[1], max(values.ndim, 1), max(values.ndim, 1) - 1
    else:
        groups = attributes(node).get("group", 1)
        if node.op_type == "ConvTranspose" and groups != 1:
            return None
        count = weight.shape[0 if node.op_type == "Conv" else 1]
        rank, axis = weight.ndim, 1
    if values.ndim > rank:
        return None
    full = (1,) * (rank - values.ndim) + values.shape
    if any(size != 1 for i, size in enumerate(full) if i != axis) or full[axis] not in (1, count):
        return None
    return np.broadcast_to(values.reshape(-1), (count,)).copy()
