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
    if kind == "MAX" and any(s % count for s, count in zip(sizes, counts, strict=True)):
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


def tells_floats(of_others: bool, original: Any, record: Record, x: Any) -> Any:
    """``isfinite``, ``isinf`` or ``isnan``, of open sizes too where all other types have one
    answer."""
    import keras
    import tensorflow as tf

    x = keras.ops.convert_to_tensor(x)
    if x.dtype.is_floating:
        return original(x)
    return tf.ones_like(x, tf.bool) if of_others else tf.zeros_like(x, tf.bool)


def refuse(why: str, original: Any, record: Record, *arguments: Any, **options: Any) -> Any:
    """Raise ExportError for a function that can't be exported."""
    raise ExportError(why)


#: rational functions of erfinv, coefficients from the highest power down: AS 241 (Wichura, 1988),
#: "PPND16", of the normal distribution's quantiles
_CENTER = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_SIDE = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def erfinv(original: Any, record: Record, x: Any) -> Any:
    """The inverse of erf: the normal distribution's quantile of (1 + x) / 2, over √2.

    Infinite at -1 and 1, NaN beyond.
    """
    import keras
    import tensorflow as tf

    x = keras.ops.convert_to_tensor(x)
    dtype = x.dtype
    x = tf.cast(x, tf.float32) if dtype in (tf.float16, tf.bfloat16) else x

    def ratio(z: Any, coefficients: Any) -> Any:
        above, below = (tf.math.polyval([tf.constant(c, x.dtype) for c in side], z)
                        for side in coefficients)  # fmt: skip
        return above / below

    center = x / 2 * ratio(0.180625 - x * x / 4, _CENTER)
    r = tf.sqrt(-tf.math.log((1 - tf.abs(x)) / 2))
    outer = tf.where(r <= 5, ratio(r - 1.6, _SIDE), ratio(r - 5, _TAIL))
    outer = tf.where(tf.equal(tf.abs(x), 1), tf.constant(np.inf, x.dtype), outer)
    quantile = tf.where(tf.abs(x) <= 0.85, center, tf.where(x < 0, -outer, outer))
    return tf.cast(quantile / np.sqrt(2), dtype)


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


def searchsorted(
    original: Any,
    record: Record,
    sorted_sequence: Any,
    values: Any,
    side: str = "left",
    out_type: Any = "int32",
    name: str | None = None,
) -> Any:
    """How many of the sorted numbers are less than a value or, on the right, not more than it."""
    import tensorflow as tf

    rows = tf.expand_dims(sorted_sequence, -2)
    column = tf.expand_dims(tf.convert_to_tensor(values, rows.dtype), -1)
    below = rows < column if side == "left" else tf.logical_not(column < rows)
    return tf.reduce_sum(tf.cast(below, out_type), -1, name=name)


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
