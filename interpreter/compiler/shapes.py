"""The shapes of a graph's outputs, as far as they follow from those of its inputs at load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.fold_constants import fold_constants
from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.compiler.passes.size_rules import Size
from onnxwalk.interpreter.compiler.passes.sizes import Sizes
from onnxwalk.interpreter.ir.model import Dimension, Graph, Shape, TensorType, ValueInfo

#: stands for an axis in the size of a dimension that the inputs have a symbol for
_SYMBOL = -1


def infer_output_shapes(
    graph: Graph, inputs: Sequence[ValueInfo], context: Context
) -> list[Shape | None]:
    """The shape of each output: numbers, symbols of the inputs, and ``None`` for other sizes;
    ``None`` as a whole if not even the rank is known.

    ``inputs``: the graph's, whose equal symbols are taken for equal sizes.
    """
    constants = [node for node in graph.nodes if context.is_operator(node, "Constant")]
    folded = fold_constants(replace(graph, nodes=tuple(constants)), context)
    sizes = Sizes(Links(replace(graph, initializers=folded.initializers), context))
    for value in inputs:
        if isinstance(value.type, TensorType) and value.type.shape is not None:
            pairs = enumerate(value.type.shape)
            sizes.note(value.name, tuple(_size(value.name, axis, d) for axis, d in pairs))
    found = [sizes.shape(value.name) for value in graph.outputs]
    return [None if shape is None else tuple(map(_dimension, shape)) for shape in found]


def _size(name: str, axis: int, dimension: Dimension) -> Size:
    if isinstance(dimension, str):
        return dimension, _SYMBOL
    return (name, axis) if dimension is None else dimension


def _dimension(size: Size) -> Dimension:
    if isinstance(size, int):
        return size
    return size[0] if size[1] == _SYMBOL else None
