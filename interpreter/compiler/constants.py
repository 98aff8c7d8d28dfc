"""What is known of a graph before it runs, as a plan has it: initializers and attributes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current_budget
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.ops import Operator

#: values of a constant that may say how large a result gets (a shape, pads)
_FEW = 64


def constant_arrays(graph: Graph) -> dict[str, np.ndarray]:
    """The initializers as arrays."""
    return {name: as_array(tensor) for name, tensor in graph.initializers.items()}


def as_array(tensor: Tensor | SparseTensor) -> np.ndarray:
    """A constant as a read-only array that NumPy computes with at full speed."""
    budget = current_budget()
    if isinstance(tensor, SparseTensor):
        if budget is not None:
            budget.take(math.prod(tensor.shape) * tensor.values.array.itemsize)
        array = tensor.to_dense()
    elif tensor.array.flags.aligned:
        array = tensor.array
    else:
        # A file aligns nothing; unaligned operands cost more at every run than one copy does now.
        if budget is not None:
            budget.take(tensor.array.nbytes)
        array = tensor.array.copy()
    array.flags.writeable = False
    return array


def operator_keywords(node: Node, operator: Operator, context: Context) -> dict[str, Any]:
    """The keyword arguments of a node's call, but for its subgraphs."""
    graphs = {name for name, _ in node.graphs}
    keywords = {
        name: as_array(value) if isinstance(value, (Tensor, SparseTensor)) else value
        for name, value in node.attributes.items()
        if name not in graphs
    }
    if "n_outputs" in operator.reserved:
        used = [i for i, name in enumerate(node.outputs, 1) if name]
        keywords["n_outputs"] = max(used, default=0)
    if "rng" in operator.reserved:
        keywords["rng"] = context.rng
    return keywords


def shape_stand_in(array: np.ndarray) -> np.ndarray:
    """A constant's shape and type, with its values only if they are few."""
    if array.size <= _FEW:
        return array
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)
