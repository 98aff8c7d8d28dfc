"""What a value of a graph may be called: by its name, its node, its operator, its Keras layer."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Mapping, Sequence

from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.ir.model import Graph, Model, Node

#: the key in a file's metadata: JSON, layer -> names of its output values
LAYERS_KEY = "onnxwalk.layers"


def read_record(model: Model) -> dict[str, list[str]]:
    """The exporter's record: layer ("outer/inner") -> output values. Empty if there is none."""
    import json  # where it is needed: loading a model asks for no layers

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


def outputs_of_layers(model: Model, graph: Graph) -> dict[str, str]:
    """The value that leaves each Keras layer, by the layer's name and, where that says which, the
    last part of it; only layers whose name isn't that of a value. Without the exporter's record
    layers are the folders of the nodes' names, and what leaves them is computed last."""
    values = _values(graph)
    record = read_record(model)
    if not record:
        for node in graph.nodes:
            folder = node.name.rpartition("/")[0].lstrip("/")
            names = [name for name in node.outputs[:1] if folder and name]
            record.setdefault(folder, []).extend(names)
    found: dict[str, str] = {}
    short: dict[str, list[str]] = {}
    for layer, names in record.items():
        if computed := [name for name in names if name in values]:
            found[layer] = computed[-1]
            short.setdefault(layer.rpartition("/")[2], []).append(computed[-1])
    found = {name: ends[0] for name, ends in short.items() if len(ends) == 1} | found
    return {layer: name for layer, name in found.items() if layer not in values}


def matches(names: Iterable[str], patterns: Sequence[str]) -> bool:
    """Whether one of the names is one of the patterns, or matches it as in a shell."""
    return any(n == p or fnmatch.fnmatchcase(n, p) for n in names for p in patterns)


def find_values(model: Model, graph: Graph, text: str, option: str) -> list[str]:
    """The values that a name or a shell pattern means: the value of that name; the output of the
    Keras layer of that name; the outputs of the node of that name; else all values whose name,
    node, operator or layer matches, in the order of the graph.

    Raises InvalidInputError, which begins with ``option``, if there is none.
    """
    values, layers = _values(graph), outputs_of_layers(model, graph)
    if text in values:
        return [text]
    if text in layers:
        return [layers[text]]
    nodes = {node.name: node.outputs for node in graph.nodes if node.name}
    if text in nodes:
        return [name for name in nodes[text] if name]
    layer_of = find_layers(model)
    found = [
        name
        for node in graph.nodes
        for name in node.outputs
        if name and matches(_called(name, node, layer_of), [text])
    ]
    if not found:
        raise InvalidInputError(
            f"{option} {text}: no value, node, operator or Keras layer has this name or matches"
            + suggest(text, [*values, *layers, *nodes])
        )
    return found


def find_outputs(model: Model, graph: Graph, texts: Sequence[str], option: str) -> list[str]:
    """The values that texts such as NAME,PATTERN mean: the outputs of the graph of that name, or
    those that match; else as ``find_values``. Without texts all outputs.

    Raises InvalidInputError, which begins with ``option``, if there is none.
    """
    outputs = [value.name for value in graph.outputs]
    found: dict[str, None] = {}
    for given in texts:
        for text in [given] if given in outputs else given.split(","):
            exact = [name for name in outputs if name == text]
            chosen = exact or [name for name in outputs if matches([name], [text])]
            found |= dict.fromkeys(chosen or find_values(model, graph, text, option))
    return list(found or dict.fromkeys(outputs))


def _called(name: str, node: Node, layer_of: Mapping[str, str]) -> list[str]:
    """What a value that a node computes may be called."""
    layer = layer_of.get(name) or node.name.rpartition("/")[0]
    return [name, node.name, node.op_type, layer, layer.rpartition("/")[2]]


def find_value(model: Model, graph: Graph, text: str, option: str) -> str:
    """The only value that ``find_values`` finds. Raises InvalidInputError if there are several."""
    found = find_values(model, graph, text, option)
    if len(found) > 1:
        listed = ", ".join(found[:5]) + ", …" * (len(found) > 5)
        raise InvalidInputError(f"{option} {text}: {len(found)} values match: {listed}")
    return found[0]


def _values(graph: Graph) -> Collection[str]:
    names = [value.name for value in graph.inputs]
    names += [name for node in graph.nodes for name in node.outputs if name]
    return dict.fromkeys([*names, *graph.initializers])
