"""Columns of the dataframe interchange protocol as arrays.

https://data-apis.org/dataframe-protocol/latest/API.html: a column is chunks, each with a buffer of
data at an address, how its missing values are marked, and for strings a buffer of offsets.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_INT, _UINT, _FLOAT, _BOOL, _STRING, _CATEGORICAL = 0, 1, 2, 20, 21, 23
_KINDS = {_INT: "i", _UINT: "u", _FLOAT: "f"}


def column_values(column: Any) -> np.ndarray | list[Any]:
    """The values of a column: an array of numbers, or a list with ``None`` for missing ones.

    Raises ValueError for values of other kinds, such as dates.
    """
    values: list[np.ndarray | list[Any]] = [_chunk(chunk) for chunk in column.get_chunks()]
    if len(values) == 1:
        return values[0]
    if all(isinstance(value, np.ndarray) for value in values):
        return np.concatenate(values)
    return [item for value in values for item in list(value)]


def _chunk(column: Any) -> np.ndarray | list[Any]:
    kind = int(column.dtype[0])
    missing = _missing(column)
    if kind == _CATEGORICAL:
        categories = column.describe_categorical["categories"]
        if categories is None:
            raise ValueError("a categorical column has no list of categories")
        names = list(column_values(categories))
        codes = _numbers(column, column.get_buffers()["data"])
        return [names[c] if c >= 0 and not m else None for c, m in _zip(codes, missing)]
    if kind == _STRING:
        values: Any = _strings(column)
    elif kind in _KINDS or kind == _BOOL:
        values = _numbers(column, column.get_buffers()["data"])
    else:
        raise ValueError(f"a column of {column.dtype[2]!r} has neither numbers nor strings")
    if missing is None:
        return values if kind != _STRING else list(values)
    if kind == _STRING:
        return [None if m else v for v, m in _zip(values, missing)]
    if not missing.any():
        return np.asarray(values)
    return [None if m else v for v, m in _zip(values.tolist(), missing)]


def _zip(values: Any, missing: np.ndarray | None) -> Any:
    absent = np.zeros(len(values), bool) if missing is None else missing
    return zip(values, absent, strict=True)


def _numbers(column: Any, pair: Any) -> np.ndarray:
    """A copy of a buffer of numbers, of the column's length."""
    buffer, (kind, bits, _, _) = pair
    size, start = column.size(), column.offset
    if int(kind) == _BOOL and bits == 1:
        return _bits(buffer, start, size)
    dtype = np.dtype("?") if int(kind) == _BOOL else np.dtype(f"{_KINDS[int(kind)]}{bits // 8}")
    data = _bytes(buffer, dtype.itemsize * (start + size))
    return np.frombuffer(data, dtype)[start:].copy()


def _bits(buffer: Any, start: int, size: int) -> np.ndarray:
    data = np.frombuffer(_bytes(buffer, (start + size + 7) // 8), np.uint8)
    return np.unpackbits(data, bitorder="little")[start : start + size].astype(bool)


def _strings(column: Any) -> list[str]:
    buffers = column.get_buffers()
    size, start = column.size(), column.offset
    offsets, (_, bits, _, _) = buffers["offsets"]
    ends = np.frombuffer(_bytes(offsets, bits // 8 * (start + size + 1)), f"i{bits // 8}")[start:]
    text = _bytes(buffers["data"][0], int(ends[-1]) if len(ends) else 0)
    return [text[a:b].decode() for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]


def _missing(column: Any) -> np.ndarray | None:
    """Which values are missing; ``None`` if none is, or NaN says so."""
    kind, value = column.describe_null
    if int(kind) in (0, 1):  # there are none, or they are NaN
        return None
    if int(kind) == 2:  # a value that stands for them
        return _numbers(column, column.get_buffers()["data"]) == value
    pair = column.get_buffers()["validity"]
    if pair is None:
        return None
    buffer, (_, bits, _, _) = pair
    start, size = column.offset, column.size()
    if int(kind) == 3 and bits == 1:
        found = _bits(buffer, start, size)
    else:
        found = np.frombuffer(_bytes(buffer, start + size), np.uint8)[start:].astype(bool)
    return found == bool(value)


def _bytes(buffer: Any, size: int) -> bytes:
    return ctypes.string_at(buffer.ptr, size) if size else b""
