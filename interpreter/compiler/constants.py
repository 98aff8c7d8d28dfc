"""Initializers and attributes in the form in which operators use them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import take
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.ir.model import Node, SparseTensor, Tensor
from onnxwalk.ops import Operator

#: the largest constant whose values may determine the size of a result (a shape, pads)
_FEW = 64


def as_array(tensor: Tensor | SparseTensor) -> np.ndarray:
    """A constant as a read-only, dense and aligned array."""
    if isinstance(tensor, SparseTensor):
        take(math.prod(tensor.shape) * tensor.values.array.itemsize)
        array = tensor.to_dense()
    elif tensor.array.flags.aligned:
        array = tensor.array
    else:  # files don't align data, and unaligned operands cost more in every run than a copy now
        take(tensor.array.nbytes)
        array = tensor.array.copy()
    array.flags.writeable = False
    return array


def operator_keywords(node: Node, operator: Operator, context: Context) -> dict[str, Any]:
    """The keyword arguments of a node's call, except its subgraphs."""
    graphs = {name for name, _ in node.graphs}
    keywords = {}
    for name, value in node.attributes.items():
        if isinstance(value, Tensor) and name in operator.lays_out:
            keywords[name] = value.array.view()
            keywords[name].flags.writeable = False
        elif name not in graphs:
            is_tensor = isinstance(value, Tensor | SparseTensor)
            keywords[name] = as_array(value) if is_tensor else value
    if "n_outputs" in operator.reserved:
        used = [i for i, name in enumerate(node.outputs, 1) if name]
        keywords["n_outputs"] = max(used, default=0)
    if "rng" in operator.reserved:
        keywords["rng"] = context.rng
    return keywords


def shape_stand_in(array: np.ndarray) -> np.ndarray:
    """A constant for cost rules: large ones are zeros of the same shape that use no memory."""
    if array.size <= _FEW:
        return array
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)
