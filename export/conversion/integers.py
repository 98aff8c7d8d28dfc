"""Operations on the bits of integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxwalk.export.conversion.nodes import Nodes


def _shift(direction: str) -> Callable[[Nodes], None]:
    """By 0 … bits - 1 places, as TensorFlow clips them. To the right the sign is kept:
    of a negative x it is ~(~x >> places), where ~x = -1 - x."""

    def write(nodes: Nodes) -> None:
        x, places = nodes.inputs
        dtype = nodes.dtype(x)
        bits = 8 * dtype.itemsize
        places = nodes.clip(nodes.cast(places, np.int64), 0, bits - 1)
        if dtype.kind == "u" or direction == "LEFT":
            wide = nodes.cast(x, np.int64) if dtype.kind == "i" else x
            shifted = _bit_shift(nodes, wide, places, direction)
        else:
            wide = nodes.cast(x, np.int64)
            negative = nodes.add("Less", [wide, nodes.const(0)])
            inverted = nodes.add("Sub", [nodes.const(-1), wide])
            shifted = nodes.add("Where", [negative, inverted, wide])
            shifted = nodes.cast(_bit_shift(nodes, shifted, places, direction), np.int64)
            inverted = nodes.add("Sub", [nodes.const(-1), shifted])
            shifted = nodes.add("Where", [negative, inverted, shifted])
        nodes.become([nodes.cast(shifted, dtype)])

    return write


def _bit_shift(nodes: Nodes, x: str, places: str, direction: str) -> str:
    """In uint64, which has the bits of every integer type."""
    inputs = [nodes.cast(value, np.uint64) for value in (x, places)]
    return nodes.add("BitShift", inputs, direction=direction)


def _invert(nodes: Nodes) -> None:
    """~x = -1 - x; without a sign, the largest of the type - x."""
    x = nodes.inputs[0]
    dtype = nodes.dtype(x)
    all_bits = -1 if dtype.kind == "i" else np.iinfo(dtype).max
    nodes.replace("Sub", [nodes.const(all_bits, dtype), x])


def _bitwise(kind: str) -> Callable[[Nodes], None]:
    def write(nodes: Nodes) -> None:
        if nodes.ctx.opset < 18:
            raise ValueError(f"ONNX has {kind} from opset 18 on")
        nodes.replace(kind, nodes.inputs)

    return write


WRITERS: dict[str, Callable[[Nodes], None]] = {
    "LeftShift": _shift("LEFT"),
    "RightShift": _shift("RIGHT"),
    "Invert": _invert,
    **{kind: _bitwise(kind) for kind in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
}
