"""ONNX's operators as functions of NumPy arrays, independent of graphs, files and plans.

Each operator is one function, registered under its name and version, in the file of its family:

>>> import numpy as np, onnxwalk
>>> onnxwalk.ops.registry.lookup("", "Softmax", 17).function(np.zeros((1, 2), np.float32))
array([[0.5, 0.5]], dtype=float32)
"""

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.registry import RESERVED, Input, Operator, Registry, fused, op, registry
from onnxwalk.ops.schema.families import load_operators

__all__ = ["RESERVED", "Cost", "Input", "Operator", "Registry", "fused", "op", "registry"]

registry.load = fused.load = load_operators
