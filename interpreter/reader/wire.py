"""The protobuf wire format: a message is a run of (field number, wire type, value).

Source: the Protocol Buffers encoding guide, protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import copy
import itertools
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.budget import current_budget, take
from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.ops.contract.numbers import Words

VARINT, FIXED64, BYTES, GROUP_START, GROUP_END, FIXED32 = range(6)

#: the deepest nesting of messages, as in protobuf's own readers; a subgraph is three levels
MAX_DEPTH = 100


class Field(NamedTuple):
    """A field of a message: its name, kind and, for kind "message", the fields of that message."""

    name: str
    kind: str  # int, uint, float, double, string, bytes, message
    repeated: bool
    message: dict[int, Field] | None
    shared: bool  # whether a file has the same message many times
    wire_type: int

    @classmethod
    def of(
        cls,
        name: str,
        kind: str | dict[int, Field],
        repeated: bool = False,
        shared: bool = False,
    ) -> Field:
        """A field of one of the kinds, or of messages with these fields."""
        if isinstance(kind, str):
            return cls(name, kind, repeated, None, shared, _WIRE_TYPES[kind])
        return cls(name, "message", repeated, kind, shared, BYTES)


_WIRE_TYPES = {"int": VARINT, "uint": VARINT, "float": FIXED32, "double": FIXED64}
_WIRE_TYPES |= dict.fromkeys(("string", "bytes", "message"), BYTES)
#: bytes of a message's dictionary, and of a field in it (a view of the file, or a string)
_PER_MESSAGE, _PER_FIELD = 250, 200
#: bytes of memory of which the budget is told at once
_UNPAID = 1 << 16
#: bytes of messages that are copied to be read (most nodes), and that others may share
_SMALL, _SHARED = 1 << 12, 1 << 8
#: fields of messages that aren't shared: each node has graphs of its own, equal or not
_GRAPHS = frozenset({"g", "graphs"})
#: bytes of packed numbers to unpack at a time, and of those that are looked at first
_BLOCK, _SHORT = 1 << 20, 256

#: dtypes of numbers that are repeated, by the kind of the field
_DTYPES = {"int": "<i8", "uint": "<u8", "float": "<f4", "double": "<f8"}
#: kinds of fields of which a long list is read at once, and after how many of them (less one)
_RUNS = frozenset((*_DTYPES, "bytes"))
_STREAK = 63
_POINTER = 8
#: different values of a list of bytes that are looked for at once, and in how many bytes with NumPy
_FEW, _LONG = 16, 1 << 12

_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")


def parse(data: memoryview, start: int, end: int, fields: dict[int, Field]) -> dict[str, Any]:
    """The fields of the message in ``data[start:end]`` by name; missing ones have no key.

    Unknown fields are skipped. Repeated numbers are lists of numbers and, where they were packed,
    of arrays. A field that isn't repeated but occurs twice as a message is merged, as in protobuf.
    Equal messages of a field that is ``shared`` are one dictionary.

    Raises InvalidModelError with the byte offset where the bytes are invalid.
    """
    parser = _Parser(data)
    result = parser.message(data, 0, start, end, fields, {}, 0)
    parser.pay()
    return result


class _Parser:
    """Reads the messages of a file."""

    def __init__(self, file: memoryview) -> None:
        self.file = file
        self.budget = current_budget()
        self.used = 0  # bytes of memory that the budget doesn't know of yet
        #: shared messages, by the field's name, the depth and the bytes
        self.known: dict[tuple[str, int, bytes], dict[str, Any]] = {}

    def pay(self) -> None:
        """Count the memory of what was read, and look at the time. Raises LimitError."""
        if self.budget is not None:
            self.budget.take(self.used)
            self.budget.tick()
        self.used = 0

    def message(
        self,
        data: memoryview | bytes,
        offset: int,
        start: int,
        end: int,
        fields: dict[int, Field],
        result: dict[str, Any],
        depth: int,
    ) -> dict[str, Any]:
        """Add the fields of the message in ``data[start:end]`` to ``result``; ``data`` is the file
        from ``offset`` on, or a part of it."""
        if depth > MAX_DEPTH:
            raise InvalidModelError(
                f"messages nest deeper than {MAX_DEPTH} at byte {offset + start}"
            )
        if end - start <= _SMALL and data is self.file:  # bytes are read faster than a view
            data, offset, start, end = bytes(data[start:end]), start, 0, end - start
        position, count = start, 0
        while position < end:
            at = position
            tag = data[position]
            position += 1
            if tag >= 0x80:  # most tags and lengths are one byte
                tag, position = read_varint(data, at, end, offset)
            wire_type = tag & 7
            value: Any
            if wire_type == BYTES:
                if position < end and (value := data[position]) < 0x80:
                    position += 1
                else:
                    value, position = read_varint(data, position, end, offset)
                if value > end - position:
                    raise InvalidModelError(
                        f"field {tag >> 3} at byte {offset + at} is {value} bytes long, "
                        f"{end - position} are left"
                    )
                begin, position = position, position + value
            elif wire_type == VARINT:
                if position < end and (value := data[position]) < 0x80:
                    position += 1
                else:
                    value, position = read_varint(data, position, end, offset)
            elif wire_type in (FIXED32, FIXED64):
                begin = position
                position += 4 if wire_type == FIXED32 else 8
                if position > end:
                    raise InvalidModelError(f"field {tag >> 3} at byte {offset + at} is cut off")
            else:
                raise InvalidModelError(
                    f"wire type {wire_type} at byte {offset + at} is not used by ONNX"
                )
            field = fields.get(tag >> 3)
            if field is None:
                if tag >> 3 == 0:
                    raise InvalidModelError(f"field number 0 at byte {offset + at}")
                continue
            name, kind, repeated, inner, shared, expected = field
            if wire_type != expected:
                if not (wire_type == BYTES and repeated):
                    raise InvalidModelError(
                        f"{name} at byte {offset + at} has wire type {wire_type}, not {kind}'s"
                    )
                where = offset + begin
                value = unpack_numbers(self.file[where : offset + position], kind, where)
            elif kind == "string":
                try:
                    value = str(data[begin:position], "utf-8")
                except UnicodeDecodeError:
                    raise InvalidModelError(f"{name} at byte {offset + at} is not UTF-8") from None
            elif kind == "message":
                assert inner is not None
                if not repeated and name in result:
                    value = copy.deepcopy(result[name]) if shared else result[name]
                    self.message(data, offset, begin, position, inner, value, depth + 1)
                elif shared and position - begin <= _SHARED:
                    key = (name, depth, bytes(data[begin:position]))
                    value = self.known.get(key)
                    if value is None:
                        value = self.message(data, offset, begin, position, inner, {}, depth + 1)
                        if _GRAPHS.isdisjoint(value):
                            self.known[key] = value
                            self.used += position - begin
                else:
                    value = self.message(data, offset, begin, position, inner, {}, depth + 1)
            elif kind == "int":
                if value >> 63:
                    value -= 1 << 64  # two's complement
            elif kind == "bytes":
                value = self.file[offset + begin : offset + position]
            elif kind == "float":
                (value,) = _FLOAT.unpack_from(data, begin)
            elif kind == "double":
                (value,) = _DOUBLE.unpack_from(data, begin)

            if repeated:
                if (values := result.get(name)) is None:
                    result[name] = [value]
                else:
                    values.append(value)
                    if not len(values) & _STREAK and kind in _RUNS and tag < 0x80:
                        place, stop = offset + position, offset + end
                        position = read_run(self.file, place, stop, tag, kind, values) - offset
            else:
                result[name] = value
            count += 1
            if not count & 1023:
                self.used += _PER_FIELD << 10
                self.pay()
        self.used += _PER_MESSAGE + _PER_FIELD * (count & 1023)
        if self.used > _UNPAID:
            self.pay()
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
    ones as one object, or as ``Words``: lists of millions have few different ones."""
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
        if len(known) > _FEW:
            continue
        # the fields that follow are likely to be among them
        while end - position >= _LONG:
            words, size = _read_words(bytes(data[position : min(end, position + _BLOCK)]), known)
            if not size:
                break
            take(size)
            values.append(words)
            position += size
        if position < end and data[position] == tag:
            any_known = b"|".join(map(re.escape, known))
            match = re.compile(b"(?:%b)*" % any_known).match(data, position, end)
            stop = match.end() if match else position
            values.extend(map(known.__getitem__, re.findall(any_known, data[position:stop])))
            position = stop
    take(_POINTER * (len(values) - count) + _PER_FIELD * len(known))
    return position


def all_bytes(values: Sequence[Any]) -> list[Any]:
    """The values of a repeated field of bytes one by one."""
    if Words not in set(map(type, values)):
        return list(values)
    parts = (value if isinstance(value, Words) else (value,) for value in values)
    return list(itertools.chain.from_iterable(parts))


def _read_words(block: bytes, known: Mapping[bytes, bytes]) -> tuple[Words, int]:
    """The fields at the beginning of a block, of one tag, and their size; 0 if not all of them are
    among the ``known``, or if they can't be told apart by one byte of each."""
    fields = list(known)
    none = Words(np.zeros(0, np.uint8), ()), 0
    tag, raw = fields[0][0], np.frombuffer(block, np.uint8)
    starts = np.flatnonzero(raw[:-1] == tag)
    if not starts.size or starts[0] or any(tag in field[1:] for field in fields):
        return none
    lengths = raw[starts + 1]
    ends = starts + 2 + lengths
    count = 1 + _leading(starts[1:] == ends[:-1])
    count -= int(ends[count - 1]) > len(block)
    starts, lengths = starts[:count], lengths[:count]
    size = int(ends[count - 1]) if count else 0
    # The tag is nowhere else: a field that is found begins where one begins, and is that one.
    if sum(block.count(field, 0, size) * len(field) for field in fields) != size:
        return none
    codes = np.empty(count, np.uint8)
    for length in {len(field) for field in fields}:
        alike = [i for i, field in enumerate(fields) if len(field) == length]
        places = range(2, length) if len(alike) > 1 else [0]
        differ = (p for p in places if len({fields[i][p] for i in alike}) == len(alike))
        place = next(differ, None)
        if place is None:
            return none
        code_of = np.zeros(256, np.uint8)
        for i in alike:
            code_of[fields[i][place]] = i
        chosen = np.flatnonzero(lengths == length - 2)
        codes[chosen] = code_of[raw[starts[chosen] + place]]
    return Words(codes, tuple(known.values())), size


def read_varint(
    data: memoryview | bytes, position: int, end: int, offset: int = 0
) -> tuple[int, int]:
    """The base-128 number at ``position``, modulo 2**64, and the position after it. ``offset``:
    where ``data`` begins in the file."""
    start, result, shift = position, 0, 0
    while position < end:
        byte = data[position]
        position += 1
        if byte < 0x80:
            return (result | byte << shift) & 0xFFFFFFFFFFFFFFFF, position
        result |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            raise InvalidModelError(f"the number at byte {offset + start} is longer than ten bytes")
    raise InvalidModelError(f"the file is cut off in the number at byte {offset + start}")


def in_own_order(array: np.ndarray) -> np.ndarray:
    """Numbers of a file, which are little-endian, in the byte order of the machine: the array
    itself on most."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


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
    if raw.size <= _SHORT and raw.max() < 0x80:  # a zero point, a shape
        return raw.astype(dtype)
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
