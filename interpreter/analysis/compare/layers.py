"""Match the values of a file with the layers of the Keras model that it was exported from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from onnxwalk.interpreter.analysis.compare.keras_side import LayerOutput
from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.ir.model import Graph, Model, Node
from onnxwalk.interpreter.names import read_record

#: operators that only rearrange the output of the layer before
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Pad", "Flatten")


def match_values(
    model: Model, tensors: Sequence[LayerOutput], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, LayerOutput]:
    """The Keras tensor of each value of the file that has one.

    ``shapes`` are those of the values of the file. The model's outputs are matched by order, the
    others by the record: the values of a layer by order, if their shapes match. In a layer with
    weights, a value that only rearranges the layer's input isn't its output.
    """
    matches: dict[str, LayerOutput] = {}
    outputs = [tensor for tensor in tensors if tensor.name.startswith("output ")]
    if len(outputs) == len(model.graph.outputs):
        for info, tensor in zip(model.graph.outputs, outputs, strict=True):
            matches[info.name] = tensor
    by_layer: dict[str, list[LayerOutput]] = {}
    for tensor in tensors:
        by_layer.setdefault(tensor.layer, []).append(tensor)
    producers = {n: (v.operator_name, v.inputs) for v in model.graph.nodes for n in v.outputs}
    record = read_record(model)
    layers = {name: layer for layer, names in record.items() for name in names}
    for layer, names in record.items():
        unmatched = list(by_layer.get(layer, ()))
        for is_order in (_is_same, _is_moved, _is_any):  # a value of the very shape comes first
            for name in names:
                if name in matches or name not in shapes:
                    continue
                for tensor in unmatched:
                    if not is_order(tensor.shape, shapes[name]):
                        continue
                    if tensor.has_weights and is_rearranged(name, layer, producers, layers):
                        continue
                    matches[name] = tensor
                    unmatched.remove(tensor)
                    break
    return matches


def explain_missing(
    model: Model,
    tensors: Sequence[LayerOutput],
    shapes: Mapping[str, tuple[int, ...]],
    matches: Mapping[str, LayerOutput],
) -> dict[str, str]:
    """Why a Keras tensor has no value of the file, for each that has none. What a layer returns as
    an output of the model is compared as that."""
    record = read_record(model)
    matched = {tensor.name for tensor in matches.values()}
    reasons = {}
    for tensor in tensors:
        names = record.get(tensor.layer, [])
        if tensor.name in matched or tensor.returned_as in matched:
            continue
        if not names:
            reasons[tensor.name] = "the file has no value of this layer's own"
        elif not all(name in matches for name in names):
            listed = ", ".join(f"{name} {shapes.get(name, '')}".rstrip() for name in names)
            reasons[tensor.name] = f"no order of axes makes {tensor.shape} of {listed}"
        elif any(matches[name].layer == tensor.layer for name in names):
            reasons[tensor.name] = "the file has fewer values of this layer"
        else:
            reasons[tensor.name] = "the file's values of this layer belong to other layers, too"
    return reasons


def matching_orders(ours: Sequence[int], theirs: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The orders of axes in which the shape of a value of the file is that of a Keras tensor:
    unchanged first, then with the channels moved from the second to the last axis or back, then any
    other, as (T, N, C) for (N, T, C). Orders that differ only in axes of size 1 are one."""
    seen = set()
    for axes in (*usual_orders(len(ours)), *_all_orders(ours, theirs)):
        kept = tuple(i for i in axes if ours[i] != 1)
        if kept not in seen and tuple(ours[i] for i in axes) == tuple(theirs):
            seen.add(kept)
            yield axes


def usual_orders(rank: int) -> list[tuple[int, ...]]:
    """Unchanged, and with the channels moved from the second to the last axis or back."""
    same = tuple(range(rank))
    if rank < 3:
        return [same]
    moved = [(0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))]
    return list(dict.fromkeys([same, *moved]))


def _all_orders(ours: Sequence[int], theirs: Sequence[int | None]) -> Iterator[tuple[int, ...]]:
    """The orders in which ``ours`` is ``theirs``, found axis by axis."""
    if len(ours) != len(theirs):
        return
    pending: list[tuple[int, ...]] = [()]
    while pending:
        axes = pending.pop()
        if len(axes) == len(ours):
            yield axes
            continue
        size = theirs[len(axes)]
        fitting = [i for i in range(len(ours)) if i not in axes and size in (None, ours[i])]
        pending += [(*axes, i) for i in reversed(fitting)]


def _is_same(symbolic: Sequence[int | None], shape: Sequence[int]) -> bool:
    return len(symbolic) == len(shape) and all(
        size is None or size == given for size, given in zip(symbolic, shape, strict=True)
    )


def _is_moved(symbolic: Sequence[int | None], shape: Sequence[int]) -> bool:
    return len(symbolic) == len(shape) and any(
        _is_same(symbolic, [shape[i] for i in axes]) for axes in usual_orders(len(shape))
    )


def _is_any(symbolic: Sequence[int | None], shape: Sequence[int]) -> bool:
    return next(_all_orders(shape, symbolic), None) is not None


def is_rearranged(
    name: str,
    layer: str,
    producers: Mapping[str, tuple[str, Sequence[str]]],
    layers: Mapping[str, str],
) -> bool:
    """Whether a value contains only the elements of the layer's input, in another order or shape.

    ``producers``: the operator and the inputs of the node that computes each value; ``layers``: the
    layer of each value, ``layer`` if it isn't known.
    """
    while name in producers and layers.get(name, layer) == layer:
        operator, inputs = producers[name]
        if operator not in _MOVES or not inputs:
            return False
        name = inputs[0]
    return True


def slice_graph(graph: Graph, name: str, known: Collection[str]) -> list[Node]:
    """The nodes that compute a value from ``known`` values, constants and inputs, in order."""
    producers = {n: i for i, node in enumerate(graph.nodes) for n in node.outputs if n}
    pending, indices = [name], set()
    while pending:
        index = producers.get(pending.pop())
        if index is not None and index not in indices:
            indices.add(index)
            pending += [n for n in names_used(graph.nodes[index]) if n not in known]
    return [graph.nodes[index] for index in sorted(indices)]
