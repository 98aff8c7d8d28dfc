"""Tensors in JSON and in the binary form of the protocol."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.serving.datatypes import dtype_of

#: numbers that JSON doesn't have, as protobuf writes them
_NOT_IN_JSON = ("NaN", "Infinity", "-Infinity")
_FLOATS = ("FP16", "BF16", "FP32", "FP64")
#: characters of a wrong value in a message
_LONGEST_SHOWN = 40
#: NumPy numbers its types; those of ml_dtypes come behind them
_LAST_OF_NUMPY = np.dtype(np.float16).num
#: the largest rank of NumPy
_MOST_AXES = 64


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """The shape of a tensor in a request. Raises InvalidInputError."""
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise InvalidInputError(f"input '{name}': shape must be a list of numbers from 0 on")
    if len(shape) > _MOST_AXES:
        raise InvalidInputError(f"input '{name}': shape has more than {_MOST_AXES} dimensions")
    return tuple(shape)


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> np.ndarray:
    """The tensor of a list, flat or nested as ``shape``. Raises InvalidInputError."""
    if not isinstance(data, list):
        raise InvalidInputError(f"input '{name}': data must be a list")
    array = np.array(data, object)  # a dtype of NumPy's choice would hide what was meant
    kinds = set(map(type, array.flat))
    if list in kinds:
        raise InvalidInputError(f"input '{name}': the lists in data have different lengths")
    if array.size != math.prod(shape) or array.shape not in ((array.size,), shape):
        raise InvalidInputError(
            f"input '{name}': the data have shape {list(array.shape)}, which isn't {list(shape)}, "
            f"nor is it flat with {math.prod(shape):,} values"
        )
    allowed = _allowed(datatype)
    if not kinds <= allowed:
        if str in kinds and float in allowed:
            return from_json(name, datatype, shape, _without_words(name, datatype, array))
        bad = next(item for item in array.flat if type(item) not in allowed)
        raise _wrong(name, datatype, bad)
    return _converted(name, datatype, array).reshape(shape)


def _allowed(datatype: str) -> set[type]:
    """What the values of a datatype are in JSON."""
    if datatype == "BYTES":
        return {str}
    if datatype == "BOOL":
        return {bool}
    return {int} if "INT" in datatype else {int, float}


def _wrong(name: str, datatype: str, value: object) -> InvalidInputError:
    shown = json.dumps(value)
    shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
    return InvalidInputError(f"input '{name}': {shown} is not a value of {datatype}")


def _without_words(name: str, datatype: str, array: np.ndarray) -> list[Any]:
    """The values with numbers in place of "NaN", "Infinity" and "-Infinity"."""
    if wrong := [x for x in array.flat if type(x) is str and x not in _NOT_IN_JSON]:
        raise _wrong(name, datatype, wrong[0])
    return [float(x) if type(x) is str else x for x in array.flat]


def _converted(name: str, datatype: str, array: np.ndarray) -> np.ndarray:
    """An array of Python's numbers or strings as one of the datatype. Raises InvalidInputError."""
    if datatype == "BYTES":
        for text in array.flat:
            if not _is_unicode(text):
                raise _wrong(name, datatype, text)
        return array
    try:
        with np.errstate(over="ignore"):
            converted = array.astype(dtype_of(datatype))
    except OverflowError:
        raise InvalidInputError(f"input '{name}': a number is too large for {datatype}") from None
    if datatype in _FLOATS and np.isinf(converted.astype(float)).any():
        finite = np.isfinite(array.astype(float))
        if (finite & np.isinf(converted.astype(float))).any():
            raise InvalidInputError(f"input '{name}': a number is too large for {datatype}")
    return converted


def _is_unicode(text: str) -> bool:
    """Whether it can be written in UTF-8, as half of a surrogate pair can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_json(array: np.ndarray) -> list[Any]:
    """The values as a flat list; NaN and infinities are the words "NaN", "Infinity" and
    "-Infinity"."""
    if array.dtype.kind not in "biufO":
        array = array.astype(np.float32)  # bfloat16
    values: list[Any] = array.ravel().tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [x if math.isfinite(x) else _word(x) for x in values]
    return values


def _word(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def from_bytes(name: str, datatype: str, shape: tuple[int, ...], data: bytes) -> np.ndarray:
    """The tensor of bytes: little-endian numbers in row-major order, or strings in UTF-8, each
    after its length in four bytes. Raises InvalidInputError."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return _strings(name, count, data).reshape(shape)
    dtype = dtype_of(datatype)
    if len(data) != count * dtype.itemsize:
        raise InvalidInputError(
            f"input '{name}': {datatype} {list(shape)} has {count * dtype.itemsize:,} bytes, "
            f"got {len(data):,}"
        )
    if datatype == "BOOL":
        return np.frombuffer(data, np.uint8).reshape(shape) != 0
    is_numpys = dtype.num <= _LAST_OF_NUMPY
    little = np.frombuffer(data, dtype.newbyteorder("<") if is_numpys else dtype)
    return little.astype(dtype).reshape(shape)  # the model's own, aligned and writeable


def _strings(name: str, count: int, data: bytes) -> np.ndarray:
    found: list[str] = []
    place = 0
    try:
        while place < len(data):
            (length,) = struct.unpack_from("<I", data, place)
            end = place + 4 + length
            if end > len(data):
                raise InvalidInputError(f"input '{name}': string {len(found)} is cut off")
            found.append(data[place + 4 : end].decode())
            place = end
    except UnicodeDecodeError:
        raise InvalidInputError(f"input '{name}': string {len(found)} is not UTF-8") from None
    except struct.error:
        raise InvalidInputError(f"input '{name}': the last string is cut off") from None
    if len(found) != count:
        raise InvalidInputError(f"input '{name}': expected {count:,} strings, got {len(found):,}")
    array = np.empty(count, object)
    array[:] = found
    return array


def to_bytes(array: np.ndarray) -> bytes:
    """The tensor in the form that ``from_bytes`` reads."""
    if array.dtype == object:
        encoded = [text.encode() for text in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    if array.dtype.kind in "iuf" and array.dtype.num <= _LAST_OF_NUMPY:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return array.tobytes()


def rows_of_maps(value: Sequence[dict[Any, Any]]) -> tuple[np.ndarray, list[str]]:
    """A tensor of a map for each sample, with a column for each key, and the names of the columns.
    Raises InvalidInputError if the maps have different keys."""
    keys = list(value[0]) if value else []
    if any(list(row) != keys for row in value):
        raise InvalidInputError("an output is a list of maps with different keys")
    rows = np.array([[row[key] for key in keys] for row in value])
    return rows.reshape(len(value), len(keys)), [str(key) for key in keys]


def classify(array: np.ndarray, count: int, labels: Sequence[str]) -> np.ndarray:
    """The ``count`` largest values of each sample, as strings "value:index:label", the largest
    first: (N, …) -> (N, count), or (…) -> (count) of one axis. Raises InvalidInputError for values
    other than numbers."""
    if array.dtype.kind == "O" or array.ndim == 0:
        raise InvalidInputError("classification takes a tensor of numbers with an axis")
    rows = array.reshape(1 if array.ndim == 1 else len(array), -1)
    rows = rows.astype(np.float64) if array.dtype.kind not in "biuf" else rows
    count = min(count, rows.shape[1])
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    is_float = rows.dtype.kind == "f"
    texts = np.empty(order.shape, object)
    for place, index in np.ndenumerate(order):
        label = f":{labels[index]}" if index < len(labels) else ""
        value = rows[place[0], index]
        texts[place] = f"{value:f}:{index}{label}" if is_float else f"{value}:{index}{label}"
    return texts[0] if array.ndim == 1 else texts
