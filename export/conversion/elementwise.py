"""Comparisons, choices, scatters and divisions, exact in every type that Keras computes in.

tf2onnx compares by way of float32, chooses by products with 0 and 1, and rounds quotients of
integers towards zero. ONNX's own operators do none of that, but ONNX Runtime lacks some of them for
short types: these are computed in a longer one that holds all of their values.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxwalk.export.conversion.nodes import LONGER, Nodes


def _comparing(kind: str) -> Callable[[Nodes], None]:
    def write(nodes: Nodes) -> None:
        nodes.replace(kind, nodes.in_longer(nodes.inputs))

    return write


def _not_equal(nodes: Nodes) -> None:
    nodes.replace("Not", [nodes.add("Equal", nodes.in_longer(nodes.inputs))])


def _select(nodes: Nodes) -> None:
    """Where(condition, x, y); the condition of the old Select may be a vector for whole rows."""
    condition, x, y = nodes.inputs
    rank, of_rows = nodes.shape(x), nodes.shape(condition)
    if nodes.node.type == "Select" and of_rows is not None and len(of_rows) == 1 and rank:
        axes = nodes.const(list(range(1, len(rank))))
        condition = nodes.add("Unsqueeze", [condition, axes]) if len(rank) > 1 else condition
    dtype = nodes.dtype(x)
    longer = LONGER.get(dtype.name)
    if longer is None or dtype.name in ("uint8", "int32"):
        nodes.replace("Where", [condition, x, y])
    else:
        choice = nodes.add("Where", [condition, nodes.cast(x, longer), nodes.cast(y, longer)])
        nodes.become([nodes.cast(choice, dtype)])


def _top_k(nodes: Nodes) -> None:
    """The k largest along the last axis, and where they are."""
    x, k = nodes.inputs
    count = nodes.add("Reshape", [nodes.cast(k, np.int64), nodes.const([1])])
    (longer,) = nodes.in_longer([x])
    values, indices = nodes.add("TopK", [longer, count], outputs=2, axis=-1)
    index_type = nodes.dtype(nodes.node.output[1])
    nodes.become([nodes.cast(values, nodes.dtype(x)), nodes.cast(indices, index_type)])


def _scatter_nd(nodes: Nodes) -> None:
    """Values added up at their indices; tf2onnx keeps the last of those with the same index."""
    from onnx import helper

    if nodes.ctx.opset < 16:
        raise ValueError("scatter adds values up, which ONNX's ScatterND does from opset 16 on")
    indices, values, shape = nodes.inputs
    zero = helper.make_tensor("zero", nodes.ctx.get_dtype(values), [1], [0])
    zeros = nodes.add("ConstantOfShape", [nodes.cast(shape, np.int64)], value=zero)
    inputs = [zeros, nodes.cast(indices, np.int64), values]
    nodes.replace("ScatterND", inputs, reduction="add")


def _floor_div(nodes: Nodes) -> None:
    """floor(x / y); of integers the quotient, rounded towards zero, less 1 where it isn't exact
    and below zero. No step of that overflows if the result doesn't."""
    x, y = nodes.inputs
    if nodes.is_float(x):
        nodes.replace("Floor", [nodes.add("Div", [x, y])])
        return
    dtype = nodes.dtype(x)
    x, y = nodes.in_longer([x, y])
    quotient = nodes.add("Div", [x, y])
    if dtype.kind == "i":
        quotient = nodes.add("Sub", [quotient, nodes.cast(_is_below(nodes, x, y), nodes.dtype(x))])
    nodes.become([nodes.cast(quotient, dtype)])


def _floor_mod(nodes: Nodes) -> None:
    """The rest of the division rounded down, with the sign of y."""
    x, y = nodes.inputs
    if not nodes.is_float(x):
        nodes.replace("Mod", [x, y])  # of integers ONNX's own is that
        return
    rest = nodes.add("Mod", [x, y], fmod=1)
    nodes.replace("Where", [_is_below(nodes, x, y, rest), nodes.add("Add", [rest, y]), rest])


def _is_below(nodes: Nodes, x: str, y: str, rest: str | None = None) -> str:
    """Where x / y is not whole, and the rest of the division towards zero has not the sign of y."""
    rest = nodes.add("Mod", [x, y], fmod=1) if rest is None else rest
    zero = nodes.const(0, nodes.dtype(x))
    signs = [nodes.add("Less", [value, zero]) for value in (rest, y)]
    exact = nodes.add("Equal", [rest, zero])
    return nodes.add("And", [nodes.add("Not", [exact]), nodes.add("Xor", signs)])


WRITERS: dict[str, Callable[[Nodes], None]] = {
    "Equal": _comparing("Equal"),
    "NotEqual": _not_equal,
    "Less": _comparing("Less"),
    "LessEqual": _comparing("LessOrEqual"),
    "Greater": _comparing("Greater"),
    "GreaterEqual": _comparing("GreaterOrEqual"),
    "Select": _select,
    "SelectV2": _select,
    "TopKV2": _top_k,
    "ScatterNd": _scatter_nd,
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
}
