"""Convert a trace into an ONNX model: tf2onnx, then weights, names, clean-up and checks."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

from onnxwalk.export.conversion.bfloat16 import explain_refusal, has_bfloat16
from onnxwalk.export.conversion.clean import clean
from onnxwalk.export.conversion.draft import Draft, all_nodes, attach_weights, detach_weights
from onnxwalk.export.conversion.handlers import ADVICE, operation_handlers
from onnxwalk.export.conversion.markers import marker_handler
from onnxwalk.export.conversion.names import describe_place, name_nodes, name_weights, record_layers
from onnxwalk.export.conversion.opsets import DEFAULT_OPSET, OLDEST_OPSET, newest_opset, raise_opset
from onnxwalk.export.conversion.recurrent_nodes import collect_weights
from onnxwalk.export.conversion.variables import (
    find_variables,
    record_variables,
    settle_variables,
)
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.tracing.patches import MissingTarget, patched
from onnxwalk.export.tracing.trace import Port, Trace


def convert(trace: Trace, *, opset: int | None = None, errors: Sequence[str] = ()) -> Any:
    """The ``onnx.ModelProto`` of a trace; see ``build_draft``, and what that raises."""
    return attach_weights(build_draft(trace, opset=opset, errors=errors))


def build_draft(trace: Trace, *, opset: int | None = None, errors: Sequence[str] = ()) -> Draft:
    """Build the ONNX model of a trace; unchanged weights are still views of Keras's.

    ``opset``: None for ``DEFAULT_OPSET`` or, if the model computes in bfloat16, for the newest,
    in which most operators accept that.
    ``errors``: the list to which ``quiet`` adds tf2onnx's error messages.

    Raises ExportError when the opset is not supported, or when something in the model has no ONNX
    form; the message names the Keras layer.
    """
    import onnx
    from tf2onnx.convert import from_graph_def

    if opset is None:
        opset = newest_opset() if has_bfloat16(trace.graph) else DEFAULT_OPSET
    if not OLDEST_OPSET <= opset <= newest_opset():
        raise ExportError(f"opset {opset} is not supported: use {OLDEST_OPSET} to {newest_opset()}")
    ports = (*trace.inputs, *trace.outputs)
    gc.collect()  # frees the cycles of TensorFlow's graph before as much memory is needed again
    try:
        with patched("tf2onnx", record=trace.graph):
            model, _ = from_graph_def(
                trace.graph,
                name="onnxwalk",
                input_names=[port.tensor for port in trace.inputs] + list(trace.weights),
                output_names=[port.tensor for port in trace.outputs],
                tensors_to_rename={port.tensor: port.name for port in ports},
                opset=min(opset, DEFAULT_OPSET),
                custom_op_handlers={
                    **operation_handlers(to_train=trace.to_train),
                    "PyFunc": (marker_handler(trace.markers), []),
                },
            )
    except MissingTarget:
        raise
    except Exception as error:
        raise ExportError(f"tf2onnx failed: {one_line(error)}") from error

    gc.collect()  # the graph that tf2onnx built
    _refuse_leftovers(model, trace, errors)
    if opset > DEFAULT_OPSET:
        raise_opset(model, opset, trace.layers)
    weights = {tensor: values for tensor, (_, values) in trace.weights.items()}
    weights |= collect_weights(trace.markers)
    draft = detach_weights(model, weights, find_variables(trace) if trace.to_train else None)
    _describe_ports(model.graph, trace)
    model.graph.name = trace.name
    clean(draft)
    settle_variables(draft, trace)
    name_nodes(draft, trace)
    name_weights(draft, trace)
    _set_model_properties(model)
    record_layers(draft, trace)
    if trace.to_train:
        record_variables(draft, trace)
    try:
        onnx.checker.check_model(draft.skeleton(), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        refused = explain_refusal(str(error), opset, trace.layers)
        detail = errors[-1] if errors else str(error)
        raise ExportError(
            refused or f"the converted model is not valid: {one_line(detail)}"
        ) from error
    return draft


def _refuse_leftovers(model: Any, trace: Trace, errors: Sequence[str]) -> None:
    """Raise ExportError for TensorFlow operations that tf2onnx left in the model."""
    from onnx import defs

    opsets = {opset.domain: opset.version for opset in model.opset_import}
    left: dict[str, None] = {}
    for node in all_nodes(model.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain not in ("", "ai.onnx.ml") or not defs.has(
            node.op_type, opsets.get(domain, 1), domain
        ):
            left[f"{node.op_type} ({describe_place(node.name, trace.layers)})"] = None
    if left:
        failures = [f": {one_line(error)}" for error in errors if "Failed to convert" in error]
        what = "operations" if len(left) > 1 else "operation"
        kinds = [name.split(" ")[0] for name in left]
        failures = [f": {ADVICE[kind]}" for kind in kinds if kind in ADVICE] or failures
        raise ExportError(
            f"no ONNX form for the TensorFlow {what} {', '.join(left)}{''.join(failures[:1])}"
        )


def _describe_ports(graph: Any, trace: Trace) -> None:
    """Describe inputs and outputs as Keras names and orders them; open dimensions get symbols."""
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


def _set_model_properties(model: Any) -> None:
    """Set producer and versions, and keep only the opsets that are used."""
    import keras
    import onnx
    import tensorflow
    import tf2onnx

    used = {node.domain for node in all_nodes(model.graph)} - {"ai.onnx"} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.extend(kept)
    model.producer_name, model.producer_version = "onnxwalk", ""
    model.graph.doc_string = ""
    versions = {m.__name__: m.__version__ for m in (keras, tensorflow, tf2onnx)}
    onnx.helper.set_model_props(model, versions)
