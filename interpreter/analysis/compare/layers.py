"""Match the values of a file with the layers of the Keras model that it was exported from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from onnxwalk.interpreter.analysis.compare.keras_side import LayerOutput
from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.ir.model import Graph, Model, Node

#: the key in a file's metadata: JSON, layer -> names of its output values
LAYERS_KEY = "onnxwalk.layers"

#: operators that only rearrange the output of the layer before
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Pad", "Flatten")


def read_record(model: Model) -> dict[str, list[str]]:
    """The exporter's record: layer ("outer/inner") -> output values. Empty if there is none."""
    try:
        record = json.loads(model.metadata.get(LAYERS_KEY, "{}"))
    except ValueError:
        return {}
    if not isinstance(record, dict):
        return {}
    return {str(k): [str(n) for n in v] for k, v in record.items() if isinstance(v, list)}


def find_layers(model: Model) -> dict[str, str]:
    """The layer of each value: by the record, otherwise by the name of its node,
    model/layer/Operation."""
    record = read_record(model)
    layers = {}
    for node in model.graph.nodes if record else ():
        parts = node.name.split("/")[:-1]
        paths = ("/".join(parts[i:j]) for j in range(len(parts), 0, -1) for i in range(j))
        layer = next((path for path in paths if path in record), None)
        if layer is not None:
            layers.update(dict.fromkeys(node.outputs, layer))
    return layers | {name: layer for layer, names in record.items() for name in names}


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
        for name in names:
            if name in matches or name not in shapes:
                continue
            for tensor in unmatched:
                if not _matches_shape(tensor.shape, shapes[name]):
                    continue
                if tensor.has_weights and is_rearranged(name, layer, producers, layers):
                    continue
                matches[name] = tensor
                unmatched.remove(tensor)
                break
    return matches


def matching_orders(ours: Sequence[int], theirs: Sequence[int]) -> list[tuple[int, ...]]:
    """The orders of axes in which the shape of a value of the file is that of a Keras tensor:
    unchanged, or with the channels moved from the second to the last axis or back."""
    return [axes for axes in _orders(len(ours)) if tuple(ours[i] for i in axes) == tuple(theirs)]


def _orders(rank: int) -> list[tuple[int, ...]]:
    same = tuple(range(rank))
    if rank < 3:
        return [same]
    moved = [(0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))]
    return list(dict.fromkeys([same, *moved]))


def _matches_shape(symbolic: Sequence[int | None], shape: Sequence[int]) -> bool:
    """Whether a shape is ``symbolic`` in one of the orders of axes."""
    return len(symbolic) == len(shape) and any(
        all(size is None or size == shape[i] for size, i in zip(symbolic, axes, strict=True))
        for axes in _orders(len(shape))
    )


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
