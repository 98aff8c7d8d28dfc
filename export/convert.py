"""A trace becomes an ONNX model: tf2onnx, then weights, names, and a look at every node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from export.errors import ExportError, one_line
from export.fold import fold, static_reshapes
from export.handlers import ADVICE, handlers
from export.marks import writer_of
from export.recurrent_nodes import handler, weights_of
from export.trace import WEIGHT_PREFIX, Port, Trace, unique

#: opsets that tf2onnx writes and the recurrent nodes are written for
OPSETS = range(13, 19)


def convert(trace: Trace, *, opset: int = 18, errors: Sequence[str] = ()) -> Any:
    """The ``onnx.ModelProto`` of a trace.

    ``errors`` is the list that tf2onnx's error messages arrive in (see ``quiet``).

    Raises ExportError when the opset is not one of ``OPSETS``, or when something in the model has
    no ONNX form; the message names the Keras layer.
    """
    import onnx
    from tf2onnx.convert import from_graph_def

    if opset not in OPSETS:
        raise ExportError(f"opset {opset} can't be written: {OPSETS[0]} to {OPSETS[-1]} can")
    names = [port.name for port in (*trace.inputs, *trace.outputs)]
    try:
        model, _ = from_graph_def(
            trace.graph,
            name="onnxwalk",
            input_names=[port.tensor for port in trace.inputs] + list(trace.weights),
            output_names=[port.tensor for port in trace.outputs],
            tensors_to_rename={port.tensor: port.name for port in (*trace.inputs, *trace.outputs)},
            opset=opset,
            custom_op_handlers={**handlers(), "PyFunc": (_marker_handler(trace), [])},
        )
    except Exception as error:
        raise ExportError(f"tf2onnx failed: {one_line(error)}") from error

    _refuse_leftovers(model, trace, errors)
    weights = {tensor: values for tensor, (_, values) in trace.weights.items()}
    weights |= weights_of(trace.markers)
    _attach_weights(model.graph, weights)
    fold(model.graph)
    static_reshapes(model.graph)
    _name_weights(model.graph, trace, names)
    _describe_ports(model.graph, trace)
    model.graph.name = trace.name
    _finish(model)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        detail = errors[-1] if errors else str(error)
        raise ExportError(f"the converted model is not valid: {one_line(detail)}") from error
    return model


def _marker_handler(trace: Trace) -> Any:
    """The handler of PyFunc, which stands for a mark or for a recurrence."""
    recurrent = handler(trace.markers)

    def convert(ctx: Any, node: Any, name: str, args: Any) -> None:
        writer = writer_of(node, trace.writers)
        if writer is not None:
            writer(ctx, node)
        else:
            recurrent(ctx, node, name, args)

    return convert


def walk(graph: Any) -> Iterator[Any]:
    """Every node of a graph and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from walk(attribute.g)
            for inner in attribute.graphs:
                yield from walk(inner)


def layer_of(name: str, layers: Sequence[str]) -> str | None:
    """The Keras layer that a node's name (``model/layer/Operation``) belongs to, the innermost."""
    known = set(layers)
    for part in reversed(name.split("/")):
        for candidate in (part, re.sub(r"_\d+$", "", part)):
            if candidate in known:
                return candidate
    return None


def _refuse_leftovers(model: Any, trace: Trace, errors: Sequence[str]) -> None:
    """tf2onnx leaves what it can't map in the model and says nothing: say it."""
    from onnx import defs

    opsets = {opset.domain: opset.version for opset in model.opset_import}
    left: dict[str, None] = {}
    for node in walk(model.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain not in ("", "ai.onnx.ml") or not defs.has(
            node.op_type, opsets.get(domain, 1), domain
        ):
            layer = layer_of(node.name, trace.layers)
            where = f"layer {layer}" if layer else node.name
            left[f"{node.op_type} ({where})"] = None
    if left:
        failures = [f": {one_line(error)}" for error in errors if "Failed to convert" in error]
        what = "operations" if len(left) > 1 else "operation"
        kinds = [name.split(" ")[0] for name in left]
        failures = [f": {ADVICE[kind]}" for kind in kinds if kind in ADVICE] or failures
        raise ExportError(
            f"no ONNX form for the TensorFlow {what} {', '.join(left)}{''.join(failures[:1])}"
        )


def _attach_weights(graph: Any, weights: dict[str, Any]) -> None:
    """The inputs that stand for weights become initializers."""
    from onnx import numpy_helper

    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)
    used = {name for node in walk(graph) for name in node.input}
    for name, values in weights.items():
        if name in used:
            graph.initializer.append(numpy_helper.from_array(values, name))


def _name_weights(graph: Any, trace: Trace, taken: list[str]) -> None:
    """Initializers that are Keras variables get the variables' names."""
    readable = {tensor: name for tensor, (name, _) in trace.weights.items()}
    readable |= _recognized(graph, trace)
    produced = {name for node in walk(graph) for name in node.output}
    used = [*taken, *produced]
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        name = readable.get(tensor.name, tensor.name)
        if name.startswith(WEIGHT_PREFIX):
            name = name.removeprefix(WEIGHT_PREFIX).split(":")[0]
        name = unique([*used, name])[-1] if name != tensor.name else name
        used.append(name)
        renamed[tensor.name] = tensor.name = name
    for node in walk(graph):
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)


def _recognized(graph: Any, trace: Trace) -> dict[str, str]:
    """Initializer -> variable, for vectors that lost their names on the way: by their values."""
    from onnx import numpy_helper

    owners: dict[bytes, list[str]] = {}
    for name, values in trace.constants.items():
        owners.setdefault(values.tobytes(), []).append(name)
    found: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.name.startswith(WEIGHT_PREFIX) or tensor.data_type != tensor.FLOAT:
            continue
        names = owners.get(numpy_helper.to_array(tensor).tobytes(), [])
        if len(names) == 1:  # equal vectors, as all the zeros of a fresh model, stay unnamed
            found[tensor.name] = names[0]
    return found


def _describe_ports(graph: Any, trace: Trace) -> None:
    """Inputs and outputs in Keras's order, under its names; open dimensions get symbols."""
    from onnx import TensorProto, helper

    numbers = {name.lower(): number for name, number in TensorProto.DataType.items()}
    numbers |= {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
    times = sum(_has_open_time(port) for port in trace.inputs)

    def describe(port: Port, is_input: bool) -> Any:
        if port.shape is None:
            return helper.make_tensor_value_info(port.name, numbers[port.dtype], None)
        dims: list[int | str] = []
        for axis, size in enumerate(port.shape):
            if size is not None:
                dims.append(size)
            elif axis == 0:
                dims.append("batch")
            elif is_input and axis == 1 and times == 1 and _has_open_time(port):
                dims.append("time")
            else:
                dims.append(f"{port.name}_{axis}")
        return helper.make_tensor_value_info(port.name, numbers[port.dtype], dims)

    inputs = [describe(port, True) for port in trace.inputs]
    outputs = [describe(port, False) for port in trace.outputs]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(inputs)
    graph.output.extend(outputs)


def _has_open_time(port: Port) -> bool:
    return port.shape is not None and len(port.shape) in (2, 3) and port.shape[1] is None


def _finish(model: Any) -> None:
    """Producer, versions, and only the operator sets that are used."""
    import keras
    import onnx
    import tensorflow
    import tf2onnx

    used = {node.domain for node in walk(model.graph)} - {"ai.onnx"} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.extend(kept)
    model.producer_name, model.producer_version = "onnxwalk", ""
    model.graph.doc_string = ""
    versions = {m.__name__: m.__version__ for m in (keras, tensorflow, tf2onnx)}
    onnx.helper.set_model_props(model, versions)
