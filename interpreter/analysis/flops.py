"""What a node costs on paper: operations of arithmetic, and bytes that have to move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.ir.model import Node

Arrays = Sequence[Any]

#: operators that only move values or look at them in another way
_MOVING = frozenset(
    "Transpose Reshape Flatten Squeeze Unsqueeze Identity Concat Split Slice Gather GatherElements "
    "GatherND ScatterElements ScatterND Pad Expand Tile Shape Size Constant ConstantOfShape "
    "DepthToSpace SpaceToDepth Cast CastLike Where Compress NonZero Range EyeLike OneHot "
    "ReverseSequence Dropout Upsample If Loop Scan".split()
)


def operations(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    """Additions and multiplications, each counted as one, that the operator's formula takes.

    ``inputs`` and ``outputs``: the node's values, or anything with their shapes. An elementwise
    operator counts one for each value of its result.
    """
    count = _COUNTS.get(node.op_type)
    if node.op_type in _MOVING or not outputs or _size(outputs[0]) is None:
        return 0
    if count is not None:
        return count(node, inputs, outputs)
    return sum(_size(y) or 0 for y in outputs)


def bytes_moved(inputs: Arrays, outputs: Arrays) -> int:
    """What is read and written at least: every input and output once."""
    return sum(getattr(value, "nbytes", 0) for value in (*inputs, *outputs))


def _size(value: Any) -> int | None:
    return math.prod(value.shape) if isinstance(value, np.ndarray) else None


def _conv(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    """For each result a product with the kernel, over the channels of a group"""
    per_result = math.prod(inputs[1].shape[1:])
    return 2 * per_result * _of(outputs[0])


def _conv_transpose(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    """Each input is multiplied by a kernel for each channel of its group's results"""
    return 2 * _of(inputs[0]) * math.prod(inputs[1].shape[1:])


def _matmul(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    return 2 * _of(outputs[0]) * inputs[0].shape[-1]


def _gemm(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    depth = inputs[0].shape[0 if node.attributes.get("transA", 0) else 1]
    return 2 * _of(outputs[0]) * depth


def _recurrent(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    """Two products for each step, sequence and direction (nothing for padding left out)"""
    w, r = inputs[1], inputs[2]
    steps = math.prod(inputs[0].shape[:2])
    return 2 * steps * (_of(w) + _of(r))


def _pool(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    return _of(outputs[0]) * math.prod(node.attributes.get("kernel_shape", ()) or (1,))


def _reduction(node: Node, inputs: Arrays, outputs: Arrays) -> int:
    return _of(inputs[0])


def _several(count: int) -> Callable[[Node, Arrays, Arrays], int]:
    return lambda node, inputs, outputs: count * _of(outputs[0])


def _of(array: Any) -> int:
    return math.prod(array.shape)


_COUNTS: dict[str, Callable[[Node, Arrays, Arrays], int]] = {
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "FusedMatMul": _matmul,
    "Gemm": _gemm,
    "RNN": _recurrent,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "GlobalAveragePool": _reduction,
    "GlobalMaxPool": _reduction,
    **dict.fromkeys(
        "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ArgMax ArgMin CumSum".split(),
        _reduction,
    ),
    "BatchNormalization": _several(2),
    **dict.fromkeys(
        "LayerNormalization InstanceNormalization GroupNormalization RMSNormalization".split(),
        _several(7),
    ),
    "Softmax": _several(4),
    "LogSoftmax": _several(4),
    "Sigmoid": _several(3),
    "Swish": _several(4),
    "HardSwish": _several(4),
    "Gelu": _several(6),
}
