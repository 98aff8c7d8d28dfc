"""Write the smallest model that shows a difference: the node, with its inputs as constants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.compare.cause import Cause, read_operands
from onnxwalk.interpreter.analysis.compare.comparison import Comparison, Sides, align
from onnxwalk.interpreter.analysis.compare.metrics import Tolerance
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import write_file
from onnxwalk.interpreter.optional import require

#: the largest protobuf message
_MAX_BYTES = (1 << 31) - 1


def extract(
    sides: Sides, comparison: Comparison, cause: Cause, tolerance: Tolerance, path: Path
) -> list[str]:
    """Write a model without inputs: the nodes of ``cause`` with their inputs as initializers. Its
    outputs are those of the last node, and NAME/expected, the value of the other side.

    Returns the names of the outputs. Raises InvalidInputError if it can't be written,
    OnnxWalkError if a side can't run.
    """
    onnx = require("onnx")
    assert cause.node is not None
    session = sides.session
    source = session.model.source
    original = onnx.load(source, load_external_data=False)
    indices = {id(node): index for index, node in enumerate(session.model.graph.nodes)}
    nodes = [original.graph.node[indices[id(node)]] for node in cause.nodes]
    operands = read_operands(session, comparison.feeds, cause.nodes)
    mine, theirs = _compute_values(sides, comparison, cause, tolerance)
    outputs = {name: None for name in cause.node.outputs if name}
    expected = f"{cause.name}/expected"
    builder = _Builder(onnx)
    for name, value in operands.items():
        builder.add(name, value)
    infos = [builder.value_info(name, mine if name == cause.name else None) for name in outputs]
    if isinstance(theirs, np.ndarray):
        builder.add(expected, theirs)
        infos.append(builder.value_info(expected, theirs))
        outputs[expected] = None
    graph = onnx.helper.make_graph([*builder.nodes, *nodes], cause.name, [], infos, builder.tensors)
    model = onnx.helper.make_model(
        graph,
        opset_imports=original.opset_import,
        functions=original.functions,
        ir_version=max(original.ir_version, 4),  # older versions require initializers to be inputs
        producer_name="onnxwalk",
    )
    # Tensors of attributes may be in files next to the model.
    folder = os.path.dirname(os.path.abspath(source))
    onnx.external_data_helper.load_external_data_for_model(model, folder)
    if sum(tensor.ByteSize() for tensor in builder.tensors) > _MAX_BYTES:
        raise InvalidInputError(f"{path}: the inputs of the node exceed the 2 GB of an ONNX file")
    write_file(path, model.SerializeToString())
    return list(outputs)


def _compute_values(
    sides: Sides, comparison: Comparison, cause: Cause, tolerance: Tolerance
) -> tuple[Any, Any]:
    """The value of the main side and that of the other as it is compared with it, with its axes in
    the order of the file."""
    values = [
        dict(side.stream(comparison.feeds, [name]))[name]
        for side, name in zip((sides.a, sides.b), cause.row.pair[:2], strict=True)
    ]
    aligned = align(sides, cause.row.pair, values[0], values[1], tolerance)
    theirs = aligned.values[1 - sides.main]
    if aligned.axes is not None:
        theirs = theirs.transpose(np.argsort(aligned.axes))
    return values[sides.main], theirs


class _Builder:
    """Collects the constants of a graph; a sequence is built from its items."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.tensors: list[Any] = []
        self.nodes: list[Any] = []

    def add(self, name: str, value: Any) -> None:
        helper = self.onnx.helper
        if isinstance(value, (list, tuple)):
            items = [f"{name}/{i}" for i in range(len(value))]
            for item, tensor in zip(items, value, strict=True):
                self.add(item, tensor)
            kind = "SequenceConstruct" if items else "SequenceEmpty"
            self.nodes.append(helper.make_node(kind, items, [name]))
        elif value is None:
            self.nodes.append(helper.make_node("Optional", [], [name]))
        elif isinstance(value, dict):
            raise InvalidInputError(f"'{name}' is a map, which can't be a constant of a model")
        else:
            array = np.ascontiguousarray(value).reshape(np.shape(value))
            self.tensors.append(self.onnx.numpy_helper.from_array(array, name))

    def value_info(self, name: str, value: Any) -> Any:
        """An output with the type and shape of ``value``, if that is a tensor."""
        if not isinstance(value, np.ndarray):
            return self.onnx.ValueInfoProto(name=name)
        helper = self.onnx.helper
        kind = (
            self.onnx.TensorProto.STRING
            if value.dtype.kind in "OUST"
            else helper.np_dtype_to_tensor_dtype(value.dtype)
        )
        return helper.make_tensor_value_info(name, kind, value.shape)
