"""Remove Transposes between the channels-last layout of Keras and the channels-first one of ONNX.

Between Transposes lie regions of nodes for which the order of axes is arbitrary (Add, Relu, Concat,
Pad …). A region can be computed in the other order: matching Transposes at its border are removed,
and new ones are added elsewhere on the border. A region is reordered if fewer Transposes remain.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from onnxwalk.export.conversion.clean.duplicates import share_nodes
from onnxwalk.export.conversion.clean.shapes import find_reduced_axes
from onnxwalk.export.conversion.draft import (
    Draft,
    add_ints,
    attributes,
    set_attribute,
    subgraph_reads,
)

_UNARY = set(
    "Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor "
    "Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu "
    "Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu".split()
)
_BROADCASTING = set(
    "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mul Or Pow PRelu Sub "
    "Sum Where Xor".split()
)
_ALONG_AXIS = {"Concat", "Softmax", "LogSoftmax", "Split"}


def cancel_transposes(draft: Draft) -> None:
    """Reorder regions until that no longer reduces the number of Transposes."""
    merge_transposes(draft)
    while _reorder_regions(draft):
        merge_transposes(draft)


def merge_transposes(draft: Draft) -> None:
    """Merge consecutive Transposes, and remove those that cancel; a Reduce that drops the moved
    axes reads the input of the Transpose."""
    producers, outputs = draft.producers(), {value.name for value in draft.graph.output}
    names: dict[str, str] = {}
    for node in draft.graph.node:
        before = producers.get(node.input[0]) if node.input else None
        if (
            before is not None
            and _is_permutation(before)
            and _ignores_order(draft, node, _perm(before))
        ):
            _set_axes(draft, node, _perm(before))
            node.input[0] = before.input[0]
        if not _is_permutation(node):
            continue
        while before is not None and _is_permutation(before):
            first = _perm(before)
            set_attribute(node, "perm", [first[axis] for axis in _perm(node)])
            node.input[0] = before.input[0]
            before = producers.get(node.input[0])
        perm = _perm(node)
        if perm == sorted(perm):
            if node.output[0] in outputs:
                del node.attribute[:]
                node.op_type = "Identity"
            else:
                names[node.output[0]] = node.input[0]
    draft.rename_tensors(names)
    share_nodes(draft)


class _Context:
    """Producer, readers and rank of each tensor."""

    def __init__(self, draft: Draft, ranks: dict[str, int]) -> None:
        self.draft, self.ranks = draft, ranks
        self.producers = draft.producers()
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in draft.graph.node:
            for name in set(node.input):
                self.readers[name].append(node)
        self.fixed = {value.name for value in draft.graph.output}
        for node in draft.graph.node:  # what inner graphs read stays as it is
            self.fixed |= set(subgraph_reads(node))

    def data_inputs(self, node: Any) -> list[str]:
        """The inputs of a node whose axes are reordered with it."""
        inputs = [name for name in node.input if name and name not in self.draft.weights]
        if node.op_type in _BROADCASTING:
            return [name for name in inputs if self.ranks.get(name) != 0]
        return inputs if node.op_type == "Concat" else [node.input[0]]

    def can_reorder(self, node: Any, rank: int) -> bool:
        """Whether the node can be computed with its axes in another order."""
        kind = node.op_type
        if node.domain or any(self.ranks.get(name) != rank for name in node.output if name):
            return False
        if kind in _UNARY:
            known = True
        elif kind in _BROADCASTING:
            known = all(
                self.draft.weights[name].ndim <= rank and self.draft.is_movable(name)
                for name in node.input
                if name in self.draft.weights
            )
        elif kind in _ALONG_AXIS:
            known = all(map(self.draft.is_movable, node.input))
            known = known and (kind == "Concat" or node.input[0] not in self.draft.weights)
        elif kind == "Pad":
            known = len(node.input) < 4 and self.draft.weights.get(node.input[1]) is not None
        elif kind == "Slice":
            known = len(node.input) > 3 and self.draft.weights.get(node.input[3]) is not None
        else:
            axes = find_reduced_axes(self.draft, node)
            known = axes is not None and bool(attributes(node).get("keepdims", 1))
        names = self.data_inputs(node)
        return known and bool(names) and all(self.ranks.get(name) == rank for name in names)


def _reorder_regions(draft: Draft) -> bool:
    """Reorder regions where that saves Transposes and that don't touch; whether there were any."""
    context = _Context(draft, {name: len(shape) for name, shape in draft.shapes().items()})
    done: set[tuple[str, tuple[int, ...]]] = set()
    touched: set[str] = set()
    for node in list(draft.graph.node):
        if not _is_permutation(node) or node.output[0] in touched:
            continue
        perm = _perm(node)
        seeds = [(reader, perm) for reader in context.readers[node.output[0]]]
        if node.input[0] in context.producers:
            seeds.append((context.producers[node.input[0]], _invert(perm)))
        for seed, order in seeds:
            if (seed.output[0], tuple(order)) in done or not context.can_reorder(seed, len(order)):
                continue
            region = _grow_region(context, seed, len(order))
            done |= {(name, tuple(order)) for name in region}
            near = _touched_tensors(context, region)
            if touched & near or _count_saved(context, region, order) <= 0:
                continue
            touched |= near
            _reorder(context, region, order)
            break
    if touched:
        draft.sort_nodes()
    return bool(touched)


def _touched_tensors(context: _Context, region: dict[str, Any]) -> set[str]:
    """All tensors that the nodes of a region read and write, and the outputs of their readers."""
    names = {name for node in region.values() for name in (*node.input, *node.output)}
    names -= set(context.draft.weights)
    return names | {r.output[0] for name in names for r in context.readers[name]}


def _grow_region(context: _Context, seed: Any, rank: int) -> dict[str, Any]:
    """First output -> node, for all reorderable nodes that are connected to the seed."""
    region, todo = {seed.output[0]: seed}, [seed]
    while todo:
        node = todo.pop()
        near = [
            context.producers[name]
            for name in context.data_inputs(node)
            if name in context.producers
        ]
        near += [
            reader
            for name in node.output
            for reader in context.readers[name]
            if name in context.data_inputs(reader) or reader.op_type in _BROADCASTING
        ]
        for other in near:
            if other.output[0] not in region and context.can_reorder(other, rank):
                region[other.output[0]] = other
                todo.append(other)
    return region


def _count_saved(context: _Context, region: dict[str, Any], perm: list[int]) -> int:
    """The number of Transposes saved if the region is computed in the order before perm."""
    gain, inside = 0, {name for node in region.values() for name in node.output}
    entering = {name for node in region.values() for name in context.data_inputs(node)} - inside
    for name in entering:
        producer = context.producers.get(name)
        if producer is None or not _is_permutation(producer):
            gain -= 1
            continue
        others = name in context.fixed or any(
            r.output[0] not in region for r in context.readers[name]
        )
        gain += (_perm(producer) == perm) - others
    for name in inside:
        cost = name in context.fixed
        for reader in context.readers[name]:
            if reader.output[0] in region:
                continue
            if _is_permutation(reader):
                gain += _perm(reader) == _invert(perm)
            else:
                cost = cost or not _ignores_order(context.draft, reader, perm)
        gain -= cost
    return gain


def _ignores_order(draft: Draft, node: Any, perm: list[int]) -> bool:
    """Whether this is a Reduce that drops axes and leaves the others in the same order."""
    axes = find_reduced_axes(draft, node)
    if axes is None or attributes(node).get("keepdims", 1):
        return False
    axes = [axis % len(perm) for axis in axes]
    remaining = [perm[axis] for axis in range(len(perm)) if axis not in axes]
    return remaining == sorted(remaining)


def _reorder(context: _Context, region: dict[str, Any], perm: list[int]) -> None:
    """Compute the region in the order before perm: t becomes t' with t = transpose(t', perm)."""
    draft, inverse = context.draft, _invert(perm)
    inside = {name for node in region.values() for name in node.output if name}
    beyond = {
        name: [r for r in context.readers[name] if r.output[0] not in region] for name in inside
    }
    entering: dict[str, str] = {}
    for node in region.values():
        data_inputs = context.data_inputs(node)
        for i, name in enumerate(node.input):
            if name in data_inputs and name not in inside:
                if name not in entering:
                    entering[name] = _add_transpose(draft, name, inverse)
                node.input[i] = entering[name]
            elif name in draft.weights and node.op_type in (*_BROADCASTING, "Concat"):
                node.input[i] = _reorder_weight(draft, name, inverse)
        _reorder_attributes(draft, node, perm)
    for name in inside:
        outside = beyond[name]
        for reader in [r for r in outside if _ignores_order(draft, r, perm)]:
            _set_axes(draft, reader, perm)
            outside.remove(reader)
        if name in context.fixed:  # the name must stay with the tensor as it was
            new = draft.new_name(f"{name.removesuffix(':0')}/turned:0")
            producer = context.producers[name]
            producer.output[list(producer.output).index(name)] = new
            for reader in [*region.values(), *context.readers[name]]:
                if reader not in outside:
                    _replace_input(reader, name, new)
            _add_transpose(draft, new, perm, name)
        elif outside:
            restored = _add_transpose(draft, name, perm)
            for reader in outside:
                _replace_input(reader, name, restored)


def _reorder_attributes(draft: Draft, node: Any, perm: list[int]) -> None:
    if node.op_type in _ALONG_AXIS:
        default = 0 if node.op_type == "Split" else -1
        axis = attributes(node).get("axis", default)
        set_attribute(node, "axis", perm[axis])
    elif node.op_type == "Pad":
        pads = draft.weights[node.input[1]].reshape(2, -1)
        turned = np.empty_like(pads)
        turned[:, perm] = pads
        node.input[1] = add_ints(draft, turned.reshape(-1), f"{node.name}/pads")
    elif node.op_type == "Slice":
        given = draft.weights[node.input[3]]  # of the type that starts and ends have
        axes = [perm[axis] for axis in given]
        node.input[3] = add_ints(draft, axes, f"{node.name}/axes", given.dtype)
    elif node.op_type.startswith("Reduce"):
        _set_axes(draft, node, perm)


def _set_axes(draft: Draft, node: Any, perm: list[int]) -> None:
    axes = sorted(perm[axis] for axis in find_reduced_axes(draft, node) or [])
    if "axes" in attributes(node):
        set_attribute(node, "axes", axes)
    else:
        node.input[1] = add_ints(draft, axes, f"{node.name}/axes")


def _reorder_weight(draft: Draft, name: str, order: list[int]) -> str:
    array = draft.weights[name]
    if array.size == 1 and array.ndim == 0:
        return name
    new = f"{name}/turned_{''.join(map(str, order))}"
    if new not in draft.weights:
        full = (1,) * (len(order) - array.ndim) + array.shape
        draft.rearrange(name, new, ("reshape", full), ("transpose", tuple(order)))
    return new


def _add_transpose(draft: Draft, source: str, perm: list[int], result: str = "") -> str:
    stem = source.removesuffix(":0") + "/Transpose"
    result = result or draft.new_name(f"{stem}:0")
    node = draft.graph.node.add(op_type="Transpose", name=stem, input=[source], output=[result])
    set_attribute(node, "perm", perm)
    return result


def _replace_input(node: Any, old: str, new: str) -> None:
    for i, name in enumerate(node.input):
        if name == old:
            node.input[i] = new


def _is_permutation(node: Any) -> bool:
    """Whether this is a Transpose with a perm."""
    return node.op_type == "Transpose" and "perm" in attributes(node)


def _perm(node: Any) -> list[int]:
    return list(attributes(node)["perm"])


def _invert(perm: list[int]) -> list[int]:
    return [int(axis) for axis in np.argsort(perm)]
