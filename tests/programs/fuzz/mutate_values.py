"""Other numbers, arrays and bytes in the place of given ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, numpy_dtype

INTEGERS = (0, 1, -1, 2, 3, -2, 7, 64, 255, 2**31 - 1, 2**31, -(2**31), 2**32, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-7, 3e38, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    b"",
    b"constant",
    b"SAME_UPPER",
    b"NOTSET",
    b"nearest",
    b"ii->i",
    b"sum",
    b"\xff",
    b"\n",
    b"%",
)
CODES = [*ELEMENT_TYPES, 0, -1, 99]

Kind = onnx.AttributeProto


def other_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + rng.choice((1, 2, 8, 40)))
    change = rng.choice(("flip", "cut", "insert", "varint", "splice", "repeat", "drop"))
    if change == "flip" and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if change == "cut":
        return data[:at]
    if change == "insert":
        return data[:at] + rng.randbytes(rng.choice((1, 2, 10))) + data[at:]
    if change == "varint":
        return data[:at] + varint(rng.choice(INTEGERS)) + data[at + 1 :]
    if change == "splice" and other:
        start = rng.randrange(len(other))
        return data[:at] + other[start : start + rng.choice((1, 8, 60))] + data[to:]
    if change == "repeat":
        return data[:to] + data[at:to] * rng.choice((1, 2, 30)) + data[to:]
    return data[:at] + data[to:]


def varint(number: int) -> bytes:
    number %= 1 << 64
    parts = []
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def integer(old: int, rng: random.Random) -> int:
    return (
        old + rng.choice((1, -1))
        if rng.random() < 0.4 and abs(old) < 2**62
        else rng.choice(INTEGERS)
    )


def other_list(values: Any, new: Callable[[Any], Any], rng: random.Random) -> None:
    change = rng.randrange(4)
    if change == 0 or not values:
        values.append(new(None))
    elif change == 1:
        del values[rng.randrange(len(values))]
    else:
        at = rng.randrange(len(values))
        values[at] = new(values[at])


def other_tensor(tensor: onnx.TensorProto, rng: random.Random) -> None:
    """Other values, another shape or type; the data fit but for a few."""
    if rng.random() < 0.1:
        change = rng.randrange(3)
        if change == 0:
            other_list(tensor.dims, lambda old: rng.choice(INTEGERS), rng)
        elif change == 1:
            tensor.data_type = max(-1, rng.choice(CODES))
        else:
            tensor.raw_data = tensor.raw_data[:-1]
        return
    array = other_array(numpy_helper.to_array(tensor), rng)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def other_array(x: np.ndarray, rng: random.Random) -> np.ndarray:
    x = np.array(x)  # a scalar's type has no values to set
    change = rng.randrange(5)
    if change == 0:
        return other_shape(x, rng)
    if change == 1:
        code = rng.choice(list(ELEMENT_TYPES))
        with np.errstate(all="ignore"):
            if x.dtype.kind in "OUS" or code == 8:
                return np.full(x.shape, rng.choice(("", "a", "1.5", "\n")), object)
            return x.astype(numpy_dtype(code))
    if not x.size:
        return x
    values = INTEGERS if x.dtype.kind in "iu" else FLOATS
    places = slice(None) if change == 2 else rng.randrange(x.size)
    with np.errstate(all="ignore"):
        flat = x.reshape(-1)
        if x.dtype.kind in "OUS":
            flat[places] = rng.choice(("", "a", "ß\n", "\ud7ff", "-1e400"))
        else:
            flat[places] = np.array(rng.choice(values)).astype(x.dtype)
    return flat.reshape(x.shape)


def other_shape(x: np.ndarray, rng: random.Random) -> np.ndarray:
    shape = list(x.shape)
    change = rng.randrange(4)
    if change == 0:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice((0, 1, 1, 2)))
    elif change == 1 and shape:
        del shape[rng.randrange(len(shape))]
    elif shape:
        shape[rng.randrange(len(shape))] = rng.choice((0, 1, 2, 3, 5, 17))
    if int(np.prod(shape)) > 1 << 14:
        return x
    return np.resize(x, shape) if x.size else np.zeros(shape, x.dtype)
