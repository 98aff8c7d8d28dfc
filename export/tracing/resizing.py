"""Resizing of images, with constants wherever the sizes are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.export.tracing.record import Record

#: (interpolation, antialias) -> the kernel of TensorFlow's ScaleAndTranslate
_KERNELS = {
    ("bilinear", True): "triangle",
    ("bicubic", True): "keyscubic",
    **{(name, flag): name for name in ("lanczos3", "lanczos5") for flag in (False, True)},
}


def upsample(
    original: Any,
    record: Record,
    layer: Any,
    x: Any,
    height_factor: int,
    width_factor: int,
    data_format: str,
    interpolation: str = "nearest",
) -> Any:
    """``UpSampling2D._resize_images``, for open sizes too.

    Keras checks that those are positive, which is impossible in a trace.
    """
    import tensorflow as tf
    from keras import ops
    from keras.src.backend.tensorflow import image

    if interpolation == "nearest" or None not in x.shape[1:]:
        return original(layer, x, height_factor, width_factor, data_format, interpolation)
    axis = 2 if data_format == "channels_first" else 1
    size = tf.shape(x)[axis] * height_factor, tf.shape(x)[axis + 1] * width_factor
    resized = image.resize(x, size, interpolation=interpolation, data_format=data_format)
    if resized.dtype == x.dtype:
        return resized
    return ops.saturate_cast(ops.round(resized) if x.dtype.is_integer else resized, x.dtype)


def center_crop(
    original: Any,
    record: Record,
    layer: Any,
    images: Any,
    transformation: Any = None,
    training: bool = True,
) -> Any:
    """``CenterCrop.transform_images``: images that are smaller than the crop are resized.

    Keras knows the sizes when it predicts. In a trace they may be open, and then it only crops.
    """
    import tensorflow as tf
    from keras.src.utils import image_utils

    axis = len(images.shape) - (2 if layer.data_format == "channels_first" else 3)
    sizes, wanted = images.shape[axis : axis + 2], [layer.height, layer.width]
    known = all(size is not None for size in sizes)
    if known or any(s is not None and s < w for s, w in zip(sizes, wanted, strict=True)):
        return original(layer, images, transformation, training)
    return tf.cond(
        tf.reduce_all(tf.shape(images)[axis : axis + 2] >= wanted),
        lambda: original(layer, images, transformation, training),
        lambda: image_utils.smart_resize(
            tf.cast(images, layer.compute_dtype),
            wanted,
            data_format=layer.data_format,
            backend_module=layer.backend,
        ),
    )


def resize(
    original: Any,
    record: Record,
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
    """``keras.ops.image.resize``; (…, height, width, channels) or channels first.

    Crops and paddings to an aspect ratio get fixed numbers where height and width are known.
    """
    import keras
    import tensorflow as tf

    first = (data_format or keras.config.image_data_format()) == "channels_first"
    axis = len(images.shape) - (2 if first else 3)
    height, width = images.shape[axis], images.shape[axis + 1]
    one = crop_to_aspect_ratio != pad_to_aspect_ratio and fill_mode == "constant"
    if one and height is not None and width is not None:
        # sizes as Keras computes them, in float32
        new_height = int(np.float32(width * size[0]) / np.float32(size[1]))
        new_width = int(np.float32(height * size[1]) / np.float32(size[0]))
        if crop_to_aspect_ratio:
            new_height = max(min(height, new_height), 1)
            new_width = max(min(width, new_width), 1)
            top, left = (height - new_height) // 2, (width - new_width) // 2
            rows, columns = slice(top, top + new_height), slice(left, left + new_width)
            images = images[(..., rows, columns) if first else (..., rows, columns, slice(None))]
            crop_to_aspect_ratio = False
        else:
            top = (max(height, new_height) - height) // 2
            left = (max(width, new_width) - width) // 2
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
