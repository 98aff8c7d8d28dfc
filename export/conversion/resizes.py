"""TensorFlow's resizing operations: matrix products and Gathers where the sizes are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.conversion.nodes import Nodes

#: operations that become two MatMuls
MATRIX_RESIZES = ("ResizeArea", "ResizeBicubic", "ScaleAndTranslate")


def matrix_resize(nodes: Nodes) -> None:
    """Two MatMuls, with matrices computed by TensorFlow's operation on an identity matrix.

    (batch, height, width, channels) -> (batch, new height, new width, channels) float32. Without
    fixed sizes the node is left as it is, and refused later.
    """
    x, node = nodes.inputs[0], nodes.node
    sizes, constants = _sizes(nodes), [nodes.constant_input(i) for i in range(1, len(nodes.inputs))]
    if sizes is None or any(value is None for value in constants):
        return
    (height, new_height), (width, _) = sizes
    attributes: dict[str, Any] = nodes.flags("align_corners", "half_pixel_centers", "antialias")
    if node.get_attr("kernel_type") is not None:
        attributes["kernel_type"] = node.get_attr("kernel_type").s.decode()
    rows, columns = (
        _matrix(node.type, *sizes[axis], axis, constants, attributes) for axis in (0, 1)
    )
    if nodes.dtype(x) != np.float32:
        x = nodes.cast(x, np.float32)
    channels = nodes.shape(x)[3]
    x = nodes.add("Reshape", [x, nodes.const([0, height, -1])])
    x = nodes.add("MatMul", [nodes.const(rows), x])
    x = nodes.add("Reshape", [x, nodes.const([0, new_height, width, channels])])
    nodes.replace("MatMul", [nodes.const(columns), x])


def bilinear_resize(nodes: Nodes) -> None:
    """tf2onnx's Resize, of floats: TensorFlow returns float32 for every input type."""
    from onnx import TensorProto
    from tf2onnx.onnx_opset.nn import Resize

    ctx, node = nodes.ctx, nodes.node
    if ctx.get_dtype(node.input[0]) != TensorProto.FLOAT:
        ctx.insert_new_node_on_input(node, "Cast", node.input[0], to=TensorProto.FLOAT)
    sizes = _sizes(nodes)
    Resize.version_11(ctx, node)
    if sizes is None:
        return
    # ONNX computes the size from the scale: use the next float32 where 22·(17/22) would be 16
    for resize in (n for n in ctx.get_nodes() if n.type == "Resize" and n.inputs[2].is_const()):
        scales = resize.inputs[2].get_tensor_value(as_list=False)
        old, new = np.array(sizes, np.float64).T[0], np.array(sizes, np.float32).T[1]
        if scales.size == 4 and (scales[2:] == new / np.float32(old)).all():
            up = np.nextafter(scales[2:], np.float32(np.inf))
            short = np.floor(old * scales[2:].astype(np.float64)) < new
            resize.inputs[2].set_tensor_value(
                np.concatenate([scales[:2], np.where(short, up, scales[2:])]).astype(np.float32)
            )


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
    kind: str, old: int, new: int, axis: int, constants: list[Any], attributes: dict[str, Any]
) -> NDArray[Any]:
    """(new, old) float32: what the operation does along one axis."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        identity = tf.reshape(tf.eye(old), (1, old, 1, old))  # channels are the unit vectors
        arguments: dict[str, Any] = {"images": identity, "size": [new, 1], **attributes}
        if kind == "ScaleAndTranslate":
            arguments["scale"] = tf.constant([constants[1][axis], 1.0], tf.float32)
            arguments["translation"] = tf.constant([constants[2][axis], 0.0], tf.float32)
        result = getattr(tf.raw_ops, kind)(**arguments)
        return np.ascontiguousarray(session.run(result)[0, :, 0, :])
