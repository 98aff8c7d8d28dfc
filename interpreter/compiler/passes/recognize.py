"""Formulas that exporters spell out, recognized as the operators that they are.

One operator passes over its data once or twice; the five to fifteen nodes that TensorFlow's and
PyTorch's exporters write for it pass over it that many times, and leave as many arrays behind.
"""

from __future__ import annotations

import math
from dataclasses import replace

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links, Pattern
from onnxwalk.interpreter.ir.model import Graph, Node

_SQRT2 = math.sqrt(2)

#: what is recognized elementwise: (operator, opset that has it, formulas of x)
_ELEMENTWISE: tuple[tuple[str, int, tuple[Pattern, ...]], ...] = (
    ("Swish", 24, (("Mul", "x", ("Sigmoid", "x")),)),
    (
        "HardSwish",
        14,
        (
            ("Mul", "x", ("Mul", ("Clip", ("Add", "x", 3.0), 0.0, 6.0), 1 / 6)),
            ("Mul", "x", ("Div", ("Clip", ("Add", "x", 3.0), 0.0, 6.0), 6.0)),
            ("Div", ("Mul", "x", ("Clip", ("Add", "x", 3.0), 0.0, 6.0)), 6.0),
            ("Mul", ("Mul", "x", ("Clip", ("Add", "x", 3.0), 0.0, 6.0)), 1 / 6),
        ),
    ),
    (
        "Gelu",
        20,
        (
            ("Mul", ("Mul", "x", ("Add", ("Erf", ("Div", "x", _SQRT2)), 1.0)), 0.5),
            ("Mul", ("Mul", 0.5, "x"), ("Add", ("Erf", ("Div", "x", _SQRT2)), 1.0)),
            ("Mul", ("Mul", 0.5, "x"), ("Add", ("Erf", ("Mul", "x", 1 / _SQRT2)), 1.0)),
            ("Mul", "x", ("Mul", ("Add", ("Erf", ("Div", "x", _SQRT2)), 1.0), 0.5)),
            # 1 - erf(-x / √2), as TensorFlow's erfc
            (
                "Mul",
                ("Mul", 0.5, "x"),
                ("Sub", 1.0, ("Erf", ("Mul", ("Neg", "x"), 1 / _SQRT2))),
            ),
        ),
    ),
)

_DEVIATION = ("Sub", "x", "mean")
_INVERSE: Pattern = ("Reciprocal", ("Sqrt", ("Add", "variance", "epsilon")))

#: (x - mean) / √(variance + ε)·scale + bias
_LAYER_NORMALIZATION: tuple[Pattern, ...] = (
    (  # TensorFlow: x·factor + (-mean·factor + bias)
        "Add",
        ("Mul", "x", "factor"),
        ("Add", ("Mul", ("Neg", "mean"), "factor"), "bias"),
    ),
    (  # PyTorch
        "Add",
        ("Mul", ("Div", "deviation", ("Sqrt", ("Add", "variance", "epsilon"))), "scale"),
        "bias",
    ),
)


def recognize(graph: Graph, context: Context) -> Graph:
    """Replace the last node of each formula by the operator; the others fall out when unused."""
    links = Links(graph, context)
    edits = Edits(links)
    for node in graph.nodes:
        found = None
        if node.op_type in ("Mul", "Div"):
            found = _elementwise(node, links)
        elif node.op_type == "Add":
            found = _layer_normalization(node, links, edits)
        if found is not None:
            edits.replace(node, found)
    # What the formulas were made of would still count as a reader of what they read.
    return drop_unused(edits.graph(), context)


def _elementwise(node: Node, links: Links) -> Node | None:
    for operator, opset, formulas in _ELEMENTWISE:
        for formula in formulas:
            match = links.match(formula, node.outputs[0])
            if match is not None and links.constant(match["x"]) is None:
                return _as(node, operator, opset, [match["x"]])
    return None


def _as(
    node: Node, operator: str, opset: int, inputs: list[str], **attributes: float | int
) -> Node:
    return replace(
        node,
        op_type=operator,
        domain="",
        inputs=tuple(inputs),
        attributes=attributes,
        opset=opset,
    )


def _layer_normalization(node: Node, links: Links, edits: Edits) -> Node | None:
    for formula in _LAYER_NORMALIZATION:
        for bound in links.matches(formula, node.outputs[0]):
            found = _checked_layer_normalization(node, bound, links, edits)
            if found is not None:
                return found
    return None


def _checked_layer_normalization(
    node: Node, bound: dict[str, str], links: Links, edits: Edits
) -> Node | None:
    """The rest of the formula: what mean, variance, factor and deviation are made of."""
    if "factor" in bound:
        factor = links.match(("Mul", _INVERSE, "scale"), bound["factor"])
        if factor is None:
            return None
        bound = {**bound, **factor}
    else:
        deviation = links.match(_DEVIATION, bound["deviation"])
        if deviation is None:
            return None
        bound = {**bound, **deviation}
    square = links.maker.get(bound["variance"])
    if square is None or not links.is_operator(square, "ReduceMean"):
        return None
    squared = links.match(("Mul", "d", "d"), square.inputs[0]) or links.match(
        ("Pow", "d", 2.0), square.inputs[0]
    )
    if squared is None:
        return None
    if links.match(("Sub", bound["x"], bound["mean"]), squared["d"]) is None:
        return None
    deviation_inputs = links.maker[squared["d"]].inputs
    if tuple(deviation_inputs[:2]) != (bound["x"], bound["mean"]):
        return None
    mean = links.maker.get(bound["mean"])
    if mean is None or not links.is_operator(mean, "ReduceMean") or mean.inputs[0] != bound["x"]:
        return None
    epsilon = links.number(bound["epsilon"])
    if epsilon is None or not (_over_last_axis(mean, links) and _over_last_axis(square, links)):
        return None
    scale, bias = links.constant(bound["scale"]), links.constant(bound["bias"])
    if scale is None or bias is None or not scale.ndim or bias.shape != scale.shape:
        return None
    if scale.size != scale.shape[-1]:
        return None
    inputs = [bound["x"], bound["scale"], bound["bias"]]
    if scale.ndim > 1:
        inputs[1:] = [
            edits.constant(bound["scale"], scale.reshape(-1)),
            edits.constant(bound["bias"], bias.reshape(-1)),
        ]
    return _as(node, "LayerNormalization", 17, inputs, axis=-1, epsilon=epsilon)


def _over_last_axis(node: Node, links: Links) -> bool:
    """Whether a ReduceMean is over the last axis, and keeps it."""
    axes = node.attributes.get("axes")
    if len(node.inputs) > 1:
        array = links.constant(node.inputs[1])
        axes = None if array is None else array.reshape(-1).tolist()
    return axes == [-1] and node.attributes.get("keepdims", 1) == 1
