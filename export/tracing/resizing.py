"""Resizing of images: what Keras asks of TensorFlow, with sizes that are known worked out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: TensorFlow's operations that become two MatMuls
MATRIX_RESIZES = ("ResizeArea", "ResizeBicubic", "ScaleAndTranslate")

#: (interpolation, antialias) -> the kernel of TensorFlow's ScaleAndTranslate
_KERNELS = {
    ("bilinear", True): "triangle",
    ("bicubic", True): "keyscubic",
    **{(name, flag): name for name in ("lanczos3", "lanczos5") for flag in (False, True)},
}

_NEAREST = "ResizeNearestNeighbor"


@contextmanager
def static_resizes() -> Iterator[None]:
    """Crops and paddings to an aspect ratio get fixed numbers where height and width are known."""
    from keras import layers
    from keras.src.backend.tensorflow import image

    original, upsample = image.resize, layers.UpSampling2D.__dict__["_resize_images"]

    def resize(images, size, *args, data_format=None, **flags):
        return _resize(original, images, size, *args, data_format=data_format, **flags)

    def resize_images(self, x, height, width, data_format, interpolation="nearest"):
        first = data_format == "channels_first"
        if interpolation == "nearest" or None not in x.shape[1:]:
            return upsample(self, x, height, width, data_format, interpolation=interpolation)
        # Keras asks whether open sizes are positive, which a trace can't tell
        sizes = tf.shape(x)[2:4] if first else tf.shape(x)[1:3]
        size = sizes[0] * height, sizes[1] * width
        return original(x, size, interpolation=interpolation, data_format=data_format)

    import tensorflow as tf

    image.resize, layers.UpSampling2D._resize_images = resize, resize_images
    try:
        yield
    finally:
        image.resize, layers.UpSampling2D._resize_images = original, upsample


def _resize(
    original: Callable[..., Any],
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """As ``keras.ops.image.resize``; (…, height, width, channels) or channels first."""
    import keras
    import tensorflow as tf

    first = (data_format or keras.config.image_data_format()) == "channels_first"
    axis = len(images.shape) - (2 if first else 3)
    height, width = images.shape[axis], images.shape[axis + 1]
    one = crop_to_aspect_ratio != pad_to_aspect_ratio and fill_mode == "constant"
    if one and height is not None and width is not None:
        # sizes as Keras computes them, in float32
        wanted_height = int(np.float32(width * size[0]) / np.float32(size[1]))
        wanted_width = int(np.float32(height * size[1]) / np.float32(size[0]))
        if crop_to_aspect_ratio:
            wanted_height = max(min(height, wanted_height), 1)
            wanted_width = max(min(width, wanted_width), 1)
            top, left = (height - wanted_height) // 2, (width - wanted_width) // 2
            rows, columns = slice(top, top + wanted_height), slice(left, left + wanted_width)
            images = images[(..., rows, columns) if first else (..., rows, columns, slice(None))]
            crop_to_aspect_ratio = False
        else:
            top = (max(height, wanted_height) - height) // 2
            left = (max(width, wanted_width) - width) // 2
            pads = [[0, 0]] * len(images.shape)
            pads[axis], pads[axis + 1] = [top, top], [left, left]
            images = tf.pad(images, pads, constant_values=tf.cast(fill_value, images.dtype))
            pad_to_aspect_ratio = False
    kernel = _KERNELS.get((interpolation, antialias))
    rest = crop_to_aspect_ratio or pad_to_aspect_ratio
    sizes = images.shape[axis : axis + 2]
    if kernel and not rest and len(images.shape) == 4 and None not in sizes:
        # as tf.image.resize, but with scales that are constants
        x = tf.transpose(images, (0, 2, 3, 1)) if first else images
        scale = np.array(size, np.float32) / np.array(sizes, np.float32)
        x = tf.raw_ops.ScaleAndTranslate(
            images=x,
            size=list(size),
            scale=scale,
            translation=[0.0, 0.0],
            kernel_type=kernel,
            antialias=antialias,
        )
        return tf.transpose(x, (0, 3, 1, 2)) if first else x
    return original(
        images,
        size,
        interpolation=interpolation,
        antialias=antialias,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
        fill_mode=fill_mode,
        fill_value=fill_value,
        data_format=data_format,
    )


def matrix_resize(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """Two MatMuls, with the matrices that TensorFlow's own operation gives on an identity.

    (batch, height, width, channels) -> (batch, new height, new width, channels) float32. Without
    fixed sizes the node is left as it is, and refused later.
    """
    from onnx import TensorProto
    from tf2onnx import utils

    shape = ctx.get_shape(node.input[0])
    given = [_constant(source) for source in node.inputs[1:]]
    if shape is None or min(shape[1:3]) < 1 or any(value is None for value in given):
        return
    kind, output = node.type, node.output[0]
    attributes = {
        key: node.get_attr(key).s.decode() if key == "kernel_type" else bool(node.get_attr(key).i)
        for key in ("align_corners", "half_pixel_centers", "kernel_type", "antialias")
        if node.get_attr(key) is not None
    }
    x, result = node.input[0], ctx.get_shape(output)
    new_height, new_width = (int(v) for v in given[0])
    rows = _matrix(kind, shape[1], new_height, 0, given, attributes)
    columns = _matrix(kind, shape[2], new_width, 1, given, attributes)
    ctx.remove_node(name)

    def op(operator: str, inputs: list[str], last: bool = False, **attr: Any) -> str:
        return ctx.make_node(
            operator,
            inputs,
            attr=attr,
            name=name if last else utils.make_name(f"{name}/{operator}"),
            outputs=[output] if last else None,
            dtypes=[TensorProto.FLOAT] if last else None,
            shapes=[result] if last else None,
        ).output[0]

    def const(array: NDArray[Any], what: str) -> str:
        return ctx.make_const(utils.make_name(f"{name}/{what}"), array).output[0]

    if ctx.get_dtype(x) != TensorProto.FLOAT:
        x = op("Cast", [x], to=TensorProto.FLOAT)
    x = op("Reshape", [x, const(np.array([0, shape[1], -1]), "flat")])
    x = op("MatMul", [const(rows, "rows"), x])
    x = op("Reshape", [x, const(np.array([0, new_height, shape[2], shape[3]]), "image")])
    op("MatMul", [const(columns, "columns"), x], last=True)


def bilinear_resize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """tf2onnx's Resize, of floats: TensorFlow gives float32 whatever it is given."""
    from onnx import TensorProto
    from tf2onnx.onnx_opset.nn import Resize

    if ctx.get_dtype(node.input[0]) != TensorProto.FLOAT:
        ctx.insert_new_node_on_input(node, "Cast", node.input[0], to=TensorProto.FLOAT)
    shape, size = ctx.get_shape(node.input[0]), _constant(node.inputs[1])
    Resize.version_11(ctx, node)
    if shape is None or min(shape[1:3]) < 1 or size is None:
        return
    # ONNX makes the size out of the scale: the next float32 up where 22·(17/22) would come to 16.
    for resize in (n for n in ctx.get_nodes() if n.type == "Resize" and n.inputs[2].is_const()):
        scales = resize.inputs[2].get_tensor_value(as_list=False)
        old, new = np.float64(shape[1:3]), np.float32(size)
        if scales.size == 4 and (scales[2:] == new / np.float32(old)).all():
            up = np.nextafter(scales[2:], np.float32(np.inf))
            short = np.floor(old * scales[2:].astype(np.float64)) < new
            resize.inputs[2].set_tensor_value(
                np.concatenate([scales[:2], np.where(short, up, scales[2:])]).astype(np.float32)
            )


def nearest_resize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Two Gathers of the rows and columns that TensorFlow takes; Resize for open sizes."""
    from tf2onnx import utils
    from tf2onnx.onnx_opset.nn import Resize

    shape, size = ctx.get_shape(node.input[0]), _constant(node.inputs[1])
    if shape is None or min(shape[1:3]) < 1 or size is None:
        Resize.version_11(ctx, node)
        return
    output, x = node.output[0], node.input[0]
    dtype, result = ctx.get_dtype(output), ctx.get_shape(output)
    attributes = {
        key: bool(node.get_attr(key).i)
        for key in ("align_corners", "half_pixel_centers")
        if node.get_attr(key) is not None
    }
    matrices = [
        _matrix(_NEAREST, shape[1 + axis], int(size[axis]), axis, [], attributes) for axis in (0, 1)
    ]
    ctx.remove_node(name)
    for axis, matrix in enumerate(matrices):
        indices = ctx.make_const(utils.make_name(f"{name}/indices"), matrix.argmax(1))
        last = axis == 1
        x = ctx.make_node(
            "Gather",
            [x, indices.output[0]],
            attr={"axis": 1 + axis},
            name=name if last else utils.make_name(f"{name}/rows"),
            outputs=[output] if last else None,
            dtypes=[dtype],
            shapes=[result if last else None],
        ).output[0]


def _constant(node: Any) -> NDArray[Any] | None:
    return node.get_tensor_value(as_list=False) if node.is_const() else None


def _matrix(
    kind: str, old: int, new: int, axis: int, given: list[Any], attributes: dict[str, Any]
) -> NDArray[Any]:
    """(new, old) float32: what the operation does along one axis."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        identity = tf.reshape(tf.eye(old), (1, old, 1, old))  # channels are the unit vectors
        arguments: dict[str, Any] = {"images": identity, "size": [new, 1], **attributes}
        if kind == "ScaleAndTranslate":
            arguments["scale"] = tf.constant([given[1][axis], 1.0], tf.float32)
            arguments["translation"] = tf.constant([given[2][axis], 0.0], tf.float32)
        result = getattr(tf.raw_ops, kind)(**arguments)
        return np.ascontiguousarray(session.run(result)[0, :, 0, :])
