"""Which values of a file are which tensors of the Keras model that it was exported from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from onnxwalk.interpreter.analysis.compare.keras_side import Handed
from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.ir.model import Graph, Model, Node

#: the key in a file's metadata: JSON, layer -> names of the tensors it hands on
LAYERS_KEY = "onnxwalk.layers"

#: they only carry values over from the layer before
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Pad", "Flatten")


def recorded(model: Model) -> dict[str, list[str]]:
    """The record that the exporter left: layer ("outer/inner") -> values. Empty without one."""
    try:
        found = json.loads(model.metadata.get(LAYERS_KEY, "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(k): [str(n) for n in v] for k, v in found.items() if isinstance(v, list)}


def layer_of(model: Model) -> dict[str, str]:
    """The layer of each value: by the record of those that leave it, of others by the names of
    their nodes, model/layer/Operation."""
    record = recorded(model)
    found = {}
    for node in model.graph.nodes if record else ():
        parts = node.name.split("/")[:-1]
        paths = ("/".join(parts[i:j]) for j in range(len(parts), 0, -1) for i in range(j))
        layer = next((path for path in paths if path in record), None)
        if layer is not None:
            found.update(dict.fromkeys(node.outputs, layer))
    return found | {name: layer for layer, names in record.items() for name in names}


def matched(
    model: Model, handed: Sequence[Handed], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Handed]:
    """The Keras tensor of each value of the file for which there is one.

    ``shapes`` are those of the file's values. Outputs go by their order, the rest by the record: a
    layer's values by their order, where the axes fit. A value that only moves about what came into
    a layer with weights isn't what the layer hands on.
    """
    found: dict[str, Handed] = {}
    outputs = [tensor for tensor in handed if tensor.name.startswith("output ")]
    if len(outputs) == len(model.graph.outputs):
        for info, tensor in zip(model.graph.outputs, outputs, strict=True):
            found[info.name] = tensor
    by_layer: dict[str, list[Handed]] = {}
    for tensor in handed:
        by_layer.setdefault(tensor.layer, []).append(tensor)
    made = {n: (v.operator_name, v.inputs) for v in model.graph.nodes for n in v.outputs}
    record = recorded(model)
    owners = {name: layer for layer, names in record.items() for name in names}
    for layer, names in record.items():
        left = list(by_layer.get(layer, ()))
        for name in names:
            if name in found or name not in shapes:
                continue
            for tensor in left:
                if not any(_fits(tensor.shape, s) for s in _turned_shapes(shapes[name])):
                    continue
                if tensor.has_weights and is_moved(name, layer, made, owners):
                    continue
                found[name] = tensor
                left.remove(tensor)
                break
    return found


def fitting_orders(ours: Sequence[int], theirs: Sequence[int]) -> list[tuple[int, ...]]:
    """The orders of axes in which a shape of the file's is one of Keras's: as it is, or with the
    channels, which one of them may have second, last."""
    return [axes for axes in _orders(len(ours)) if tuple(ours[i] for i in axes) == tuple(theirs)]


def _orders(rank: int) -> list[tuple[int, ...]]:
    same = tuple(range(rank))
    if rank < 3:
        return [same]
    turned = [(0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))]
    return list(dict.fromkeys([same, *turned]))


def _turned_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tuple(shape[i] for i in axes) for axes in _orders(len(shape))]


def _fits(symbolic: Sequence[int | None], shape: Sequence[int]) -> bool:
    return len(symbolic) == len(shape) and all(
        a is None or a == b for a, b in zip(symbolic, shape, strict=True)
    )


def is_moved(
    name: str,
    layer: str,
    made: Mapping[str, tuple[str, Sequence[str]]],
    owners: Mapping[str, str],
) -> bool:
    """Whether a value is only what came into the layer, with its elements moved about.

    ``made``: the operator and the inputs of what makes each value; ``owners``: the values' layers,
    this one where nothing is said.
    """
    while name in made and owners.get(name, layer) == layer:
        operator, inputs = made[name]
        if operator not in _MOVES or not inputs:
            return False
        name = inputs[0]
    return True


def between(graph: Graph, name: str, known: Collection[str]) -> list[Node]:
    """The nodes that make a value out of ``known`` values, constants and inputs, in their order."""
    producers = {n: i for i, node in enumerate(graph.nodes) for n in node.outputs if n}
    needed, found = [name], set()
    while needed:
        place = producers.get(needed.pop())
        if place is not None and place not in found:
            found.add(place)
            needed += [n for n in names_used(graph.nodes[place]) if n not in known]
    return [graph.nodes[place] for place in sorted(found)]
