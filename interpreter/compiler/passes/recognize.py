"""Replaces formulas that exporters write with many nodes by the operators that compute them.

One operator passes over its data once or twice; the five to fifteen nodes of TensorFlow's and
PyTorch's exporters do so each, and each creates an array.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links, Pattern, operators_of
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.records import replace

_SQRT2 = math.sqrt(2)

#: elementwise operators: (operator, opset, formulas of x)
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
    """Replace the last node of each formula by the operator, and drop the others if unused."""
    if not _may_have_formula(graph):
        return drop_unused(graph, context)
    links = Links(graph, context)
    edits = Edits(links)
    for node in graph.nodes:
        operator = None
        if node.op_type in ("Mul", "Div"):
            operator = _elementwise(node, links)
        elif node.op_type == "Add":
            operator = _layer_normalization(node, links, edits)
        if operator is not None:
            edits.replace(node, operator)
    # The unused nodes would count as readers in later rewrites.
    return drop_unused(edits.graph(), context)


def _may_have_formula(graph: Graph) -> bool:
    """Whether a graph has all operators of one of the formulas."""
    known = {op_type for _, op_type in graph.operators}
    formulas = itertools.chain(*(found for _, _, found in _ELEMENTWISE), _LAYER_NORMALIZATION)
    return any(operators_of(formula) <= known for formula in formulas)


def _elementwise(node: Node, links: Links) -> Node | None:
    for operator, opset, formulas in _ELEMENTWISE:
        for formula in formulas:
            match = links.match(formula, node.outputs[0])
            if match is not None and links.constant(match["x"]) is None:
                return _replace(node, operator, opset, [match["x"]])
    return None


def _replace(
    node: Node, op_type: str, opset: int, inputs: list[str], **attributes: float | int
) -> Node:
    """An operator of ai.onnx with the name and outputs of ``node``."""
    new = replace(node, op_type=op_type, domain="", opset=opset)
    return replace(new, inputs=tuple(inputs), attributes=attributes)


def _layer_normalization(node: Node, links: Links, edits: Edits) -> Node | None:
    matches = (links.matches(formula, node.outputs[0]) for formula in _LAYER_NORMALIZATION)
    for bound in itertools.chain.from_iterable(matches):
        operator = _check_layer_normalization(node, bound, links, edits)
        if operator is not None:
            return operator
    return None


def _check_layer_normalization(
    node: Node, bound: dict[str, str], links: Links, edits: Edits
) -> Node | None:
    """The operator, if mean, variance, factor and deviation have the right formulas too."""
    name, formula = (
        ("factor", ("Mul", _INVERSE, "scale")) if "factor" in bound else ("deviation", _DEVIATION)
    )
    match = links.match(formula, bound[name])
    if match is None:
        return None
    bound = {**bound, **match}
    mean, variance = links.maker.get(bound["mean"]), links.maker.get(bound["variance"])
    if not (_is_mean_over_last_axis(mean, links) and _is_mean_over_last_axis(variance, links)):
        return None
    assert mean is not None and variance is not None
    square = variance.inputs[0]
    squared = links.match(("Mul", "d", "d"), square) or links.match(("Pow", "d", 2.0), square)
    if squared is None or mean.inputs[0] != bound["x"]:
        return None
    if links.match(_DEVIATION, squared["d"]) != {"x": bound["x"], "mean": bound["mean"]}:
        return None
    epsilon = links.number(bound["epsilon"])
    if epsilon is None:
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
    # The formula computes in its own type: the operator would compute doubles in float.
    stash = element_type(np.promote_types(scale.dtype, np.float32)).code
    attributes = {"axis": -1, "epsilon": epsilon, "stash_type": stash}
    return _replace(node, "LayerNormalization", 17, inputs, **attributes)


def _is_mean_over_last_axis(node: Node | None, links: Links) -> bool:
    """Whether a node is a ReduceMean over the last axis that keeps it."""
    if node is None or not links.is_operator(node, "ReduceMean"):
        return False
    axes = node.attributes.get("axes")
    if len(node.inputs) > 1:
        array = links.constant(node.inputs[1])
        axes = None if array is None else array.reshape(-1).tolist()
    return axes == [-1] and node.attributes.get("keepdims", 1) == 1
