"""What the file says of the pixels that a model of pictures expects, by ONNX's own metadata."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from onnx import numpy_helper

from onnxwalk.export.conversion.draft import Draft
from onnxwalk.interpreter.pixels import FORMAT_KEY, RANGE_KEY, RANGES, Expected, pixels_of_graph

_FORMATS = {1: "Gray8", 3: "Rgb8", 4: "Rgba8"}


def store_pixels(draft: Draft) -> None:
    """Store the range and the order of colours, and what the axes of the input are, if the model
    has one input of pictures and scales their pixels itself (Rescaling, Normalization).

    Where it doesn't, nothing in the model says what was done before, and nothing is stored. Keras
    reads pictures as RGB.
    """
    pictures = [(value, axis) for value in draft.graph.input for axis in _channel_axes(value)]
    if len(pictures) != 1:
        return
    ((value, axis),) = pictures
    expected = _expected(draft, value.name)
    if expected is None:
        return
    dims = value.type.tensor_type.shape.dim
    names = {limits: name for name, limits in RANGES.items()}
    stored = {
        RANGE_KEY: names[expected.low, expected.high],
        FORMAT_KEY: _FORMATS[dims[axis].dim_value],
    }
    for key, text in stored.items():
        draft.model.metadata_props.add(key=key, value=text)
    value.type.denotation = "IMAGE"
    for position, dim in enumerate(dims):
        dim.denotation = "DATA_CHANNEL" if position == axis else "DATA_FEATURE"
    dims[0].denotation = "DATA_BATCH"


def _channel_axes(value: Any) -> list[int]:
    """The axis of the channels of (N, H, W, C) or (N, C, H, W); none if it is neither."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) != 4:
        return []
    return [axis for axis in (3, 1) if dims[axis].dim_value in _FORMATS][:1]


def _expected(draft: Draft, name: str) -> Expected | None:
    constants = {
        node.output[0]: node.attribute[0].t
        for node in draft.graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }

    def constant(name: str) -> Any:
        tensor = constants.get(name)
        return draft.weights.get(name) if tensor is None else numpy_helper.to_array(tensor)

    nodes = [
        SimpleNamespace(op_type=node.op_type, inputs=node.input, outputs=node.output)
        for node in draft.graph.node
    ]
    return pixels_of_graph(nodes, constant, name)
