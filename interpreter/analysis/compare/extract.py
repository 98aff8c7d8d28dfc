"""The smallest model that shows a difference: the node that makes it, its inputs as data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.compare.cause import Cause, operands
from onnxwalk.interpreter.analysis.compare.comparison import Comparison, Sides, keras_axes
from onnxwalk.interpreter.analysis.compare.metrics import Tolerance
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import write_file
from onnxwalk.interpreter.optional import require

#: protobuf holds no more
_MOST = (1 << 31) - 1


def extract(
    sides: Sides, found: Comparison, cause: Cause, tolerance: Tolerance, path: Path
) -> list[str]:
    """Write a model without inputs: the nodes of ``cause``, what they take as initializers, and
    the outputs of its node. Beside them, as the output NAME/expected, is what the other side gave.

    Returns the names of the outputs. Raises InvalidInputError when it can't be written,
    OnnxWalkError when a side can't run.
    """
    onnx = require("onnx")
    assert cause.node is not None
    session = sides.session
    source = session.model.source
    whole = onnx.load(source, load_external_data=False)
    places = {id(node): place for place, node in enumerate(session.model.graph.nodes)}
    nodes = [whole.graph.node[places[id(node)]] for node in cause.nodes]
    data = operands(session, found.feeds, cause.nodes)
    mine, theirs = _both(sides, found, cause, tolerance)
    outputs = {name: None for name in cause.node.outputs if name}
    expected = f"{cause.name}/expected"
    builder = _Builder(onnx)
    for name, value in data.items():
        builder.add(name, value)
    declared = [builder.declared(name, mine if name == cause.name else None) for name in outputs]
    if isinstance(theirs, np.ndarray):
        builder.add(expected, theirs)
        declared.append(builder.declared(expected, theirs))
        outputs[expected] = None
    graph = onnx.helper.make_graph(
        [*builder.nodes, *nodes], f"{cause.name}", [], declared, builder.tensors
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=whole.opset_import,
        functions=whole.functions,
        ir_version=max(whole.ir_version, 4),  # before, initializers had to be inputs
        producer_name="onnxwalk",
    )
    # Tensors among the attributes may lie in files beside the model.
    folder = os.path.dirname(os.path.abspath(source))
    onnx.external_data_helper.load_external_data_for_model(model, folder)
    if sum(tensor.ByteSize() for tensor in builder.tensors) > _MOST:
        raise InvalidInputError(f"{path}: what the node takes is more than a file's 2 GB")
    write_file(path, model.SerializeToString())
    return list(outputs)


def _both(sides: Sides, found: Comparison, cause: Cause, tolerance: Tolerance) -> tuple[Any, Any]:
    """The value on the side whose nodes are written, and on the other, with its axes in order."""
    values = [
        dict(side.stream(found.feeds, [name]))[name]
        for side, name in zip((sides.a, sides.b), cause.row.pair[:2], strict=True)
    ]
    mine, theirs = values[sides.leader], values[1 - sides.leader]
    axes = keras_axes(sides, mine, theirs, tolerance)
    return mine, theirs if axes is None else theirs.transpose(np.argsort(axes))


class _Builder:
    """Collects the constants of a graph; a sequence is constructed out of its items."""

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
            raise InvalidInputError(f"'{name}' is a map, which a model can't hold as data")
        else:
            array = np.ascontiguousarray(value).reshape(np.shape(value))
            self.tensors.append(self.onnx.numpy_helper.from_array(array, name))

    def declared(self, name: str, value: Any) -> Any:
        """An output with the type and shape of a tensor; without them where there is none."""
        if not isinstance(value, np.ndarray):
            return self.onnx.ValueInfoProto(name=name)
        helper = self.onnx.helper
        kind = (
            self.onnx.TensorProto.STRING
            if value.dtype.kind in "OUST"
            else helper.np_dtype_to_tensor_dtype(value.dtype)
        )
        return helper.make_tensor_value_info(name, kind, value.shape)
