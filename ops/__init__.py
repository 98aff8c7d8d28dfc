"""What each ONNX operator computes: arrays in, arrays out. Knows nothing of graphs, files or plans.

One file per family; each operator is one function, registered under its name and version:

>>> import numpy as np, onnxwalk
>>> onnxwalk.ops.registry.lookup("", "Softmax", 17).function(np.zeros((1, 2), np.float32))
array([[0.5, 0.5]], dtype=float32)
"""

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.registry import RESERVED, Input, Operator, Registry, fused, op, registry
from onnxwalk.ops.schema.families import load_operators

__all__ = ["RESERVED", "Cost", "Input", "Operator", "Registry", "fused", "op", "registry"]

registry.load = fused.load = load_operators
