"""Name nodes, tensors and weights after Keras's layers, and record the layers in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from onnxwalk.export.conversion.draft import Draft, node_reads
from onnxwalk.export.tracing.names import reserve_name
from onnxwalk.export.tracing.trace import WEIGHT_PREFIX, Trace
from onnxwalk.interpreter.analysis.compare.layers import is_rearranged
from onnxwalk.interpreter.names import LAYERS_KEY

_NUMBER = re.compile(r"__\d+")


def layer_of(name: str, layers: Sequence[str]) -> str | None:
    """The Keras layer that a node's name (``model/layer/Operation``) belongs to, the innermost."""
    return next((path[-1] for path in [layer_path(name, layers)] if path), None)


def describe_place(name: str, layers: Sequence[str]) -> str:
    """ "layer x" for a node of a Keras layer, the node's name for others; for error messages."""
    layer = layer_of(name, layers)
    return f"layer {layer}" if layer else name


def layer_path(name: str, layers: Sequence[str]) -> list[str]:
    """The layers in a node's name, the outermost first."""
    known, path = set(layers), []
    for part in name.split("/")[:-1] or [name]:
        for candidate in (part, re.sub(r"_\d+$", "", part)):
            if candidate in known:
                path.append(candidate)
                break
    return path


def name_nodes(draft: Draft, trace: Trace) -> None:
    """Nodes are called model/layer/Operation, each name once, and their tensors likewise.

    tf2onnx numbers the nodes that it adds, and some lack a scope: these get the scope of the node
    that computes their input.
    """
    ports = {port.name for port in (*trace.inputs, *trace.outputs)}
    producers = draft.producers()
    used_names: set[str] = set()
    renamed: dict[str, str] = {}
    tensors = ports | {n for node in draft.nodes() for n in node.output} | set(draft.weights)
    for node in draft.graph.node:
        name = _NUMBER.sub("", node.name)
        if "/" not in name:
            name = f"{_source_scope(node, producers) or trace.name}/{node.op_type}"
        node.name = reserve_name(name, used_names)
        for i, tensor in enumerate(node.output):
            if tensor and tensor not in ports and ("__" in tensor or "/" not in tensor):
                new = reserve_name(f"{node.name}:{i}", tensors)
                renamed[tensor] = node.output[i] = new
    draft.rename_tensors(renamed)


def name_weights(draft: Draft, trace: Trace) -> None:
    """Weights that are Keras variables get the variables' names; others, their first reader's."""
    readable = {tensor: name for tensor, (name, _) in trace.weights.items()}
    if not trace.to_train:  # else each variable has its own
        readable |= _match_by_value(draft, trace)
    for tensor, parts in draft.variables.items():
        if draft.is_movable(tensor):
            readable[tensor] = parts[0].name
    readers: dict[str, str] = {}
    for node in draft.graph.node:
        for name in node.input:
            readers.setdefault(name, node.name)
    used_names = {value.name for value in (*draft.graph.input, *draft.graph.output)}
    used_names |= {name for node in draft.nodes() for name in node.output}
    renamed: dict[str, str] = {}
    for name in list(draft.weights):
        new = readable.get(name, name)
        if new.startswith(WEIGHT_PREFIX):
            new = new.removeprefix(WEIGHT_PREFIX).split(":")[0]
        elif new == name and ("__" in name or name.startswith("ConstantFolding/")):
            new = f"{readers.get(name, trace.name)}/constant"
        new = reserve_name(new, used_names)
        if new != name:
            renamed[name] = f"\0{new}"  # no new name is taken for an old one
    draft.rename_tensors(renamed)
    draft.rename_tensors({name: name[1:] for name in renamed.values()})
    new_names = {name: new[1:] for name, new in renamed.items()}
    _rename_keys(draft.weights, new_names)
    _rename_keys(draft.variables, new_names)


def _rename_keys(table: dict[str, Any], names: dict[str, str]) -> None:
    entries = {names.get(name, name): value for name, value in table.items()}
    table.clear()
    table.update(entries)


def record_layers(draft: Draft, trace: Trace) -> None:
    """Write into the metadata which tensors each layer passes on to others.

    The tensors are those of the file: their axes may be in another order than in Keras. A layer
    that was folded into another's weights is missing, even if transposes of its input have its
    name.
    """
    import onnx

    owner = {
        name: "/".join(layer_path(name if "/" in name else node.name, trace.layers))
        for node in draft.graph.node
        for name in node.output
    }
    outputs = {value.name for value in draft.graph.output}
    leaving = {name for name in owner if name in outputs}
    for node in draft.graph.node:
        own_layers = {owner[name] for name in node.output}
        leaving |= {
            name for name in node_reads(node) if name in owner and owner[name] not in own_layers
        }
    sources = {name: (node.op_type, node.input) for name, node in draft.producers().items()}
    weighted = {part for v in trace.variables for part in v.name.split("/")[:-1]}
    found: dict[str, list[str]] = {}
    for name, layer in owner.items():
        if not layer or name not in leaving:
            continue
        computes = layer.rpartition("/")[2] in weighted
        if not (computes and is_rearranged(name, layer, sources, owner)):
            found.setdefault(layer, []).append(name)
    entry = onnx.StringStringEntryProto(key=LAYERS_KEY, value=json.dumps(found))
    draft.model.metadata_props.append(entry)


def _source_scope(node: Any, producers: dict[str, Any]) -> str:
    """The scope, model/layer, of the node that computes the first computed input."""
    for name in node.input:
        if name in producers and "/" in producers[name].name:
            return producers[name].name.rsplit("/", 1)[0]
    return ""


def _match_by_value(draft: Draft, trace: Trace) -> dict[str, str]:
    """Weight -> variable, by values, for vectors whose names were lost."""
    owners: dict[bytes, list[str]] = {}
    for name, values in trace.constants.items():
        owners.setdefault(values.tobytes(), []).append(name)
    found: dict[str, str] = {}
    for tensor, array in draft.weights.items():
        if tensor.startswith(WEIGHT_PREFIX) or array.dtype != "float32" or array.ndim > 1:
            continue
        names = owners.get(array.tobytes(), [])
        if len(names) == 1:  # equal vectors, as all the zeros of a fresh model, stay unnamed
            found[tensor] = names[0]
    return found
