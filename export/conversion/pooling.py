"""Maximum pooling as TensorFlow does it: of numbers only, and exact in every integer type."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.export.conversion.nodes import Nodes

#: type -> one that holds its values, and in which every engine has MaxPool; int64 has none
_POOLED_AS = {
    **dict.fromkeys(("int16", "uint16", "bfloat16"), np.float32),
    "int32": np.float64,
}


def max_pool(nodes: Nodes) -> None:
    """The largest number in each window: TensorFlow passes over NaN, and nothing is less than the
    lowest finite number. Engines do so in float32, but not in other types."""
    x, dtype = nodes.inputs[0], nodes.dtype(nodes.inputs[0])
    if dtype.name in ("float16", "float64"):
        lowest = nodes.const(np.finfo(dtype).min, dtype)
        x = nodes.add("Where", [nodes.add("Greater", [x, lowest]), x, lowest])
    elif dtype.name in _POOLED_AS:
        x = nodes.cast(x, _POOLED_AS[dtype.name])
    first = nodes.node.get_attr_str("data_format").startswith("NC")
    rank = len(nodes.shape(x))
    spatial = list(range(2, rank) if first else range(1, rank - 1))
    sizes, strides = (
        [nodes.node.get_attr(n).ints[a] for a in spatial] for n in ("ksize", "strides")
    )
    if dtype == np.int64:
        for axis, size, stride in zip(spatial, sizes, strides, strict=True):
            if (size, stride) != (1, 1):
                x = _max_pool_axis(nodes, x, axis, size, stride)
        nodes.become([x])
        return
    options: dict[str, Any] = {"kernel_shape": sizes, "strides": strides}
    if nodes.node.get_attr_str("padding") == "SAME":
        options |= _same_padding([nodes.shape(x)[axis] for axis in spatial], sizes, strides)
    if not first:
        x = nodes.add("Transpose", [x], perm=[0, rank - 1, *spatial])
    y = nodes.add("MaxPool", [x], **options)
    if not first:
        y = nodes.add("Transpose", [y], perm=[0, *range(2, rank), 1])
    nodes.become([y if dtype.name not in _POOLED_AS else nodes.cast(y, dtype)])


def _same_padding(lengths: list[int], sizes: list[int], strides: list[int]) -> dict[str, Any]:
    """The attributes of MaxPool for windows that cover the input, half of what is missing at
    either end, and one more behind."""
    if min(lengths) < 0:
        return {"auto_pad": "SAME_UPPER"}
    windows = zip(lengths, sizes, strides, strict=True)
    missing = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in windows]
    return {"pads": [n // 2 for n in missing] + [n - n // 2 for n in missing]}


def _max_pool_axis(nodes: Nodes, x: str, axis: int, size: int, stride: int) -> str:
    """The largest of windows along one axis, for a type that ONNX's MaxPool doesn't take.

    A place outside of the input becomes the next one inside, which is in the same window.
    """
    same = nodes.node.get_attr_str("padding") == "SAME"
    zero, one, two, steps, taps = (nodes.const(value) for value in (0, 1, 2, stride, size))
    length = nodes.add("Gather", [nodes.add("Shape", [x]), nodes.const(axis)])
    last = nodes.add("Sub", [length, one])
    # windows = (length - size) // stride + 1, or as many as cover the input
    free = last if same else nodes.add("Sub", [length, taps])
    windows = nodes.add("Add", [nodes.add("Div", [free, steps]), one])
    starts = nodes.add("Mul", [nodes.add("Range", [zero, windows, one]), steps])
    if same:
        behind = nodes.add("Mul", [nodes.add("Sub", [windows, one]), steps])
        missing = nodes.add("Sub", [nodes.add("Add", [behind, taps]), length])
        before = nodes.add("Div", [nodes.add("Max", [missing, zero]), two])
        starts = nodes.add("Sub", [starts, before])
    starts = nodes.add("Unsqueeze", [starts, nodes.const([1])])
    places = nodes.add("Add", [starts, nodes.const(np.arange(size))])
    places = nodes.add("Min", [nodes.add("Max", [places, zero]), last])
    return nodes.reduce("ReduceMax", nodes.add("Gather", [x, places], axis=axis), axis + 1)
