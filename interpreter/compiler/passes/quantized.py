"""Computes quantized graphs on whole numbers in float32, without the casts between.

    x → QuantizeLinear → DequantizeLinear → Conv → Relu → QuantizeLinear → …     (QDQ)
    x → QuantizeLinear → QLinearConv → QLinearAdd → …                            (QOperator)
    x → DynamicQuantizeLinear → MatMulInteger → Cast → …                         (dynamic)

A quantized tensor is followed as its *steps*, q - zero_point in float32, a dequantized one as
steps·scale. A product of steps with the whole numbers of the weights gives the sums that 8-bit
arithmetic gives, and ``Requantize`` (onnxwalk.fused) makes steps of them. What only moves values
moves steps. A node that reads anything else finds it computed of steps, or as the file says; what
nobody reads is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.compiler.passes.steps import (
    Steps,
    bytes_of,
    code_of,
    factor_of,
    is_exact,
    limited,
    read_bias,
    read_dequantized,
    read_steps,
    read_weights,
)
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.records import record, replace
from onnxwalk.ops.contract.registry import FUSED_DOMAIN

_MICROSOFT = "com.microsoft"
_FLOAT, _UINT8 = 1, 2  # TensorProto.DataType
#: operators whose results are values of their first input, or zeros
_MOVING = frozenset(
    "Flatten Gather Identity MaxPool Pad Reshape Slice Squeeze Transpose Unsqueeze".split()
)


@record(frozen=True)
class Sums:
    """A float that only a QuantizeLinear reads, if a Relu or Clip came between, from ``low`` to
    ``high``. ``make(target, new, sums)`` writes the steps ``new`` of it, where ``target`` is."""

    make: Callable[[Node, Steps, Sums], None]
    low: float = -math.inf
    high: float = math.inf


def quantized(graph: Graph, context: Context) -> Graph:
    """Rewrite what is computed on 8-bit numbers; the graph itself where there is nothing."""
    rewriting = _Rewriting(graph, context)
    for node in graph.nodes:
        rewriting.visit(node)
    changed = rewriting.edits.graph()
    return graph if changed is graph else drop_unused(changed, context)


class _Rewriting:
    def __init__(self, graph: Graph, context: Context) -> None:
        self.links = Links(graph, context)
        self.edits = Edits(self.links)
        self.steps: dict[str, Steps] = {}  # of quantized tensors
        self.scaled: dict[str, Steps] = {}  # of dequantized ones
        self.dynamic_steps: dict[str, Steps] = {}  # of those whose scale a run finds
        self.sums: dict[str, Sums] = {}
        self._names = {name for node in graph.nodes for name in (*node.inputs, *node.outputs)}

    def visit(self, node: Node) -> None:
        rule = _RULES.get((node.domain, node.op_type))
        if rule is not None and self.links.is_operator(node, node.op_type, domain=node.domain):
            rule(self, node)

    # ------------------------------------------------------------------ floats to steps and back

    def quantize(self, node: Node) -> None:
        """QuantizeLinear of what is steps already, of sums, or of any float."""
        new = read_steps(self.links, node, *node.inputs[1:])
        if new is None or node.attributes.get("output_dtype", 0) not in (0, code_of(new)):
            return
        x, y = node.inputs[0], node.outputs[0]
        source, sums = self.scaled.get(x), self.sums.get(x)
        same = source is not None and source.scale == new.scale
        if source is not None and same and new.low <= source.low and source.high <= new.high:
            self.steps[y] = replace(source, zero_point=new.zero_point)
            return
        new = self.steps[y] = replace(new, name=self.name(y))
        if sums is not None and self.links.only_reader(x) is node:
            sums.make(node, new, sums)
        else:
            scale = self.edits.constant(f"{y}/scale", np.array(new.scale))
            self.edits.replace(node, node, _fused(node, "Steps", [x, scale], new))

    def dequantize(self, node: Node) -> None:
        """DequantizeLinear of steps: steps·scale."""
        source = self.steps.get(node.inputs[0])
        given = read_steps(self.links, node, *node.inputs[1:])
        if source is None or given is None or given.zero_point != source.zero_point:
            return
        if node.attributes.get("output_dtype", 0) in (0, _FLOAT):
            y = node.outputs[0]
            self.scaled[y] = replace(source, scale=given.scale)
            self.edits.replace(node, *self.times_scale(node, self.scaled[y], y))

    def move(self, node: Node) -> None:
        """A node that moves values moves steps."""
        x, y = node.inputs[0], node.outputs[0]
        is_float = x in self.scaled
        source = self.scaled.get(x) or self.steps.get(x)
        if source is None or len([name for name in node.outputs if name]) > 1:
            return
        inputs = node.inputs
        if node.op_type == "Pad":
            zero = 0 if is_float else float(source.zero_point)
            fill = self.links.number(inputs[2]) if len(inputs) > 2 and inputs[2] else 0
            if not 2 <= len(inputs) <= 3 or fill != zero:
                return
            inputs = inputs[:2]
        moved = replace(source, name=self.name(y))
        mover = replace(node, inputs=(source.name, *inputs[1:]), outputs=(moved.name,))
        if is_float:
            self.scaled[y] = moved
            self.edits.replace(node, mover, *self.times_scale(node, moved, y))
        else:
            self.steps[y] = moved
            self.edits.replace(node, mover, *self.as_bytes(node, moved, y))

    # ------------------------------------------------ floats between dequantizing and quantizing

    def product(self, node: Node) -> None:
        """Conv, MatMul or Gemm of steps and whole weights."""
        source = self.scaled.get(node.inputs[0])
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
        if source is None or any(node.attributes.get(k, v) != v for k, v in plain.items()):
            return
        outputs_at = 0 if node.op_type == "Conv" or node.attributes.get("transB") else 1
        weights = read_dequantized(self.links, node.inputs[1], outputs_at)
        if weights is None or (weights.values.ndim != 2 and node.op_type != "Conv"):
            return
        scale = np.float64(source.scale) * weights.scale
        if scale.size not in (1, weights.values.shape[outputs_at]):
            return
        bias = None
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = read_bias(self.links, node.inputs[2], scale, weights.values.shape[outputs_at])
            if bias is None:
                return

        def make(target: Node, new: Steps, sums: Sums) -> None:
            factor = factor_of(source, weights, new)
            nodes = self.requantize(
                node, source, weights.values, bias, factor, limited(new, sums.low, sums.high)
            )
            self.edits.replace(target, *nodes, *self.as_bytes(target, new, target.outputs[0]))

        self.sums[node.outputs[0]] = Sums(make)

    def add(self, node: Node) -> None:
        """Add of two dequantized tensors: a table of all sums, which QLinearAdd makes."""
        a, b = (self.scaled.get(name) for name in node.inputs)
        operator = self.links.context.registry.lookup(_MICROSOFT, "QLinearAdd", 1)
        if a is None or b is None or "broadcast" in node.attributes or operator is None:
            return

        def make(target: Node, new: Steps, sums: Sums) -> None:
            if a.zero_point.dtype == b.zero_point.dtype == new.zero_point.dtype:
                left, right = bytes_of(a)[:, None], bytes_of(b)[None]
                scales = [np.array(x.scale) for x in (a, b, new)]
                table = operator.function(
                    left, scales[0], a.zero_point, right, scales[1], b.zero_point,
                    scales[2], new.zero_point,
                ).astype(np.float32) - new.zero_point  # fmt: skip
            else:
                values = np.add.outer(a.numbers * a.scale, b.numbers * b.scale)
                table = np.clip(np.rint(values / new.scale), new.low, new.high)
            within = limited(new, sums.low, sums.high)
            table = np.clip(table, within.low, within.high).astype(np.float32)
            step = self.look_up(target, a, b, table, new)
            self.edits.replace(target, step, *self.as_bytes(target, new, target.outputs[0]))

        self.sums[node.outputs[0]] = Sums(make)

    def limit(self, node: Node) -> None:
        """Relu and Clip of sums limit their steps."""
        sums = self.sums.get(node.inputs[0])
        if sums is None or self.links.only_reader(node.inputs[0]) is not node:
            return
        low, high = 0.0, math.inf
        if node.op_type == "Clip":
            numbers = [self.links.number(name) if name else None for name in node.inputs[1:]]
            if any(n and x is None for n, x in zip(node.inputs[1:], numbers, strict=True)):
                return
            low, high = (
                default if number is None else number
                for number, default in zip(
                    [*numbers, None, None],
                    (node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)),
                    strict=False,
                )
            )
        low, high = max(low, sums.low), min(high, sums.high)
        if low <= high:
            self.sums[node.outputs[0]] = replace(sums, low=low, high=high)

    # ------------------------------------------------------------ operators of quantized tensors

    def linear_conv(self, node: Node) -> None:
        """QLinearConv, where float32 holds its sums exactly."""
        inputs = node.inputs
        weights = read_weights(self.links, *inputs[3:6])
        found = self.find_input(node, 0)
        new = read_steps(self.links, node, *inputs[6:8])
        if found is None or weights is None or new is None:
            return
        source, before = found
        bias = None
        if len(inputs) > 8 and inputs[8]:
            bias = self.links.constant(inputs[8])
            if bias is None or bias.shape != weights.values.shape[:1]:
                return
            bias = bias.astype(np.float32)
        channels = weights.values.shape[1]
        parts = [slice(0, channels)]
        if not is_exact(weights.values, source, bias):
            # Two sums that are exact, of half of the channels each, are rounded once when added.
            parts = [slice(0, channels // 2), slice(channels // 2, channels)]
            exact = all(is_exact(weights.values[:, part], source, bias) for part in parts)
            if node.attributes.get("group", 1) != 1 or not exact:
                return
        if weights.scale.size not in (1, len(weights.values)):
            return
        new = replace(new, name=self.name(node.outputs[0]))
        factor = factor_of(source, weights, new)
        conv = replace(node, op_type="Conv", opset=11, inputs=("", inputs[3], *inputs[8:9]))
        nodes = self.requantize(conv, source, weights.values, bias, factor, new, parts)
        self.steps[node.outputs[0]] = new
        self.edits.replace(node, *before, *nodes, *self.as_bytes(node, new, node.outputs[0]))

    def linear_gemm(self, node: Node) -> None:
        """QGemm, where float32 holds its sums exactly."""
        inputs = node.inputs
        found = self.find_input(node, 0)
        new = read_steps(self.links, node, *inputs[7:9])
        weights = read_weights(self.links, *inputs[3:6])
        if found is None or new is None or weights is None or node.attributes.get("transA"):
            return
        source, before = found
        transposed = node.attributes.get("transB", 0)
        bias = self.links.constant(inputs[6]) if inputs[6] else None
        by_output = weights.values if transposed else weights.values.T
        if weights.values.ndim != 2 or (inputs[6] and bias is None):
            return
        if bias is not None:
            if bias.size != len(by_output) or bias.shape[-1:] != bias.reshape(-1).shape:
                return
            bias = bias.reshape(-1).astype(np.float32)
        if not is_exact(by_output, source, bias):
            return
        if weights.scale.size not in (1, len(by_output)):
            return
        new = replace(new, name=self.name(node.outputs[0]))
        factor = factor_of(source, weights, new, node.attributes.get("alpha", 1.0))
        gemm = replace(node, op_type="Gemm", opset=13, inputs=("", inputs[3], inputs[6]))
        gemm = replace(gemm, attributes={"transB": transposed})
        nodes = self.requantize(gemm, source, weights.values, bias, factor, new)
        self.steps[node.outputs[0]] = new
        self.edits.replace(node, *before, *nodes, *self.as_bytes(node, new, node.outputs[0]))

    def linear_pair(self, node: Node) -> None:
        """QLinearAdd or QLinearMul: a table of all results, which the operator itself makes."""
        first, second = self.find_input(node, 0), self.find_input(node, 3)
        new = read_steps(self.links, node, *node.inputs[6:8])
        operator = self.links.context.operator(node)
        if first is None or second is None or new is None or operator is None:
            return
        (a, before), (b, more) = first, second
        constants = [
            None if i in (0, 3) or not name else self.links.constant(name)
            for i, name in enumerate(node.inputs)
        ]
        constants[0], constants[3] = bytes_of(a)[:, None], bytes_of(b)[None]
        table = operator.function(*constants).astype(np.float32) - new.zero_point
        y = node.outputs[0]
        new = self.steps[y] = replace(new, name=self.name(y))
        step = self.look_up(node, a, b, table.astype(np.float32), new)
        self.edits.replace(node, *before, *more, step, *self.as_bytes(node, new, y))

    def find_input(self, node: Node, at: int) -> tuple[Steps, list[Node]] | None:
        """An input, scale and zero point from ``at`` on as steps, with the nodes that make them."""
        given = read_steps(self.links, node, *node.inputs[at + 1 : at + 3])
        if given is None:
            return None
        x = node.inputs[at]
        source = self.steps.get(x)
        if source is not None:
            same = source.zero_point == given.zero_point
            return (replace(source, scale=given.scale), []) if same else None
        if self.links.constant(x) is not None:
            return None
        new = replace(given, name=self.name(x))
        wide = _node(node, "Cast", [x], self.name(f"{x}/float"), 13, to=_FLOAT)
        zero = self.edits.constant(f"{x}/zero", given.zero_point.astype(np.float32))
        self.steps[x] = new
        return new, [wide, _node(node, "Sub", [wide.outputs[0], zero], new.name, 14)]

    # --------------------------------------------------------------------------- sums of integers

    def dynamic(self, node: Node) -> None:
        """DynamicQuantizeLinear gives steps beside its scale and zero point."""
        if len(node.outputs) < 3 or not all(node.outputs):
            return
        y, scale, zero_point = node.outputs
        # From -zero_point to 255 - zero_point: sums are largest where the zero point is 0 or 255.
        new = Steps(self.name(y), 0, 255, np.float32(1), np.zeros((), np.uint8))
        self.dynamic_steps[y] = new
        steps = _fused(node, "DynamicSteps", list(node.inputs), new)
        steps = replace(steps, outputs=(new.name, scale, zero_point), attributes={})
        wide = _node(node, "Cast", [zero_point], self.name(f"{y}/zero"), 13, to=_FLOAT)
        shifted = _node(node, "Add", [new.name, wide.outputs[0]], self.name(f"{y}/float"), 14)
        narrow = _node(node, "Cast", [shifted.outputs[0]], y, 13, to=_UINT8)
        self.edits.replace(node, steps, wide, shifted, narrow)

    def integer_product(self, node: Node) -> None:
        """MatMulInteger or ConvInteger of a DynamicQuantizeLinear, cast to float."""
        source = self.dynamic_steps.get(node.inputs[0])
        maker = self.links.maker.get(node.inputs[0])
        cast = self.links.only_reader(node.outputs[0])
        if source is None or maker is None or cast is None or len(node.inputs) < 3:
            return
        if not self.links.is_operator(cast, "Cast") or cast.attributes.get("to") != _FLOAT:
            return
        if maker.outputs[::2] != (node.inputs[0], node.inputs[2]):
            return
        weights = read_weights(self.links, node.inputs[1], "", *node.inputs[3:4])
        is_conv = node.op_type == "ConvInteger"
        if weights is None or weights.values.ndim < 2:
            return
        rows = weights.values if is_conv else weights.values.swapaxes(-1, -2)
        first = len(rows) if is_conv else rows[..., 0].size
        if not rows.size or not is_exact(rows.reshape(first, -1), source):
            return
        constant = self.edits.constant(f"{node.inputs[1]}/steps", weights.values)
        kind, opset = ("Conv", 11) if is_conv else ("MatMul", 13)
        new = replace(node, op_type=kind, opset=opset, outputs=cast.outputs)
        self.edits.replace(node, replace(new, inputs=(source.name, constant)))
        self.edits.replace(cast)

    # --------------------------------------------------------------------------------- new nodes

    def name(self, value: str) -> str:
        """A new name for the steps of a value."""
        name = f"{value}/steps"
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name

    def requantize(
        self,
        product: Node,
        source: Steps,
        weights: np.ndarray,
        bias: np.ndarray | None,
        factor: np.ndarray,
        new: Steps,
        parts: Sequence[slice] = (slice(None),),
    ) -> list[Node]:
        """The product of steps and weights, for ``parts`` of a convolution's channels, and its
        steps."""
        is_conv = product.op_type == "Conv"
        nodes: list[Node] = []
        sums = ""
        for part in parts:
            x = source.name
            if len(parts) > 1:
                ends = [
                    self.edits.constant(f"{x}/end", np.array([i]))
                    for i in (part.start, part.stop, 1)
                ]
                nodes.append(_node(product, "Slice", [x, *ends], self.name(f"{x}/part"), 13))
                x = nodes[-1].outputs[0]
            own = weights[:, part] if len(parts) > 1 else weights
            inputs = [x, self.edits.constant(f"{product.inputs[1]}/steps", own)]
            if bias is not None and not sums:
                inputs.append(self.edits.constant(f"{product.inputs[2]}/steps", bias))
            before, sums = sums, self.name(f"{new.name}/sums")
            nodes.append(replace(product, domain="", inputs=tuple(inputs), outputs=(sums,)))
            if before:
                nodes.append(_node(product, "Add", [before, sums], self.name(f"{sums}/all"), 14))
                sums = nodes[-1].outputs[0]
        column = (-1, *[1] * (weights.ndim - 2)) if is_conv else (-1,)
        factor = np.asarray(factor, np.float32)
        factor = factor.reshape(column if factor.ndim else ())
        multiplier = self.edits.constant(f"{new.name}/multiplier", factor)
        return [*nodes, _fused(product, "Requantize", [sums, multiplier], new)]

    def look_up(self, node: Node, a: Steps, b: Steps, table: np.ndarray, new: Steps) -> Node:
        """The steps that a table has for each pair of steps."""
        constant = self.edits.constant(f"{new.name}/table", table)
        inputs = (a.name, b.name, constant)
        first = {"a_low": float(a.low), "b_low": float(b.low)}
        return replace(_fused(node, "StepsTable", list(inputs), new), attributes=first)

    def times_scale(self, node: Node, source: Steps, y: str) -> list[Node]:
        """The dequantized tensor ``y`` of its steps: like an integer's, its zeros have no sign."""
        zero = self.edits.constant(f"{y}/unsigned", np.zeros((), np.float32))
        scale = self.edits.constant(f"{y}/scale", np.array(source.scale))
        unsigned = _node(node, "Add", [source.name, zero], self.name(f"{y}/steps"), 14)
        return [unsigned, _node(node, "Mul", [unsigned.outputs[0], scale], y, 14)]

    def as_bytes(self, node: Node, source: Steps, y: str) -> list[Node]:
        """The quantized tensor ``y`` of its steps."""
        zero = self.edits.constant(f"{y}/zero", source.zero_point.astype(np.float32))
        shifted = _node(node, "Add", [source.name, zero], self.name(f"{y}/float"), 14)
        return [shifted, _node(node, "Cast", [shifted.outputs[0]], y, 13, to=code_of(source))]


def _node(
    node: Node, kind: str, inputs: list[str], output: str, opset: int, **attributes: int
) -> Node:
    """A node of ai.onnx in the place of another."""
    return replace(
        node, op_type=kind, domain="", opset=opset, attributes=attributes,
        inputs=tuple(inputs), outputs=(output,),
    )  # fmt: skip


def _fused(node: Node, kind: str, inputs: list[str], new: Steps) -> Node:
    limits = {"low": float(new.low), "high": float(new.high)}
    made = _node(node, kind, inputs, new.name, 1)
    return replace(made, domain=FUSED_DOMAIN, attributes=limits)


_RULES: dict[tuple[str, str], Callable[[_Rewriting, Node], None]] = {
    **{("", name): _Rewriting.move for name in _MOVING},
    **{("", name): _Rewriting.product for name in ("Conv", "MatMul", "Gemm")},
    **{("", name): _Rewriting.limit for name in ("Relu", "Clip")},
    **{("", name): _Rewriting.integer_product for name in ("MatMulInteger", "ConvInteger")},
    **{(domain, "QuantizeLinear"): _Rewriting.quantize for domain in ("", _MICROSOFT)},
    **{(domain, "DequantizeLinear"): _Rewriting.dequantize for domain in ("", _MICROSOFT)},
    **{(_MICROSOFT, name): _Rewriting.linear_pair for name in ("QLinearAdd", "QLinearMul")},
    ("", "Add"): _Rewriting.add,
    ("", "QLinearConv"): _Rewriting.linear_conv,
    (_MICROSOFT, "QGemm"): _Rewriting.linear_gemm,
    ("", "DynamicQuantizeLinear"): _Rewriting.dynamic,
}
