"""Sound as an input: samples from -1 to 1, cut or padded to what the model takes."""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.tables.convert import declared_dtype, declared_shape

_FEWEST = 256  # samples that a sound has; shorter axes are something else


def takes_sound(info: TensorInfo) -> bool:
    """Whether an input looks as if it were for samples of sound: (samples), (N, samples) or
    (N, 1, samples) of floats or of 16 bits."""
    shape, dtype = declared_shape(info), declared_dtype(info)
    if not shape or dtype is None or not (dtype.kind == "f" or dtype == np.int16):
        return False
    last = shape[-1]
    is_single = all(not isinstance(size, int) or size == 1 for size in shape[:-1])
    is_long = not isinstance(last, int) or last >= _FEWEST
    return is_single and is_long and len(shape) <= 3


def sound_row(info: TensorInfo, samples: np.ndarray) -> tuple[np.ndarray, str]:
    """Samples of float32 as a value of the input, and what was done to them.

    Integers get samples of 16 bits. Raises InvalidInputError for an empty sound.
    """
    shape, dtype = declared_shape(info) or (None,), declared_dtype(info) or np.dtype(np.float32)
    if not samples.size:
        raise InvalidInputError("the sound is empty")
    length, note = shape[-1], f"{samples.size:,} samples"
    if isinstance(length, int) and length != samples.size:
        done = f"the first {length:,}" if length < samples.size else f"padded to {length:,}"
        note = f"{note}, {done}"
        padding = np.zeros(max(length - samples.size, 0), np.float32)
        samples = np.concatenate([samples[:length], padding])
    if dtype.kind == "i":
        samples = np.rint(samples * (1 << 15)).clip(-(1 << 15), (1 << 15) - 1)
    return samples.astype(dtype).reshape((1,) * (len(shape) - 1) + (-1,)), note
