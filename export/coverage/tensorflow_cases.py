"""Functions of TensorFlow itself, as users call them in a Lambda layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from onnxwalk.export.coverage.layer_cases import Case, model

#: of one tensor (batch, 3, 4) of floats
_OF_FLOATS: dict[str, Callable[[Any], Any]] = {
    **{
        f"tf.math.{name}": getattr(tf.math, name)
        for name in (
            "abs acos acosh asin asinh atan atanh bessel_i0 ceil cos cosh cumprod cumsum digamma "
            "erf erfc erfinv exp expm1 floor is_finite is_inf is_nan l2_normalize lgamma log log1p "
            "log_sigmoid ndtri negative reciprocal reciprocal_no_nan reduce_euclidean_norm "
            "reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum "
            "reduce_variance rint round rsqrt sigmoid sign sin sinh softplus softsign sqrt square "
            "tan tanh zero_fraction"
        ).split()
    },
    **{
        f"tf.nn.{name}": getattr(tf.nn, name)
        for name in (
            "crelu elu gelu leaky_relu log_softmax relu relu6 selu silu softmax swish tanh l2_loss"
        ).split()
    },
    "tf.math.add_n": lambda x: tf.math.add_n([x, x, x]),
    "tf.math.argmax": lambda x: tf.math.argmax(x, -1),
    "tf.math.argmin": lambda x: tf.math.argmin(x, -1),
    "tf.math.atan2": lambda x: tf.math.atan2(x, x[..., ::-1]),
    "tf.math.divide_no_nan": lambda x: tf.math.divide_no_nan(x, x[..., ::-1]),
    "tf.math.floordiv": lambda x: x // x[..., ::-1],
    "tf.math.floormod": lambda x: x % x[..., ::-1],
    "tf.math.maximum": lambda x: tf.maximum(x, x[..., ::-1]),
    "tf.math.minimum": lambda x: tf.minimum(x, x[..., ::-1]),
    "tf.math.multiply_no_nan": lambda x: tf.math.multiply_no_nan(x, x[..., ::-1]),
    "tf.math.pow": lambda x: tf.pow(x, x[..., ::-1]),
    "tf.math.squared_difference": lambda x: tf.math.squared_difference(x, x[..., ::-1]),
    "tf.math.truediv": lambda x: x / x[..., ::-1],
    "tf.math.xdivy": lambda x: tf.math.xdivy(x, x[..., ::-1]),
    "tf.math.xlogy": lambda x: tf.math.xlogy(x, x[..., ::-1]),
    "tf.math.xlog1py": lambda x: tf.math.xlog1py(x, x[..., ::-1]),
    "tf.math.top_k": lambda x: tf.math.top_k(x, 2)[0],
    "tf.math.in_top_k": lambda x: tf.math.in_top_k(tf.zeros(tf.shape(x)[0], tf.int32), x[:, 0], 2),
    "tf.math.cumulative_logsumexp": lambda x: tf.math.cumulative_logsumexp(x, axis=1),
    "tf.nn.bias_add": lambda x: tf.nn.bias_add(x, [1.0, 2.0, 3.0, 4.0]),
    "tf.nn.conv1d": lambda x: tf.nn.conv1d(x, np.ones((2, 4, 3), np.float32), 1, "SAME"),
    "tf.nn.dropout": lambda x: tf.nn.dropout(x, 0.0),
    "tf.nn.moments": lambda x: tf.nn.moments(x, [1])[1],
    "tf.nn.max_pool1d": lambda x: tf.nn.max_pool1d(x, 2, 1, "SAME"),
    "tf.nn.avg_pool1d": lambda x: tf.nn.avg_pool1d(x, 2, 1, "SAME"),
    "tf.nn.sigmoid_cross_entropy_with_logits": lambda x: (
        tf.nn.sigmoid_cross_entropy_with_logits(x[..., ::-1], x)
    ),
    "tf.nn.softmax_cross_entropy_with_logits": lambda x: (
        tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(x[..., ::-1]), x)
    ),
    "tf.math.top_k, ties": lambda x: tf.math.top_k(tf.round(x), 3)[1],
    "tf.argsort": lambda x: tf.argsort(x, stable=True),
    "tf.boolean_mask": lambda x: tf.reduce_sum(tf.boolean_mask(x, x > 0))[None],
    "tf.broadcast_to": lambda x: tf.broadcast_to(x[:, :1], tf.shape(x)),
    "tf.cast": lambda x: tf.cast(x, tf.float64),
    "tf.clip_by_norm": lambda x: tf.clip_by_norm(x, 1.0, [-1]),
    "tf.clip_by_value": lambda x: tf.clip_by_value(x, -0.5, 0.5),
    "tf.concat": lambda x: tf.concat([x, x], 1),
    "tf.expand_dims": lambda x: tf.expand_dims(x, -1),
    "tf.eye": lambda x: x[:, :, :3] + tf.eye(3),
    "tf.fill": lambda x: x + tf.fill(tf.shape(x), 2.0),
    "tf.gather": lambda x: tf.gather(x, [2, 0], axis=1),
    "tf.gather, batch_dims": lambda x: tf.gather(x, tf.argsort(x), batch_dims=2),
    "tf.gather_nd": lambda x: tf.gather_nd(x, tf.zeros((tf.shape(x)[0], 1), tf.int32), 1),
    "tf.identity": tf.identity,
    "tf.meshgrid": lambda x: x[:, 0] + tf.meshgrid(tf.range(4.0), tf.range(2.0))[0][1],
    "tf.one_hot": lambda x: tf.one_hot(tf.argmax(x, -1), 4),
    "tf.pad": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]], constant_values=3.0),
    "tf.pad, reflect": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]], "REFLECT"),
    "tf.pad, symmetric": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]], "SYMMETRIC"),
    "tf.repeat": lambda x: tf.repeat(x, 2, axis=1),
    "tf.reshape": lambda x: tf.reshape(x, (-1, 12)),
    "tf.reverse": lambda x: tf.reverse(x, [1]),
    "tf.reverse_sequence": lambda x: tf.reverse_sequence(x, tf.ones_like(x[:, 0, 0], tf.int32), 1),
    "tf.roll": lambda x: tf.roll(x, 1, 1),
    "tf.scatter_nd": lambda x: tf.scatter_nd([[0], [2], [0]], tf.transpose(x, (1, 0, 2)), (
        3, tf.shape(x)[0], 4)),
    "tf.tensor_scatter_nd_update": lambda x: tf.transpose(tf.tensor_scatter_nd_update(
        tf.transpose(x, (1, 0, 2)), [[1]], tf.zeros((1, tf.shape(x)[0], 4))), (1, 0, 2)),
    "tf.tensor_scatter_nd_add": lambda x: tf.transpose(tf.tensor_scatter_nd_add(
        tf.transpose(x, (1, 0, 2)), [[1]], tf.ones((1, tf.shape(x)[0], 4))), (1, 0, 2)),
    "tf.searchsorted": lambda x: tf.searchsorted(tf.sort(x[0, 0]), x[:, 0, 0]),
    "tf.sequence_mask": lambda x: tf.sequence_mask(tf.cast(x[:, 0, 0] > 0, tf.int32), 3),
    "tf.slice": lambda x: tf.slice(x, [0, 1, 0], [-1, 2, 3]),
    "tf.sort": lambda x: tf.sort(x, direction="DESCENDING"),
    "tf.split": lambda x: tf.split(x, [1, 3], -1)[1],
    "tf.squeeze": lambda x: tf.squeeze(x[:, :1], 1),
    "tf.stack": lambda x: tf.stack([x, x], 1),
    "tf.strided_slice": lambda x: x[:, ::-2, 1::2],
    "tf.tile": lambda x: tf.tile(x, [1, 2, 1]),
    "tf.transpose": lambda x: tf.transpose(x, (0, 2, 1)),
    "tf.unstack": lambda x: tf.unstack(x, axis=1)[1],
    "tf.where": lambda x: tf.where(x > 0, x, -x),
    "tf.where, indices": lambda x: tf.cast(tf.where(x[0] > 0), tf.float32),
    "tf.zeros_like": lambda x: x + tf.zeros_like(x) + tf.ones_like(x),
    "tf.linalg.matmul": lambda x: tf.linalg.matmul(x, x, transpose_b=True),
    "tf.linalg.band_part": lambda x: tf.linalg.band_part(x, 1, 0),
    "tf.linalg.diag": tf.linalg.diag,
    "tf.linalg.diag_part": tf.linalg.diag_part,
    "tf.linalg.trace": tf.linalg.trace,
    "tf.linalg.norm": lambda x: tf.linalg.norm(x, axis=-1),
    "tf.linalg.set_diag": lambda x: tf.linalg.set_diag(x[:, :, :3], x[:, :, 0]),
    "tf.linalg.set_diag, above": lambda x: tf.linalg.set_diag(x, x[:, :2, 0], k=2),
    "tf.linalg.set_diag, below": lambda x: tf.linalg.set_diag(x, x[:, :2, 0], k=-1),
    "tf.linalg.cholesky": lambda x: tf.linalg.cholesky(x @ tf.transpose(x, (0, 2, 1))),
    "tf.linalg.det": lambda x: tf.linalg.det(x[:, :, :3]),
    "tf.linalg.inv": lambda x: tf.linalg.inv(x[:, :, :3]),
    "tf.linalg.svd": lambda x: tf.linalg.svd(x, compute_uv=False),
    "tf.einsum": lambda x: tf.einsum("bij,bkj->bik", x, x),
    "tf.tensordot": lambda x: tf.tensordot(x, np.ones((4, 2), np.float32), 1),
    "tf.signal.rfft": lambda x: tf.abs(tf.signal.rfft(x)),
    "tf.signal.frame": lambda x: tf.signal.frame(x, 2, 1),
    "tf.bitcast": lambda x: tf.bitcast(x, tf.int32),
    "tf.numpy_function": lambda x: tf.ensure_shape(
        tf.numpy_function(np.sort, [x], tf.float32), (None, 3, 4)
    ),
    "tf.map_fn": lambda x: tf.map_fn(lambda row: row * 2, x),
    "tf.scan": lambda x: tf.transpose(tf.scan(lambda a, b: a + b, tf.transpose(x, (1, 0, 2))), (
        1, 0, 2)),
    "tf.cond": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: -x),
    "tf.while_loop": lambda x: tf.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1],
    "tf.random.normal": lambda x: x * 0 + tf.random.normal(tf.shape(x)),
    "tf.debugging.check_numerics": lambda x: tf.debugging.check_numerics(x, "x"),
    "tf.stop_gradient": tf.stop_gradient,
    "tf.strings.as_string": tf.strings.as_string,
    "tf.math.segment_sum": lambda x: tf.math.segment_sum(tf.transpose(x, (1, 0, 2)), [0, 0, 1]),
    "tf.math.segment_max": lambda x: tf.math.segment_max(tf.transpose(x, (1, 0, 2)), [0, 0, 1]),
    "tf.math.segment_mean": lambda x: tf.math.segment_mean(tf.transpose(x, (1, 0, 2)), [0, 0, 1]),
    "tf.math.unsorted_segment_sum": lambda x: tf.math.unsorted_segment_sum(
        tf.transpose(x, (1, 0, 2)), [1, 0, 1], 3),
    "tf.math.unsorted_segment_max": lambda x: tf.math.unsorted_segment_max(
        tf.transpose(x, (1, 0, 2)), [1, 0, 1], 2),
    "tf.math.unsorted_segment_min": lambda x: tf.math.unsorted_segment_min(
        tf.transpose(x, (1, 0, 2)), [1, 0, 1], 3),
    "tf.math.bincount": lambda x: tf.math.bincount(tf.cast(x > 0, tf.int32), minlength=2),
}  # fmt: skip

#: of one tensor (batch, 3) of int32
_OF_INTEGERS: dict[str, Callable[[Any], Any]] = {
    "tf.abs": tf.abs,
    "tf.bitwise.bitwise_and": lambda x: tf.bitwise.bitwise_and(x, 5),
    "tf.bitwise.bitwise_or": lambda x: tf.bitwise.bitwise_or(x, 5),
    "tf.bitwise.bitwise_xor": lambda x: tf.bitwise.bitwise_xor(x, 5),
    "tf.bitwise.invert": tf.bitwise.invert,
    "tf.bitwise.left_shift": lambda x: tf.bitwise.left_shift(x, 3),
    "tf.bitwise.right_shift": lambda x: tf.bitwise.right_shift(x, 3),
    "tf.add": lambda x: x + 7,
    "tf.multiply": lambda x: x * 7,
    "tf.negative": lambda x: -x,
    "tf.subtract": lambda x: 7 - x,
    "tf.truncatediv": lambda x: tf.truncatediv(x, 7),
    "tf.truncatemod": lambda x: tf.truncatemod(x, 7),
    "tf.floordiv": lambda x: x // 7,
    "tf.floormod": lambda x: x % 7,
    "tf.cast to bool": lambda x: tf.cast(x, tf.bool),
    "tf.cast to int8": lambda x: tf.cast(x, tf.int8),
    "tf.cast to float": lambda x: tf.cast(x, tf.float32),
    "tf.maximum": lambda x: tf.maximum(x, 3),
    "tf.minimum": lambda x: tf.minimum(x, 3),
    "tf.sign": tf.sign,
    "tf.square": tf.square,
    "tf.reduce_sum": lambda x: tf.reduce_sum(x, -1),
    "tf.reduce_prod": lambda x: tf.reduce_prod(x, -1),
    "tf.reduce_max": lambda x: tf.reduce_max(x, -1),
    "tf.reduce_min": lambda x: tf.reduce_min(x, -1),
    "tf.argmax": lambda x: tf.argmax(x, -1),
    "tf.cumsum": lambda x: tf.cumsum(x, -1),
    "tf.clip_by_value": lambda x: tf.clip_by_value(x, -5, 5),
    "tf.where": lambda x: tf.where(x > 3, x, 7),
    "tf.one_hot": lambda x: tf.one_hot(x, 4),
    "tf.equal": lambda x: tf.equal(x, 3),
    "tf.unique": lambda x: tf.unique(x[0])[0],
    "tf.range": lambda x: x + tf.range(3),
    "tf.pow": lambda x: tf.pow(x, 3),
}

#: of one tensor (batch, 3) of bool
_OF_TRUTH: dict[str, Callable[[Any], Any]] = {
    "tf.logical_not": tf.logical_not,
    "tf.logical_and": lambda x: tf.logical_and(x, x[:, ::-1]),
    "tf.logical_or": lambda x: tf.logical_or(x, x[:, ::-1]),
    "tf.math.logical_xor": lambda x: tf.math.logical_xor(x, x[:, ::-1]),
    "tf.reduce_all": lambda x: tf.reduce_all(x, -1),
    "tf.reduce_any": lambda x: tf.reduce_any(x, -1),
}

#: of pictures (batch, 6, 8, 3)
_OF_PICTURES: dict[str, Callable[[Any], Any]] = {
    "tf.image.resize": lambda x: tf.image.resize(x, (4, 9)),
    "tf.image.resize, nearest": lambda x: tf.image.resize(x, (4, 9), "nearest"),
    "tf.image.resize, bicubic": lambda x: tf.image.resize(x, (4, 9), "bicubic"),
    "tf.image.resize, mitchellcubic": lambda x: tf.image.resize(x, (4, 9), "mitchellcubic"),
    "tf.image.resize_with_pad": lambda x: tf.image.resize_with_pad(x, 4, 9),
    "tf.image.resize_with_crop_or_pad": lambda x: tf.image.resize_with_crop_or_pad(x, 4, 9),
    "tf.image.central_crop": lambda x: tf.image.central_crop(x, 0.5),
    "tf.image.crop_to_bounding_box": lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 3, 4),
    "tf.image.pad_to_bounding_box": lambda x: tf.image.pad_to_bounding_box(x, 1, 2, 9, 12),
    "tf.image.flip_left_right": tf.image.flip_left_right,
    "tf.image.flip_up_down": tf.image.flip_up_down,
    "tf.image.rot90": tf.image.rot90,
    "tf.image.transpose": tf.image.transpose,
    "tf.image.adjust_brightness": lambda x: tf.image.adjust_brightness(x, 0.2),
    "tf.image.adjust_contrast": lambda x: tf.image.adjust_contrast(x, 2.0),
    "tf.image.adjust_gamma": lambda x: tf.image.adjust_gamma(tf.abs(x), 0.5),
    "tf.image.adjust_hue": lambda x: tf.image.adjust_hue(x, 0.2),
    "tf.image.adjust_saturation": lambda x: tf.image.adjust_saturation(x, 0.2),
    "tf.image.rgb_to_grayscale": tf.image.rgb_to_grayscale,
    "tf.image.grayscale_to_rgb": lambda x: tf.image.grayscale_to_rgb(x[..., :1]),
    "tf.image.rgb_to_hsv": tf.image.rgb_to_hsv,
    "tf.image.hsv_to_rgb": tf.image.hsv_to_rgb,
    "tf.image.rgb_to_yuv": tf.image.rgb_to_yuv,
    "tf.image.per_image_standardization": tf.image.per_image_standardization,
    "tf.image.total_variation": tf.image.total_variation,
    "tf.image.sobel_edges": tf.image.sobel_edges,
    "tf.image.extract_patches": lambda x: tf.image.extract_patches(
        x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    "tf.image.ssim": lambda x: tf.image.ssim(x, x[:, ::-1], 1.0, filter_size=3),
    "tf.image.crop_and_resize": lambda x: tf.image.crop_and_resize(
        x, [[0.0, 0.0, 0.5, 0.7]], [0], (3, 4)),
    "tf.nn.conv2d": lambda x: tf.nn.conv2d(x, np.ones((3, 3, 3, 2), np.float32), 2, "SAME"),
    "tf.nn.depthwise_conv2d": lambda x: tf.nn.depthwise_conv2d(
        x, np.ones((3, 3, 3, 2), np.float32), [1, 1, 1, 1], "VALID"),
    "tf.nn.conv2d_transpose": lambda x: tf.nn.conv2d_transpose(
        x, np.ones((3, 3, 2, 3), np.float32), (tf.shape(x)[0], 12, 16, 2), 2),
    "tf.nn.max_pool2d": lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"),
    "tf.nn.avg_pool2d": lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME"),
    "tf.nn.max_pool_with_argmax": lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "SAME")[0],
    "tf.nn.depth_to_space": lambda x: tf.nn.depth_to_space(tf.concat([x, x[..., :1]], -1), 2),
    "tf.nn.space_to_depth": lambda x: tf.nn.space_to_depth(x, 2),
    "tf.nn.local_response_normalization": tf.nn.local_response_normalization,
    "tf.nn.dilation2d": lambda x: tf.nn.dilation2d(
        x, np.ones((2, 2, 3), np.float32), [1] * 4, "SAME", "NHWC", [1] * 4),
}  # fmt: skip

#: of texts (batch, 2)
_OF_TEXTS: dict[str, Callable[[Any], Any]] = {
    "tf.strings.lower": tf.strings.lower,
    "tf.strings.length": tf.strings.length,
    "tf.strings.join": lambda x: tf.strings.join([x, x]),
    "tf.strings.regex_replace": lambda x: tf.strings.regex_replace(x, "a", "b"),
    "tf.strings.split": lambda x: tf.strings.split(x[:, 0]).to_tensor(),
    "tf.strings.to_hash_bucket_fast": lambda x: tf.strings.to_hash_bucket_fast(x, 7),
    "tf.equal, texts": lambda x: tf.equal(x, "a"),
}


def as_layer(function: Callable[[Any], Any]) -> Any:
    """A Lambda layer whose output is found by calling it: Keras tries that with floats only."""

    class Call(layers.Lambda):
        def compute_output_spec(self, x: Any, **options: Any) -> Any:
            symbolic = tf.function(function).get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
            (found,) = symbolic.outputs
            return keras.KerasTensor(found.shape, found.dtype.name)

    return Call(function)


def cases() -> list[Case]:
    """A case for each function; ``layer`` is the function."""
    kinds = (
        (_OF_FLOATS, (3, 4), "float32"),
        (_OF_INTEGERS, (3,), "int32"),
        (_OF_TRUTH, (3,), "bool"),
        (_OF_PICTURES, (6, 8, 3), "float32"),
        (_OF_TEXTS, (2,), "string"),
    )

    def case(name: str, function: Any, shape: tuple[int, ...], dtype: str) -> Case:
        return Case(name, dtype, lambda: model(shape, as_layer(function), dtype=dtype))

    return [
        case(name, function, shape, dtype)
        for functions, shape, dtype in kinds
        for name, function in functions.items()
    ]
