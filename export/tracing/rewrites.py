"""Other TensorFlow operations for layers whose own have no ONNX form.

Each function here computes the same as the function of Keras or TensorFlow that it replaces, which
is named in ``patches``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing.record import Record


def spectrogram(original: Any, record: Record, layer: Any, inputs: Any) -> Any:
    """|STFT| ** mag_exp by two convolutions with the windowed basis of the discrete transform.

    (samples,) or (batch, samples) -> (…, frames, fft_length // 2 + 1).
    """
    import keras
    import tensorflow as tf

    length, size = layer.sequence_length, layer.fft_length
    window = layer.window
    if window is None:
        # tf.signal.stft leaves frames of the transform's length as they are
        values = np.ones(size)
    else:
        if isinstance(window, str):
            make = {"hann": tf.signal.hann_window, "hamming": tf.signal.hamming_window}[window]
            with tf.init_scope():
                window = make(length, periodic=True, dtype=tf.float64).numpy()
        left = (size - length) // 2
        values = np.pad(np.asarray(window, np.float64), (left, size - length - left))
    angles = 2 * np.pi * (np.outer(np.arange(size), np.arange(size // 2 + 1)) % size) / size
    bases = [values[:, None] * np.cos(angles), -values[:, None] * np.sin(angles)]
    x = inputs[None] if len(inputs.shape) == 1 else inputs
    x = tf.pad(x, [[0, 0], [size // 2, size // 2]], mode="reflect")[..., None]
    kernels = [basis[:, None].astype(x.dtype.name) for basis in bases]
    parts = [tf.nn.conv1d(x, kernel, layer.sequence_stride, "VALID") for kernel in kernels]
    power = [tf.square(part) for part in parts]
    result = keras.ops.power(tf.sqrt(power[0] + power[1]), layer.mag_exp)
    return result[0] if len(inputs.shape) == 1 else result


def adaptive_pool(
    kind: str,
    original: Any,
    record: Record,
    inputs: Any,
    output_size: Any,
    data_format: str | None = None,
) -> Any:
    """Windows from floor(i * size / count) to ceil((i + 1) * size / count), on every axis.

    (batch, …, channels) -> (batch, *output_size, channels), or channels first. Sizes that divide
    evenly need one pooling for all of them; others a reduction for each window.
    """
    import keras
    import tensorflow as tf

    x, n = inputs, len(inputs.shape) - 2
    first = (data_format or keras.config.image_data_format()) == "channels_first"
    if first:
        x = tf.transpose(x, [0, *range(2, n + 2), 1])
    sizes = list(x.shape[1:-1])
    if None in sizes:
        raise ExportError("adaptive pooling needs inputs of a fixed size")
    counts = [output_size] * n if isinstance(output_size, int) else list(output_size)
    if any(-(-size // count) >= size for size, count in zip(sizes, counts, strict=True)):
        # Keras also uses windows of ceil(size / count) + 1, with which TensorFlow crashes
        raise ExportError("Keras can't pool an entire axis here: use global pooling, or reduce")
    windows = [s // w if s % w == 0 else 1 for s, w in zip(sizes, counts, strict=True)]
    if max(windows) > 1:
        x = tf.nn.pool(x, windows, kind, strides=windows, padding="VALID")
    reduce = tf.reduce_mean if kind == "AVG" else tf.reduce_max
    if kind == "MAX" and sizes != counts:
        x = tf.where(x > x.dtype.min, x, x.dtype.min)  # as pooling does it: NaN is passed over
    for axis, count in enumerate(counts, start=1):
        size = x.shape[axis]
        if size != count:
            before = (slice(None),) * axis
            windows = [
                (*before, slice(i * size // count, -(-(i + 1) * size // count)))
                for i in range(count)
            ]
            x = tf.concat([reduce(x[w], axis=axis, keepdims=True) for w in windows], axis)
    return tf.transpose(x, [0, n + 1, *range(1, n + 1)]) if first else x


def signbit(original: Any, record: Record, x: Any) -> Any:
    """Whether a number is negative or -0.0, as used by argmax and argmin; Keras reads the bits."""
    import keras
    import tensorflow as tf

    x = keras.ops.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return x < tf.zeros((), x.dtype) if x.dtype.is_integer else tf.zeros_like(x, tf.bool)
    return tf.logical_or(x < 0, tf.logical_and(tf.equal(x, 0), 1 / x < 0))


def encode_categories(
    original: Any,
    record: Record,
    inputs: Any,
    output_mode: str,
    depth: int,
    dtype: Any = "float32",
    sparse: bool = False,
    count_weights: Any = None,
    idf_weights: Any = None,
) -> Any:
    """multi_hot and count of (categories,) or (batch, categories), by comparison.

    A category that is none of 0 … depth - 1 counts nowhere.
    """
    import tensorflow as tf

    if sparse or output_mode not in ("multi_hot", "count") or inputs.shape.rank not in (1, 2):
        raise ExportError(f"no ONNX form for output_mode={output_mode!r} with sparse={sparse}")
    inputs = inputs if inputs.dtype.is_integer else tf.cast(inputs, tf.int32)
    same = tf.equal(inputs[..., None], tf.range(depth, dtype=inputs.dtype))
    if output_mode == "multi_hot":
        return tf.reduce_max(tf.cast(same, dtype), axis=-2)
    if count_weights is None:
        return tf.reduce_sum(tf.cast(same, dtype), axis=-2)
    weights = count_weights[..., None]
    weighted = tf.where(same, weights, tf.zeros_like(weights))  # 0 times NaN is NaN
    return tf.cast(tf.reduce_sum(weighted, axis=-2), dtype)


def embedding(original: Any, record: Record, layer: Any, inputs: Any) -> Any:
    """One Gather, in which negative ids count from the end as in Keras.

    Records which inputs of the model carry ids, and how many ids there are.
    """
    import keras
    import tensorflow as tf

    for name in record.find_inputs(inputs):
        record.vocabulary[name] = min(layer.input_dim, record.vocabulary.get(name, layer.input_dim))
    if inputs.dtype not in (tf.int32, tf.int64):
        inputs = tf.cast(inputs, tf.int32)
    table = keras.ops.convert_to_tensor(layer.embeddings)
    return tf.cast(tf.gather(table, inputs), layer.compute_dtype)


def masking(original: Any, record: Record, layer: Any, inputs: Any) -> Any:
    """Record which inputs feed a Masking layer, so that a check can mask some steps."""
    for name in record.find_inputs(inputs):
        record.masking[name] = float(layer.mask_value)
    return original(layer, inputs)


def tensordot(
    original: Any, record: Record, a: Any, b: Any, axes: Any, name: str | None = None
) -> Any:
    """A matrix product over the last axis is one MatMul, of any rank; TensorFlow reshapes to two
    dimensions and back, with the shape computed each time."""
    import tensorflow as tf

    last = isinstance(axes, list) and axes == [[-1], [0]]
    ranks = [getattr(getattr(t, "shape", None), "rank", None) for t in (a, b)]
    if last and ranks[1] == 2 and ranks[0] is not None and ranks[0] > 2:
        return tf.matmul(a, b, name=name)
    return original(a, b, axes, name=name)


def open_name_scope(original: Any, record: Record, layer: Any) -> Any:
    """Operations are named model/layer/Operation, without the numbers that TensorFlow adds.

    Keras opens a layer's scope twice for a call, and TensorFlow numbers the second.
    """
    import tensorflow as tf

    scope = original(layer)
    if hasattr(scope, "_tf_name_scope"):
        current = tf.get_current_name_scope()
        path = f"{current}/{layer.name}/" if current else f"{layer.name}/"
        scope._tf_name_scope = tf.name_scope(path)  # a trailing slash enters it as it is
    return scope
