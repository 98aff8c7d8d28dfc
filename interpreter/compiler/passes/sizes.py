"""What is known of values before anything runs: their sizes, their largest magnitude, zeros."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TypeAlias

import numpy as np

from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.ir.model import Node, TensorType

#: how many values one has along an axis: a number, or the value and the axis that decide it
Size: TypeAlias = "int | tuple[str, int]"

#: float32, float64, int32 and int64, which hold the lengths of sequences
_NUMBERS = (1, 11, 6, 7)
_LOGICAL = ("Not", "And", "Or", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
_ELEMENTWISE = ("Add", "Sub", "Mul", "Cast", "Where", *_LOGICAL)
#: operators whose results are among their first input's values
_PICKING = (
    "Transpose", "Identity", "Squeeze", "Unsqueeze", "Reshape", "ReverseSequence", "Slice",
    "Gather", "GatherND", "Expand", "Relu",
)  # fmt: skip
#: beyond this, products of bounds could overflow
_LARGEST = 1e30


def is_number_cast(node: Node) -> bool:
    """Whether a Cast is to a type that holds counts."""
    return node.attributes.get("to") in _NUMBERS


def is_zero(links: Links, name: str) -> bool:
    """Whether a value is zeros, of whatever shape."""
    constant = links.constant(name)
    if constant is not None:
        return not constant.any()
    node = links.maker.get(name)
    if node is None:
        return False
    if links.is_operator(node, "Expand", "Identity", "Unsqueeze"):
        return is_zero(links, node.inputs[0])
    if not links.is_operator(node, "ConstantOfShape"):
        return False
    value = node.attributes.get("value")
    return value is None or not value.array.any()


class Sizes:
    """The sizes of a graph's values."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._declared = {
            value.name: value.type.shape
            for value in links.graph.inputs
            if isinstance(value.type, TensorType) and value.type.shape is not None
        }

    def length(self, name: str) -> Size | None:
        """The number that a value of one element holds."""
        links = self._links
        array = links.constant(name)
        if array is not None:
            return int(array.reshape(-1)[0]) if array.size == 1 else None
        node = links.maker.get(name)
        if node is None:
            return None
        if links.is_operator(node, "Identity", "Squeeze") or (
            links.is_operator(node, "Cast") and is_number_cast(node)
        ):
            return self.length(node.inputs[0])
        axis = None
        if links.is_operator(node, "Gather"):
            axis = _one_index(links, node.inputs[1])
        elif links.is_operator(node, "Slice") and len(node.inputs) in (3, 4):
            start, end = (_one_index(links, part) for part in node.inputs[1:3])
            axes = 0 if len(node.inputs) == 3 else _one_index(links, node.inputs[3])
            if start is not None and end == start + 1 and axes == 0:
                axis = start
        shape = self._shape_of(node.inputs[0])
        return None if axis is None or axis < 0 or shape is None else self.of(shape, axis)

    def _shape_of(self, name: str) -> str | None:
        """The value whose shape this is."""
        node = self._links.maker.get(name)
        while node is not None and self._links.is_operator(node, "Cast") and is_number_cast(node):
            node = self._links.maker.get(node.inputs[0])
        if node is None or not self._links.is_operator(node, "Shape") or node.attributes:
            return None
        return node.inputs[0]

    def of(self, name: str, axis: int, rank: int | None = None) -> Size:
        """How many there are along an axis."""
        links = self._links
        while (node := links.maker.get(name)) is not None:
            if links.is_operator(node, "Transpose") and "perm" in node.attributes:
                perm = node.attributes["perm"]
                axis, rank = perm[axis], len(perm)
            elif not links.is_operator(node, "Identity", "ReverseSequence"):
                break
            name = node.inputs[0]
        number = self._number(name, axis, rank)
        return (name, axis) if number is None else number

    def _number(self, name: str, axis: int, rank: int | None) -> Size | None:
        """As ``of``, if the file says how many."""
        links = self._links
        shape, node = self._declared.get(name), links.maker.get(name)
        if shape is not None and len(shape) == rank and isinstance(shape[axis], int):
            return shape[axis]
        if node is None or rank is None:
            return None
        if links.is_operator(node, "Loop") and axis == 0:
            carried = len(node.inputs) - 2
            is_stacked = node.outputs.index(name) >= carried
            return self.length(node.inputs[0]) if is_stacked and node.inputs[0] else None
        if links.is_operator(node, "Gather") and node.attributes.get("axis", 0) == 0:
            table = links.constant(node.inputs[0])
            if table is None or axis > rank - table.ndim:
                return None
            return self._fixed(node.inputs[1], axis, rank - table.ndim + 1)
        return self._fixed(name, axis, rank)

    def _fixed(self, name: str, axis: int, rank: int) -> int | None:
        """As ``of``, through elementwise operators: a size other than 1 is that of the result."""
        shape, node = self._declared.get(name), self._links.maker.get(name)
        if shape is not None:
            size = shape[axis] if len(shape) == rank else None
            return size if isinstance(size, int) and size != 1 else None
        if node is None or not self._links.is_operator(node, *_ELEMENTWISE):
            return None
        sizes = (self._fixed(part, axis, rank) for part in node.inputs)
        return next((size for size in sizes if size is not None), None)


def magnitude(links: Links, name: str, known: Collection[str] = ()) -> float:
    """No value is larger, and none is NaN; infinity if that isn't known. ``known``: the names of
    values between -1 and 1."""
    if name in known:
        return 1
    constant = links.constant(name)
    if constant is not None:
        largest = float(np.abs(constant).max(initial=0)) if constant.dtype.kind == "f" else math.inf
        return largest if largest < _LARGEST else math.inf
    node = links.maker.get(name)
    if node is None:
        return math.inf
    if links.is_operator(node, *_PICKING):
        return magnitude(links, node.inputs[0], known)
    if links.is_operator(node, "Concat"):
        return max(magnitude(links, part, known) for part in node.inputs)
    if links.is_operator(node, "Tanh", "Sigmoid", "Softmax"):
        # of a NaN they give NaN
        return 1 if magnitude(links, node.inputs[0], known) < math.inf else math.inf
    if links.is_operator(node, "Cast"):
        source = links.maker.get(node.inputs[0])
        is_logical = source is not None and links.is_operator(source, *_LOGICAL)
        return 1 if is_logical else math.inf
    if links.is_operator(node, "Add", "Mul"):
        a, b = (magnitude(links, part, known) for part in node.inputs)
        result = a + b if node.op_type == "Add" else a * b
        return result if result < _LARGEST else math.inf
    return math.inf


def _one_index(links: Links, name: str) -> int | None:
    array = links.constant(name)
    if array is None or array.size != 1 or array.dtype.kind != "i":
        return None
    return int(array.reshape(-1)[0])
