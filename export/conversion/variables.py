"""The variables in a file that is to be trained: one initializer each, and the record of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from onnxwalk.export.conversion.draft import Draft, attributes
from onnxwalk.export.conversion.recurrent_nodes import collect_variables
from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing.trace import Trace
from onnxwalk.interpreter.weights.layout import Layout, Step, restore
from onnxwalk.interpreter.weights.record import WEIGHTS_KEY, Weight, write_record


def find_variables(trace: Trace) -> dict[str, tuple[Weight, ...]]:
    """Tensor -> the variables in it, of those that the trace left outside."""
    known = {v.name: v for v in trace.variables}
    found = {
        tensor: (Weight(name, "", v.shape, trainable=v.trainable, statistic=v.statistic),)
        for tensor, (name, _) in trace.weights.items()
        for v in [known[name]]
    }
    return found | collect_variables(trace.markers, trace.variables)


def settle_variables(draft: Draft, trace: Trace) -> None:
    """Leave one weight for each variable: where nodes read it in several layouts, the one of Keras,
    and nodes that rearrange it.

    Raises ExportError where a recurrent node and another one read the same variable.
    """
    owners: dict[str, list[str]] = {}
    for tensor, parts in draft.variables.items():
        for weight in parts:
            owners.setdefault(weight.name, []).append(tensor)
    nodes = len(draft.graph.node)
    for variable, tensors in owners.items():
        if len(tensors) == 1:
            continue
        if not all(map(draft.is_movable, tensors)):
            raise ExportError(
                f"{variable} is read as the weight of a recurrent layer and by others, for which "
                "there can't be one initializer: export it without trainable"
            )
        weight = draft.variables[tensors[0]][0]
        plain = next((t for t in tensors if not draft.variables[t][0].layout), "")
        if not plain:
            plain = draft.new_name(tensors[0])
            draft.weights[plain] = restore(draft.weights[tensors[0]], weight.layout, weight.shape)
            draft.variables[plain] = (replace(weight, layout=()),)
        for tensor in tensors:
            if tensor != plain:
                (moved,) = draft.variables.pop(tensor)
                del draft.weights[tensor]
                _add_moves(draft, plain, moved.layout, tensor)
    if len(draft.graph.node) > nodes:
        draft.sort_nodes()


def _add_moves(draft: Draft, source: str, layout: Layout, result: str) -> None:
    """Add nodes that rearrange a weight; ``result`` is the last one's output."""
    if not layout:
        draft.rename_tensors({result: source})
    for number, step in enumerate(layout, 1):
        output = result if number == len(layout) else draft.new_name(f"{result}/moved")
        _add_move(draft, source, step, output)
        source = output


def _add_move(draft: Draft, source: str, step: Step, output: str) -> None:
    from onnx import helper

    kind, values = step
    if kind == "transpose":
        node = helper.make_node("Transpose", [source], [output], perm=list(values))
    else:
        shape = draft.new_name(f"{output}/shape")
        draft.weights[shape] = np.array(values, np.int64)
        node = helper.make_node("Reshape", [source, shape], [output])
    node.name = output
    draft.graph.node.append(node)


def record_variables(draft: Draft, trace: Trace) -> None:
    """Write into the metadata where each variable lies, and what training needs."""
    import onnx

    places = {
        weight.name: replace(weight, initializer=tensor)
        for tensor, parts in draft.variables.items()
        for weight in parts
    }
    weights = [
        places.get(v.name)
        or Weight(v.name, "", v.shape, trainable=v.trainable, statistic=v.statistic)
        for v in trace.variables
        if not v.is_seed
    ]
    statistics = {w.initializer for w in weights if w.statistic}
    training = [found for node in draft.nodes() if (found := _describe(node, statistics))]
    text = write_record(weights, training, trace.left_out)
    draft.model.metadata_props.append(onnx.StringStringEntryProto(key=WEIGHTS_KEY, value=text))


def _describe(node: Any, statistics: set[str]) -> dict[str, Any] | None:
    """What a node needs to act as in training; None if it does so as it is."""
    if node.op_type == "Dropout":
        needs = {"input": 2, "value": True}
        entry = {"node": node.name, "operator": node.op_type, "training_mode": needs}
        seed = attributes(node).get("seed")
        # Keras's seed is that of a sequence of masks; in the node it would give one again and again
        del node.attribute[:]
        return entry if seed is None else entry | {"seed": seed}
    if node.op_type == "BatchNormalization" and node.input[3] in statistics:
        return {
            "node": node.name,
            "operator": node.op_type,
            "training_mode": {"attribute": "training_mode", "value": 1},
            "outputs": {"1": node.input[3], "2": node.input[4]},
        }
    return None
