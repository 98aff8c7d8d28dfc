"""The protobuf wire format: a message is a run of (field number, wire type, value).

Source: the Protocol Buffers encoding guide, protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current_budget, take
from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.ops.contract.records import record

VARINT, FIXED64, BYTES, GROUP_START, GROUP_END, FIXED32 = range(6)

#: the deepest nesting of messages, as in protobuf's own readers; a subgraph is three levels
MAX_DEPTH = 100


@record(frozen=True)
class Field:
    """A field of a message: its name, kind and, for kind "message", the fields of that message."""

    name: str
    kind: str  # int, uint, float, double, string, bytes, message
    repeated: bool = False
    message: dict[int, Field] | None = None


_WIRE_TYPES = {"int": VARINT, "uint": VARINT, "float": FIXED32, "double": FIXED64}
_WIRE_TYPES |= dict.fromkeys(("string", "bytes", "message"), BYTES)
#: bytes of a message's dictionary, and of a field in it (a view of the file, or a string)
_PER_MESSAGE, _PER_FIELD = 250, 200
#: bytes of packed numbers to unpack at a time
_BLOCK = 1 << 20

#: dtypes of numbers that are repeated, by the kind of the field
_DTYPES = {"int": "<i8", "uint": "<u8", "float": "<f4", "double": "<f8"}
#: kinds of fields of which a long list is read at once, and after how many of them (less one)
_RUNS = frozenset((*_DTYPES, "bytes"))
_STREAK = 63
_POINTER = 8
#: different values of a list of bytes that are looked for at once
_FEW = 16

_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")


def parse(
    data: memoryview,
    start: int,
    end: int,
    fields: dict[int, Field],
    into: dict[str, Any] | None = None,
    depth: int = 0,
) -> dict[str, Any]:
    """The fields of the message in ``data[start:end]`` by name; missing ones have no key.

    Unknown fields are skipped. Repeated numbers are lists of numbers and, where they were packed,
    of arrays. A field that isn't repeated but occurs twice as a message is merged (``into``), as in
    protobuf.

    Raises InvalidModelError with the byte offset where the bytes are invalid.
    """
    if depth > MAX_DEPTH:
        raise InvalidModelError(f"messages nest deeper than {MAX_DEPTH} at byte {start}")
    result: dict[str, Any] = {} if into is None else into
    position, count = start, 0
    budget = current_budget()
    while position < end:
        at = position
        tag = data[position]
        position += 1
        if tag >= 0x80:  # most tags and lengths are one byte
            tag, position = read_varint(data, at, end)
        number, wire_type = tag >> 3, tag & 7
        value: Any
        if wire_type == BYTES:
            if position < end and (length := data[position]) < 0x80:
                position += 1
            else:
                length, position = read_varint(data, position, end)
            if length > end - position:
                raise InvalidModelError(
                    f"field {number} at byte {at} is {length} bytes long, {end - position} are left"
                )
            value = position
            position += length
        elif wire_type == VARINT:
            value, position = read_varint(data, position, end)
        elif wire_type in (FIXED32, FIXED64):
            value = position
            position += 4 if wire_type == FIXED32 else 8
            if position > end:
                raise InvalidModelError(f"field {number} at byte {at} is cut off")
        else:
            raise InvalidModelError(f"wire type {wire_type} at byte {at} is not used by ONNX")
        if number == 0:
            raise InvalidModelError(f"field number 0 at byte {at}")

        field = fields.get(number)
        if field is None:
            continue
        if wire_type != _WIRE_TYPES[field.kind]:
            if not (wire_type == BYTES and field.repeated):
                raise InvalidModelError(
                    f"{field.name} at byte {at} has wire type {wire_type}, not {field.kind}'s"
                )
            value = unpack_numbers(data[value:position], field.kind, value)
        elif field.kind == "message":
            assert field.message is not None
            merged = None if field.repeated else result.get(field.name)
            value = parse(data, value, position, field.message, merged, depth + 1)
        elif field.kind == "string":
            try:
                value = str(data[value:position], "utf-8")
            except UnicodeDecodeError:
                raise InvalidModelError(f"{field.name} at byte {at} is not UTF-8") from None
        elif field.kind == "bytes":
            value = data[value:position]
        elif field.kind == "int":
            value -= (value & 1 << 63) << 1  # two's complement
        elif field.kind == "float":
            (value,) = _FLOAT.unpack_from(data, value)
        elif field.kind == "double":
            (value,) = _DOUBLE.unpack_from(data, value)

        if field.repeated:
            values = result.setdefault(field.name, [])
            values.append(value)
            if not len(values) & _STREAK and field.kind in _RUNS and tag < 0x80:
                position = read_run(data, position, end, tag, field.kind, values)
        else:
            result[field.name] = value
        count += 1
        if budget is not None and not count & 1023:
            budget.take(_PER_FIELD << 10)
            budget.tick()
    if budget is not None:
        budget.take(_PER_MESSAGE + _PER_FIELD * (count & 1023))
        budget.tick()
    return result


def fields_in(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(number, wire type, where the field begins, where its content begins, where both end) of each
    field of a message that ``parse`` takes, in order."""
    position = start
    while position < end:
        at = position
        tag, position = read_varint(data, position, end)
        number, wire_type, begin = tag >> 3, tag & 7, position
        if wire_type == BYTES:
            length, begin = read_varint(data, position, end)
            position = begin + length
        elif wire_type == VARINT:
            _, position = read_varint(data, position, end)
        else:
            position += 4 if wire_type == FIXED32 else 8
        yield number, wire_type, at, begin, position


def varint(number: int) -> bytes:
    """The base-128 form of a number: seven bits per byte, the lowest first; the high bit is set if
    more follow."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_run(
    data: memoryview, position: int, end: int, tag: int, kind: str, values: list[Any]
) -> int:
    """Read the fields of one tag that follow each other, all at once, and return the position after
    them. Numbers are appended to ``values`` as arrays, as packed ones are; bytes one by one, equal
    ones as one object: lists of millions have few different ones."""
    if kind == "bytes":
        return _read_run_of_bytes(data, position, end, tag, values)
    while position < end:
        block = np.frombuffer(data[position : min(end, position + _BLOCK)], np.uint8)
        if kind in ("float", "double"):
            width = 1 + np.dtype(_DTYPES[kind]).itemsize
            count = _leading(block[: len(block) // width * width : width] == tag)
            numbers = block[: count * width].reshape(count, width)[:, 1:].copy()
            array = in_own_order(numbers.view(_DTYPES[kind]))
            size = count * width
        else:
            # A tag, and the last byte of a number, are below 128: these take turns.
            low = np.flatnonzero(block < 0x80)
            tags, lasts = low[: len(low) // 2 * 2 : 2], low[1::2]
            follows = tags == np.concatenate(([0], lasts + 1))[: len(tags)]
            count = _leading(follows & (block[tags] == tag))
            size = int(lasts[count - 1]) + 1 if count else 0
            array = np.zeros(0, _DTYPES[kind])
            if count:
                array = _numbers(block, tags[:count] + 1, lasts[:count], array.dtype, position)
        if not count:
            break
        take(array.nbytes)
        values.append(array.reshape(-1))
        position += size
    return position


def _leading(condition: np.ndarray) -> int:
    """How many values at the beginning are true."""
    return len(condition) if condition.all() else int(condition.argmin())


def _read_run_of_bytes(
    data: memoryview, position: int, end: int, tag: int, values: list[Any]
) -> int:
    known: dict[bytes, bytes] = {}  # by the whole field: tag, length, value
    count = len(values)
    while position + 1 < end and data[position] == tag:
        length = data[position + 1]
        stop = position + 2 + length
        if length >= 0x80 or stop > end:
            break
        field = bytes(data[position:stop])
        values.append(known.setdefault(field, field[2:]))
        position = stop
        if len(known) <= _FEW:  # the fields that follow are likely to be among them
            any_known = b"|".join(map(re.escape, known))
            match = re.compile(b"(?:%b)*" % any_known).match(data, position, end)
            stop = match.end() if match else position
            values.extend(map(known.__getitem__, re.findall(any_known, data[position:stop])))
            position = stop
    take(_POINTER * (len(values) - count) + _PER_FIELD * len(known))
    return position


def read_varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    """The base-128 number at ``position``, modulo 2**64, and the position after it."""
    start, result, shift = position, 0, 0
    while position < end:
        byte = data[position]
        position += 1
        if byte < 0x80:
            return (result | byte << shift) & 0xFFFFFFFFFFFFFFFF, position
        result |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            raise InvalidModelError(f"the number at byte {start} is longer than ten bytes")
    raise InvalidModelError(f"the file is cut off in the number at byte {start}")


def in_own_order(array: np.ndarray) -> np.ndarray:
    """Numbers of a file, which are little-endian, in the byte order of the machine: the array
    itself on most."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def unpack_numbers(data: memoryview, kind: str, offset: int) -> np.ndarray:
    """The numbers of a packed repeated field; floats are a view of ``data``."""
    if kind in ("float", "double"):
        dtype = np.dtype("<f4" if kind == "float" else "<f8")
        if len(data) % dtype.itemsize:
            raise InvalidModelError(f"packed {kind}s at byte {offset} end within a number")
        return in_own_order(np.frombuffer(data, dtype))
    return _unpack_varints(data, np.dtype(np.int64 if kind == "int" else np.uint64), offset)


def _unpack_varints(data: memoryview, dtype: np.dtype, offset: int) -> np.ndarray:
    """Base-128 numbers, a block at a time."""
    raw = np.frombuffer(data, np.uint8)
    if not raw.size:
        return np.zeros(0, dtype)
    if raw[-1] >= 0x80:
        raise InvalidModelError(f"packed numbers at byte {offset} end within a number")
    take(2 * dtype.itemsize * raw.size)
    pieces, start = [], 0
    while start < raw.size:
        stop = min(start + _BLOCK, raw.size)
        ends = np.flatnonzero(raw[max(start, stop - 10) : stop] < 0x80)
        if not ends.size:
            raise InvalidModelError(f"the number at byte {offset + stop} is longer than ten bytes")
        stop = max(start, stop - 10) + int(ends[-1]) + 1
        pieces.append(_unpack_block(raw[start:stop], dtype, offset + start))
        start = stop
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _unpack_block(raw: np.ndarray, dtype: np.dtype, offset: int) -> np.ndarray:
    """Complete base-128 numbers, all at once: each byte has 7 bits of its number, lowest first."""
    last = np.flatnonzero(raw < 0x80)
    first = np.concatenate(([0], last[:-1] + 1))
    return _numbers(raw, first, last, dtype, offset)


def _numbers(
    raw: np.ndarray, first: np.ndarray, last: np.ndarray, dtype: np.dtype, offset: int
) -> np.ndarray:
    """Base-128 numbers from their first and last bytes in ``raw``, which is at ``offset``: each
    byte has 7 bits of its number, lowest first. Most numbers are short."""
    lengths = last - first + 1
    longest = int(lengths.max())
    if longest > 10:
        at = offset + int(first[lengths.argmax()])
        raise InvalidModelError(f"the number at byte {at} is longer than ten bytes")
    bits = raw[last].astype(np.uint64)
    for back in range(1, longest):
        longer = np.flatnonzero(lengths > back)
        bits[longer] = bits[longer] << np.uint64(7) | (raw[last[longer] - back] & 0x7F)
    return bits.view(dtype)
