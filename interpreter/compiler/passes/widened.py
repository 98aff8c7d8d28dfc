"""Computes short floats in float32, from node to node.

NumPy has no products of float16 or bfloat16: each node would widen its inputs and round its result.
ONNX Runtime on a CPU casts such graphs to float32 and keeps values wide between nodes. This does
so, too: constants are widened once, values are rounded where an output of the graph, a Cast or an
operator that isn't listed reads them.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.budget import take
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES
from onnxwalk.ops.contract.records import replace
from onnxwalk.ops.shared.numeric import wide

_FLOAT = 1  # TensorProto.DataType
_CODES = {kind.name: kind.code for kind in ELEMENT_TYPES.values()}
_SHORT = ("float16", "bfloat16")

#: operators whose formula in float32 is that of short floats but for rounding
_COMPUTING = {
    "": frozenset(
        "Abs Acos Acosh Add AffineGrid Asin Asinh Atan Atanh Attention AveragePool "
        "BatchNormalization Celu Clip Conv ConvTranspose Cos Cosh CumSum Div Einsum Elu Erf Exp "
        "GRU Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample "
        "GroupNormalization HardSigmoid HardSwish InstanceNormalization LRN LSTM "
        "LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul Max MaxPool "
        "Mean MeanVarianceNormalization Min Mish Mul Neg PRelu Pow RMSNormalization RNN "
        "Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
        "ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Resize RotaryEmbedding Selu "
        "Sigmoid SimplifiedLayerNormalization Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum "
        "Swish Tan Tanh ThresholdedRelu Upsample".split()
    ),
    "com.microsoft": frozenset(
        "Attention BiasGelu EmbedLayerNormalization FastGelu FusedConv FusedGemm "
        "FusedMatMul Gelu GroupQueryAttention MatMulNBits MultiHeadAttention QuickGelu "
        "RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization "
        "SparseAttention TransposeMatMul".split()
    ),
}
#: operators that only move values, which do so in any type
_MOVING = frozenset(
    "Compress Concat DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND Identity "
    "Pad Reshape ReverseSequence ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile "
    "Transpose Trilu Unsqueeze Where".split()
)


def widened(graph: Graph, context: Context) -> Graph:
    """Rewrite the nodes that compute with short floats; the graph itself where there are none."""
    if not any(_computes(node, context) for node in graph.nodes):
        return graph
    types: dict[str, str] = {}
    for _ in type_problems(graph, context, types):
        pass
    if not any(kind in _SHORT for kind in types.values()):
        return graph
    widening = _Widening(graph, context, types)
    try:
        for node in graph.nodes:
            widening.visit(node)
    except LimitError as error:
        if not error.of_memory:
            raise
        return graph  # weights of twice the size don't fit: each node widens its own in every run
    changed = widening.edits.graph()
    return graph if changed is graph else drop_unused(changed, context)


def _computes(node: Node, context: Context) -> bool:
    if node.op_type not in _COMPUTING.get(node.domain, ()) or not context.is_builtin(node):
        return False
    # A limit that Clip isn't given is that of its type.
    inputs = zip(("input", "min", "max"), node.inputs, strict=False)
    limits = {*node.attributes, *(name for name, value in inputs if value)}
    return node.op_type != "Clip" or {"min", "max"} <= limits


class _Widening:
    def __init__(self, graph: Graph, context: Context, types: dict[str, str]) -> None:
        self.context, self.types = context, types
        self.links = Links(graph, context)
        self.edits = Edits(self.links)
        self.wide: dict[str, str] = {}  # the float32 value of each short one, where there is one
        self._names = {*types, *(name for node in graph.nodes for name in node.outputs)}

    def visit(self, node: Node) -> None:
        """Widen a node's short inputs and outputs, if its operator is one of those above."""
        moves = node.op_type in _MOVING and self.links.is_operator(node, node.op_type)
        if not moves and not _computes(node, self.context):
            return
        if not all(self.types.get(name) for name in node.inputs if name):
            return
        if not any(self.types.get(name) in _SHORT for name in node.inputs):
            return
        if moves and not any(name in self.wide for name in node.inputs):
            return  # what is only moved stays as it is
        before: list[Node] = []
        after: list[Node] = []
        inputs = [self.widen(name, node, before) for name in node.inputs]
        outputs = []
        for name in node.outputs:
            kind = self.types.get(name, "")
            if kind in _SHORT:
                result = self.wide[name] = self.name(name)
                outputs.append(result)
                after.append(_cast(node, result, name, _CODES[kind]))
            else:
                outputs.append(name)
        new = replace(node, inputs=tuple(inputs), outputs=tuple(outputs))
        self.edits.replace(node, *before, new, *after)

    def widen(self, name: str, node: Node, before: list[Node]) -> str:
        """The float32 value of a short one: a constant, or what a Cast before the node gives."""
        if self.types.get(name) not in _SHORT:
            return name
        if name not in self.wide:
            constant = self.links.constant(name)
            if constant is not None:
                self.wide[name] = self.edits.constant(
                    f"{name}/float", self.widen_constant(constant)
                )
            else:
                self.wide[name] = self.name(name)
                before.append(_cast(node, name, self.wide[name], _FLOAT))
        return self.wide[name]

    def widen_constant(self, constant: np.ndarray) -> np.ndarray:
        """A constant in float32. Raises LimitError if it doesn't fit the memory limit."""
        take(4 * constant.size)
        return wide(constant)

    def name(self, value: str) -> str:
        name = f"{value}/float"
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name


def _cast(node: Node, x: str, y: str, to: int) -> Node:
    new = replace(node, op_type="Cast", domain="", opset=13, attributes={"to": to})
    return replace(new, inputs=(x,), outputs=(y,))
