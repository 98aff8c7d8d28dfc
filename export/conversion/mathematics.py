"""Mathematical functions that ONNX has no operator for, or one with other limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxwalk.export.conversion.nodes import Nodes


def _atan2(nodes: Nodes) -> None:
    """The angle of the point (x, y): atan(y / x), turned by π where x is negative, or
    ±π/2 - atan(x / y). Of both the one whose quotient is below 1, which has the right slopes on the
    axes and diagonals, too.

    -0 is negative here, and of two infinities the quotient is 1 or -1."""
    y, x = nodes.inputs
    dtype = nodes.dtype(x)
    zero, one, minus, pi = (nodes.const(value, dtype) for value in (0, 1, -1, np.pi))
    size_y, size_x = nodes.add("Abs", [y]), nodes.add("Abs", [x])
    is_steep = nodes.add("Greater", [size_y, size_x])
    above = nodes.add("Where", [is_steep, x, y])
    below = nodes.add("Where", [is_steep, y, x])
    is_zero = nodes.add("Equal", [below, zero])  # then both are
    quotient = nodes.add("Div", [above, nodes.add("Where", [is_zero, one, below])])
    sign = nodes.add("Where", [_is_negative(nodes, y), minus, one])
    sign_x = nodes.add("Where", [_is_negative(nodes, x), minus, one])
    smaller = nodes.add("Min", [size_y, size_x])
    are_infinite = nodes.add("Equal", [smaller, nodes.const(np.inf, dtype)])
    quotient = nodes.add("Where", [are_infinite, nodes.add("Mul", [sign, sign_x]), quotient])
    angle = nodes.add("Atan", [quotient])
    quarter = nodes.add("Mul", [sign, nodes.const(np.pi / 2, dtype)])
    turned = nodes.add("Add", [nodes.add("Mul", [sign, pi]), angle])
    flat = nodes.add("Where", [_is_negative(nodes, x), turned, angle])
    nodes.replace("Where", [is_steep, nodes.add("Sub", [quarter, angle]), flat])


def _is_negative(nodes: Nodes, x: str) -> str:
    """Whether x is less than 0, or -0."""
    zero, one = (nodes.const(value, nodes.dtype(x)) for value in (0, 1))
    at_zero = nodes.add("Equal", [x, zero])
    signed = nodes.add("Where", [at_zero, nodes.add("Div", [one, x]), x])
    return nodes.add("Less", [signed, zero])


def _product_with_zero(function: Callable[[Nodes, str], str]) -> Callable[[Nodes], None]:
    """x · function(y), and 0 where x is 0 even if y is NaN."""

    def write(nodes: Nodes) -> None:
        x, y = nodes.inputs
        zero = nodes.const(0, nodes.dtype(x))
        product = nodes.add("Mul", [x, function(nodes, y)])
        nodes.replace("Where", [nodes.add("Equal", [x, zero]), zero, product])

    return write


def _log1p(nodes: Nodes, x: str) -> str:
    """log(1 + x), for small x too, of which the sum u = 1 + x keeps little: log(u)·x / (u - 1), in
    which the error of u cancels (Kahan); x itself where u is 1. Nothing is divided by 0, also
    not in what isn't chosen: its gradient would be NaN."""
    one, zero = (nodes.const(value, nodes.dtype(x)) for value in (1, 0))
    u = nodes.add("Add", [x, one])
    kept = nodes.add("Sub", [u, one])
    exact = nodes.add("Equal", [kept, x])  # infinity too
    nothing = nodes.add("Equal", [kept, zero])
    divisor = nodes.add("Where", [nothing, one, kept])
    ratio = nodes.add("Where", [exact, one, nodes.add("Div", [x, divisor])])
    product = nodes.add("Mul", [nodes.add("Log", [u]), ratio])
    return nodes.add("Where", [nothing, x, product])


def _expm1(nodes: Nodes) -> None:
    """exp(x) - 1 = tanh(x / 2)·(exp(x) + 1), which loses nothing of small x."""
    x = nodes.inputs[0]
    one, half = (nodes.const(value, nodes.dtype(x)) for value in (1, 0.5))
    tanh = nodes.add("Tanh", [nodes.add("Mul", [x, half])])
    nodes.replace("Mul", [tanh, nodes.add("Add", [nodes.add("Exp", [x]), one])])


def _mul_no_nan(nodes: Nodes) -> None:
    """x · y, and 0 where y is 0 even if x is NaN or infinite."""
    x, y = nodes.inputs
    zero = nodes.const(0, nodes.dtype(y))
    nodes.replace("Where", [nodes.add("Equal", [y, zero]), zero, nodes.add("Mul", [x, y])])


def _inv(nodes: Nodes) -> None:
    nodes.replace("Reciprocal", nodes.inputs)


def _relu(nodes: Nodes) -> None:
    """ONNX's Relu is one of floats."""
    x = nodes.inputs[0]
    if nodes.is_float(x):
        nodes.replace("Relu", [x])
    else:
        nodes.replace("Max", [x, nodes.const(0, nodes.dtype(x))])


def _relu6(nodes: Nodes) -> None:
    """min(6, max(x, 0)) for a file that is to be trained: as in TensorFlow no gradient goes through
    at 0 and at 6. At its limits Clip, which it is in other files, has a gradient of 1."""
    six = nodes.const(6, nodes.dtype(nodes.inputs[0]))
    nodes.replace("Min", [six, nodes.add("Relu", nodes.inputs)])


def _div_no_nan(nodes: Nodes) -> None:
    """x / y, and 0 where y is 0; there it divides by 1, of which the gradient isn't NaN."""
    x, y = nodes.inputs
    zero, one = (nodes.const(value, nodes.dtype(y)) for value in (0, 1))
    nothing = nodes.add("Equal", [y, zero])
    quotient = nodes.add("Div", [x, nodes.add("Where", [nothing, one, y])])
    nodes.replace("Where", [nothing, zero, quotient])


def _pow(nodes: Nodes) -> None:
    """Of short integers in int64, of which the low bits are right even when it overflows."""
    x, y = nodes.inputs
    dtype = nodes.dtype(x)
    if nodes.is_float(x) or dtype in (np.int32, np.int64):
        nodes.replace("Pow", [x, y])
    else:
        power = nodes.add("Pow", [nodes.cast(x, np.int64), nodes.cast(y, np.int64)])
        nodes.become([nodes.cast(power, dtype)])


def _selu(nodes: Nodes) -> None:
    """ONNX's Selu, whose factors are float32; in float64 the formula. At 0, where both branches are
    0, its slope is that from above."""
    x = nodes.inputs[0]
    if nodes.dtype(x) != np.float64:
        nodes.replace("Selu", [x])
        return
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    below = nodes.add("Sub", [nodes.add("Exp", [x]), nodes.const(1.0)])
    below = nodes.add("Mul", [below, nodes.const(scale * alpha)])
    above = nodes.add("Mul", [x, nodes.const(scale)])
    nodes.replace("Where", [nodes.add("Less", [x, nodes.const(0.0)]), below, above])


def _is_inf(nodes: Nodes) -> None:
    """|x| = infinity: ONNX's IsInf is one of float32 and float64."""
    nodes.replace("Equal", nodes.in_longer(_size_and_infinity(nodes)))


def _is_finite(nodes: Nodes) -> None:
    """|x| < infinity, which NaN isn't."""
    nodes.replace("Less", nodes.in_longer(_size_and_infinity(nodes)))


def _size_and_infinity(nodes: Nodes) -> list[str]:
    x = nodes.inputs[0]
    return [nodes.add("Abs", [x]), nodes.const(np.inf, nodes.dtype(x))]


def _cross(nodes: Nodes) -> None:
    """(a₂b₃ - a₃b₂, a₃b₁ - a₁b₃, a₁b₂ - a₂b₁) along the last axis."""

    def turned(x: str, *order: int) -> str:
        return nodes.add("Gather", [x, nodes.const(order)], axis=-1)

    a, b = nodes.inputs
    products = [
        nodes.add("Mul", [turned(a, 1, 2, 0), turned(b, 2, 0, 1)]),
        nodes.add("Mul", [turned(a, 2, 0, 1), turned(b, 1, 2, 0)]),
    ]
    nodes.replace("Sub", products)


def _broadcast_args(nodes: Nodes) -> None:
    """The shape that two shapes have together: that of the other where one is 1."""
    ranks = [nodes.shape(shape)[0] for shape in nodes.inputs]
    filled = [
        nodes.add("Pad", [nodes.cast(shape, np.int64), nodes.const([max(ranks) - rank, 0]),
                          nodes.const(1)])
        for shape, rank in zip(nodes.inputs, ranks, strict=True)
    ]  # fmt: skip
    a, b = filled
    shape = nodes.add("Where", [nodes.add("Equal", [a, nodes.const(1)]), b, a])
    nodes.become([nodes.cast(shape, nodes.dtype(nodes.node.output[0]))])


def _bitcast(nodes: Nodes) -> None:
    """Of a type as itself; all else stays, and is refused later."""
    if nodes.dtype(nodes.inputs[0]) == nodes.dtype(nodes.node.output[0]):
        nodes.replace("Identity", nodes.inputs)


WRITERS: dict[str, Callable[[Nodes], None]] = {
    "Atan2": _atan2,
    "Bitcast": _bitcast,
    "BroadcastArgs": _broadcast_args,
    "Cross": _cross,
    "DivNoNan": _div_no_nan,
    "Expm1": _expm1,
    "Inv": _inv,
    "IsFinite": _is_finite,
    "IsInf": _is_inf,
    "Log1p": lambda nodes: nodes.become([_log1p(nodes, nodes.inputs[0])]),
    "MulNoNan": _mul_no_nan,
    "Pow": _pow,
    "Relu": _relu,
    "Selu": _selu,
    "Xlogy": _product_with_zero(lambda nodes, y: nodes.add("Log", [y])),
    "Xlog1py": _product_with_zero(_log1p),
    "Xdivy": _product_with_zero(lambda nodes, y: nodes.add("Reciprocal", [y])),
}
#: in files that are to be trained, in addition
WRITERS_TO_TRAIN: dict[str, Callable[[Nodes], None]] = {
    "Relu6": _relu6,
}
