"""TensorFlow's resizing operations: Gathers of the rows and columns that a pixel is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.conversion.nodes import Nodes

#: operations that become sums of rows and columns with constant weights
MATRIX_RESIZES = ("ResizeArea", "ResizeBicubic", "ScaleAndTranslate")


def matrix_resize(nodes: Nodes) -> None:
    """Weighted sums of a few rows, then of columns; TensorFlow's operation on an identity matrix
    says of which, and with which weights.

    (batch, height, width, channels) -> (batch, new height, new width, channels) float32. Without
    fixed sizes the node is left as it is, and refused later. (A product with the whole matrix would
    spread a NaN or an infinity over all pixels, since 0 times that is NaN.)
    """
    x, node = nodes.inputs[0], nodes.node
    sizes, constants = _sizes(nodes), [nodes.constant_input(i) for i in range(1, len(nodes.inputs))]
    if sizes is None or any(value is None for value in constants):
        return
    attributes: dict[str, Any] = nodes.flags("align_corners", "half_pixel_centers", "antialias")
    if node.get_attr("kernel_type") is not None:
        attributes["kernel_type"] = node.get_attr("kernel_type").s.decode()
    x = _to_float32(nodes, x)
    for axis in (0, 1):
        matrix, of_nan = (
            _matrix(node.type, *sizes[axis], axis, constants, attributes, value)
            for value in (1, np.nan)
        )
        if node.type == "ResizeBicubic":
            places, weights = _bicubic_taps(matrix, attributes)
        else:
            places, weights = _find_taps(matrix, np.isnan(of_nan))
        parts = nodes.add("Gather", [x, nodes.const(places)], axis=axis + 1)
        weights = weights.reshape(weights.shape + (1,) * (2 - axis))
        products = nodes.add("Mul", [parts, nodes.const(weights)])
        x = nodes.add("ReduceSum", [products, nodes.const([axis + 2])], keepdims=0)
    nodes.become([x])


def _find_taps(
    matrix: NDArray[Any], is_read: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(new, taps) int64 and float32: the old rows of which each new one is a sum, and the weights.

    ``matrix`` has the weight for each new and old row; ``is_read`` says where TensorFlow uses it
    (some are 0). Where there are fewer taps than in other rows, the last one is repeated, and its
    weight divided.
    """
    rows: list[list[tuple[int, float]]] = [
        [(int(place), values[place]) for place in np.flatnonzero(read)] or [(0, 0.0)]
        for values, read in zip(matrix, is_read, strict=True)
    ]
    count = max(map(len, rows))
    for taps in rows:
        last, weight = taps.pop()
        repeats = count - len(taps)
        taps += [(last, weight / repeats)] * repeats
    table = np.array(rows)
    return table[..., 0].astype(np.int64), table[..., 1].astype(np.float32)


def _bicubic_taps(
    matrix: NDArray[Any], attributes: dict[str, Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """As ``_find_taps``: TensorFlow reads four rows always, for one outside the next one inside
    with the weight 0."""
    new, old = matrix.shape
    first = np.floor(_positions(old, new, attributes)).astype(np.int64)[:, None] - 1
    places = first + np.arange(4)
    inside = places.clip(0, old - 1)
    weights = np.where(places == inside, np.take_along_axis(matrix, inside, 1), 0)
    return inside, weights.astype(np.float32)


def bilinear_resize(nodes: Nodes) -> None:
    """Between the two columns next to each position, then between two rows, as TensorFlow does it:
    a + (b - a) * part, float32 for every input type.

    (ONNX's Resize multiplies all pixels around by weights: 0 times infinity is NaN.)
    """
    sizes, x = _sizes(nodes), _to_float32(nodes, nodes.inputs[0])
    if sizes is not None and all(old == new for old, new in sizes):
        nodes.become([x])
        return
    size = nodes.cast(nodes.inputs[1], np.int64)
    x = nodes.add("Transpose", [x], perm=[0, 3, 1, 2])
    for axis in (3, 2):
        below, above, part = _bilinear_taps(nodes, axis - 2, x, size)
        part = nodes.add("Unsqueeze", [part, nodes.const([1])]) if axis == 2 else part
        first, second = (nodes.add("Gather", [x, place], axis=axis) for place in (below, above))
        step = nodes.add("Mul", [nodes.add("Sub", [second, first]), part])
        x = nodes.add("Add", [first, step])
    nodes.replace("Transpose", [x], perm=[0, 2, 3, 1])


def _bilinear_taps(nodes: Nodes, axis: int, x: str, size: str) -> tuple[str, str, str]:
    """For each new row (or column): the old one at or before its position, the one at or behind
    it, and the distance from the former. ``x`` (batch, channels, height, width)."""
    sizes = _sizes(nodes)
    attributes = nodes.flags("align_corners", "half_pixel_centers")
    if sizes is not None:
        old, new = sizes[axis]
        at = _positions(old, new, attributes)
        below, above = (f(at).astype(np.int64).clip(0, old - 1) for f in (np.floor, np.ceil))
        return nodes.const(below), nodes.const(above), nodes.const(at - np.floor(at))
    # the same in nodes
    old_size, new_size = (
        nodes.add("Gather", [nodes.add("Shape", [x]), nodes.const(axis + 2)]),
        nodes.add("Gather", [size, nodes.const(axis)]),
    )
    zero, one = nodes.const(0), nodes.const(1)
    half = nodes.const(0.5, np.float32)
    last = nodes.add("Sub", [old_size, one])
    steps = nodes.cast(nodes.add("Range", [zero, new_size, one]), np.float32)
    if attributes.get("align_corners"):
        spaces = nodes.add("Max", [nodes.add("Sub", [new_size, one]), one])
        ratio = [nodes.cast(last, np.float32), nodes.cast(spaces, np.float32)]
    else:
        ratio = [nodes.cast(old_size, np.float32), nodes.cast(new_size, np.float32)]
    scale = nodes.add("Div", ratio)
    if attributes.get("half_pixel_centers"):
        at = nodes.add("Sub", [nodes.add("Mul", [nodes.add("Add", [steps, half]), scale]), half])
    else:
        at = nodes.add("Mul", [steps, scale])
    floor = nodes.add("Floor", [at])
    below, above = (
        nodes.add("Min", [nodes.add("Max", [nodes.cast(place, np.int64), zero]), last])
        for place in (floor, nodes.add("Ceil", [at]))
    )
    return below, above, nodes.add("Sub", [at, floor])


def _positions(old: int, new: int, attributes: dict[str, Any]) -> NDArray[Any]:
    """Where new rows lie among old ones, in float32 as TensorFlow computes it."""
    steps = np.arange(new, dtype=np.float32)
    if attributes.get("align_corners") and new > 1:
        scale = np.float32(old - 1) / np.float32(new - 1)
    else:
        scale = np.float32(old) / np.float32(new)
    half = np.float32(0.5) if attributes.get("half_pixel_centers") else np.float32(0)
    return np.asarray((steps + half) * scale - half)


def _to_float32(nodes: Nodes, x: str) -> str:
    return x if nodes.dtype(x) == np.float32 else nodes.cast(x, np.float32)


def nearest_resize(nodes: Nodes) -> None:
    """Two Gathers of the rows and columns that TensorFlow selects; Resize for open sizes."""
    from tf2onnx.onnx_opset.nn import Resize

    sizes = _sizes(nodes)
    if sizes is None:
        Resize.version_11(nodes.ctx, nodes.node)
        for node in nodes.ctx.get_nodes():
            mode = node.get_attr("coordinate_transformation_mode")
            if node.type == "Resize" and mode is not None and mode.s == b"tf_half_pixel_for_nn":
                # which opset 13 took out; floor((i + 0.5) / scale), said in another way
                node.set_attr("coordinate_transformation_mode", "half_pixel")
                node.set_attr("nearest_mode", "round_prefer_ceil")
        return
    attributes = nodes.flags("align_corners", "half_pixel_centers")
    rows, columns = (
        nodes.const(_matrix(nodes.node.type, *sizes[axis], axis, [], attributes).argmax(1))
        for axis in (0, 1)
    )
    nodes.replace("Gather", [nodes.add("Gather", [nodes.inputs[0], rows], axis=1), columns], axis=2)


def _sizes(nodes: Nodes) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(height, new height), (width, new width), where all of them are known."""
    shape, size = nodes.shape(nodes.node.input[0]), nodes.constant_input(1)
    if shape is None or min(shape[1:3]) < 1 or size is None:
        return None
    return (shape[1], int(size[0])), (shape[2], int(size[1]))


def _matrix(
    kind: str,
    old: int,
    new: int,
    axis: int,
    constants: list[Any],
    attributes: dict[str, Any],
    value: float = 1,
) -> NDArray[Any]:
    """(new, old) float32: what the operation does along one axis with ``value`` in one place."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        # channels are the unit vectors
        images = np.zeros((1, old, 1, old), np.float32)
        images[0, range(old), 0, range(old)] = value
        arguments: dict[str, Any] = {"images": images, "size": [new, 1], **attributes}
        if kind == "ScaleAndTranslate":
            arguments["scale"] = tf.constant([constants[1][axis], 1.0], tf.float32)
            arguments["translation"] = tf.constant([constants[2][axis], 0.0], tf.float32)
        result = getattr(tf.raw_ops, kind)(**arguments)
        return np.ascontiguousarray(session.run(result)[0, :, 0, :])
