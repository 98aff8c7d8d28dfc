"""Fourier transforms as matrix products, of real and imaginary parts: ONNX has no complex numbers.

Each function computes the same as the one of Keras that it replaces (see ``patches``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing.record import Record

#: the longest transform: its matrices have the square of that many elements
_LONGEST = 4096

Pair = tuple[Any, Any]


def fft(original: Any, record: Record, x: Pair) -> Pair:
    """Along the last axis."""
    return _transform(*_as_tensors(x))


def fft2(original: Any, record: Record, x: Pair) -> Pair:
    """Along the last axis and then along the one before it."""
    import tensorflow as tf

    for _ in range(2):
        real, imaginary = _transform(*_as_tensors(x))
        x = tf.linalg.matrix_transpose(real), tf.linalg.matrix_transpose(imaginary)
    return x


def rfft(original: Any, record: Record, x: Any, fft_length: int | None = None) -> Pair:
    """(…, samples) -> two of (…, fft_length // 2 + 1); samples are cut off or zeros added."""
    import keras

    x = keras.ops.convert_to_tensor(x)
    size = fft_length or _size(x)
    count = min(size, _size(x))
    cosines, sines = (m[:count, : size // 2 + 1] for m in _matrices(size, x.dtype))
    return _product(x[..., :count], cosines), _product(x[..., :count], sines)


def irfft(original: Any, record: Record, x: Pair, fft_length: int | None = None) -> Any:
    """Two of (…, bins) -> (…, fft_length); without a length 2 * (bins - 1)."""
    real, imaginary = _as_tensors(x)
    size = fft_length or 2 * (_size(real) - 1)
    return _inverse(real, imaginary, size, np.ones(size))


def stft(
    original: Any,
    record: Record,
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Pair:
    """(…, samples) -> two of (…, frames, fft_length // 2 + 1)."""
    import keras
    import tensorflow as tf

    x = keras.ops.convert_to_tensor(x)
    if center:
        around = [[0, 0]] * (len(x.shape) - 1) + [[fft_length // 2] * 2]
        x = tf.pad(x, around, mode="reflect")
    values = _window(window, sequence_length, fft_length)[:, None]
    frames = tf.signal.frame(x, fft_length, sequence_stride)
    cosines, sines = (m[:, : fft_length // 2 + 1] for m in _matrices(fft_length, x.dtype))
    return _product(frames, values * cosines), _product(frames, values * sines)


def istft(
    original: Any,
    record: Record,
    x: Pair,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """Two of (…, frames, bins) -> (…, samples): inverse transforms, windowed and overlapping."""
    import tensorflow as tf

    real, imaginary = _as_tensors(x)
    values = np.ones(fft_length)
    if window is not None:
        values = _window(window, sequence_length, fft_length)
        with tf.init_scope():
            inverse = tf.signal.inverse_stft_window_fn(
                sequence_stride, lambda frame_step, dtype: tf.constant(values, dtype)
            )
            values = inverse(fft_length, tf.float64).numpy()
    frames = _inverse(real, imaginary, fft_length, values)
    samples = tf.signal.overlap_and_add(frames, sequence_stride)
    start = fft_length // 2 if center else 0
    end = start + length if length is not None else -start if center else None
    return samples[..., start:end]


def _inverse(real: Any, imaginary: Any, size: int, window: NDArray[Any]) -> Any:
    """Each bin stands for itself and for its mirror image, unless it is that itself."""
    bins = min(size // 2 + 1, _size(real))
    weights = np.where((np.arange(bins) == 0) | (2 * np.arange(bins) == size), 1, 2) / size
    cosines, sines = (weights[:, None] * m[:bins] * window for m in _matrices(size, real.dtype))
    return _product(real[..., :bins], cosines) + _product(imaginary[..., :bins], sines)


def _transform(real: Any, imaginary: Any) -> Pair:
    """(cos + i·sin) of the angles -2πjk / n, times real + i·imaginary."""
    cosines, sines = _matrices(_size(real), real.dtype)
    return (
        _product(real, cosines) - _product(imaginary, sines),
        _product(real, sines) + _product(imaginary, cosines),
    )


def _matrices(size: int, dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """cos and sin of -2πjk / size for all j and k below size: (size, size) float64."""
    if size > _LONGEST:
        raise ExportError(
            f"a Fourier transform of {size} values: up to {_LONGEST} are exported; compute it "
            "in the data pipeline"
        )
    angles = -2 * np.pi * (np.outer(np.arange(size), np.arange(size)) % size) / size
    return np.cos(angles), np.sin(angles)


def _window(window: Any, length: int, size: int) -> NDArray[Any]:
    """(size,) float64: the window of that length, or ones for None, with zeros around it."""
    import tensorflow as tf

    if window is None:
        return np.ones(size)
    with tf.init_scope():
        if isinstance(window, str):
            make = {"hann": tf.signal.hann_window, "hamming": tf.signal.hamming_window}[window]
            window = make(length, periodic=True, dtype=tf.float64)
        values = np.asarray(window, np.float64)
    left = (size - length) // 2
    return np.pad(values, (left, size - length - left))


def _product(x: Any, matrix: NDArray[Any]) -> Any:
    import tensorflow as tf

    return (
        tf.matmul(x, tf.constant(matrix, x.dtype))
        if len(x.shape) > 1
        else tf.linalg.matvec(tf.constant(matrix.T, x.dtype), x)
    )


def _as_tensors(x: Pair) -> Pair:
    import keras

    return keras.ops.convert_to_tensor(x[0]), keras.ops.convert_to_tensor(x[1])


def _size(x: Any) -> int:
    size = x.shape[-1]
    if size is None:
        raise ExportError("a Fourier transform needs a fixed size: give the input one")
    return int(size)
