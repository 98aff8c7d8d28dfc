"""Writes a file again with other values in its initializers; all else stays as it is, byte by byte.

A protobuf message is a run of fields, so the new file is the old one in pieces: what is between two
changed tensors is copied, and the lengths of the messages around them are written anew. Values are
written as ``raw_data`` or, where they were outside of the file, into a data file of the new one.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, InvalidModelError, suggest
from onnxwalk.interpreter.files import as_path, replace_atomically, translate_os_errors
from onnxwalk.interpreter.ir.model import Model, Tensor
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.reader.messages import GRAPH, MODEL, SPARSE_TENSOR, TENSOR, Message
from onnxwalk.interpreter.reader.source import Source
from onnxwalk.interpreter.reader.wire import BYTES, fields_in, parse, varint
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

#: a part of the new file: bytes of the old one, or new ones
Piece: TypeAlias = "memoryview | bytes"

_PAGE = 4096  # external tensors begin at a page, so that they can be mapped
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
#: the fields of a TensorProto that hold its values or say where they are
_VALUES = {4, 5, 6, 7, _RAW_DATA, 10, 11, _EXTERNAL_DATA, _DATA_LOCATION}


def write_weights(
    model: Any, path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write the file ``model`` to ``path`` with these values of its initializers, by their names.

    ``model``: what ``onnxwalk.load`` takes, or a Session, of which it is the file that was loaded.
    Each array has the shape and the dtype of the initializer. ``path`` may be ``model`` itself. It
    is written whole or not at all. If ``model`` has external data, so has the new file: all of it
    in one file beside it, ``NAME.data`` (``NAME.1.data`` … if there is one already, which another
    model may read).

    Raises InvalidInputError for names that the file doesn't have, for arrays of another shape or
    dtype, and if nothing can be written; and as ``onnxwalk.load`` for a file that can't be read.
    """
    target = Path(os.path.realpath(as_path(path)))
    source = _open(model)
    values = _check(read_model(source), arrays)
    with replace_atomically(target) as part:
        rewriter = _Rewriter(source, values, _free_name(target))
        _write(part, rewriter.model(), target)
        if rewriter.outside:  # moved to its place first: a model must not exist without it
            outside = target.with_name(rewriter.location)
            with replace_atomically(outside) as data:
                _write(data, rewriter.outside, outside)


def _open(model: Any) -> Source:
    loaded = getattr(model, "model", model)
    if not isinstance(loaded, Model):
        return Source.open(model)
    path = Path(loaded.source)
    if not loaded.maps:  # a session that was copied to another process
        return Source.open(path)
    return Source(loaded.maps[0], loaded.source, path if path.is_file() else None)


def _write(part: Path, pieces: Iterable[Piece], target: Path) -> None:
    with translate_os_errors(target), open(part, "wb") as file:
        file.writelines(pieces)


def _free_name(target: Path) -> str:
    """The name of a data file that isn't there yet."""
    numbers = itertools.chain([""], (f".{number}" for number in itertools.count(1)))
    names = (f"{target.name}{number}.data" for number in numbers)
    return next(name for name in names if not target.with_name(name).exists())


def _check(model: Model, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, if they fit. Raises InvalidInputError."""
    tensors = model.graph.initializers
    checked = {}
    for name, array in arrays.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise InvalidInputError(
                f"{model.source}: there is no initializer '{name}'{suggest(name, tensors)}"
            )
        if not isinstance(tensor, Tensor) or ELEMENT_TYPES[tensor.element].bits < 8:
            raise InvalidInputError(
                f"{model.source}: initializer '{name}' is sparse, holds texts, or has elements of "
                "fewer than 8 bits: new values of it can't be written"
            )
        array = np.asarray(array)
        if array.shape != tensor.shape or array.dtype != tensor.array.dtype:
            raise InvalidInputError(
                f"{model.source}: initializer '{name}' is {tensor.array.dtype} {tensor.shape}, not "
                f"{array.dtype} {array.shape}"
            )
        checked[name] = array
    return checked


class _Rewriter:
    """The pieces of the new file, and those of its external data, in ``outside``."""

    def __init__(self, source: Source, values: Mapping[str, np.ndarray], location: str) -> None:
        self.source, self.values, self.location = source, values, location
        self.outside: list[Piece] = []
        self._size = 0  # of what is outside

    def model(self) -> list[Piece]:
        data = self.source.data
        return self._message(0, len(data), MODEL, ()) or [data]

    def _message(
        self, start: int, end: int, fields: Message, path: tuple[int, ...]
    ) -> list[Piece] | None:
        """The pieces of a message, or None if it stays as it is; ``path``: the numbers of the
        fields that lead to it."""
        data, kept = self.source.data, start
        pieces: list[Piece] = []
        for number, wire_type, at, begin, stop in fields_in(data, start, end):
            field = fields.get(number)
            inner = field.message if field is not None else None
            if inner is None or wire_type != BYTES or id(inner) not in _HOLDERS:
                continue
            where = (*path, number)
            if inner is TENSOR:
                changed = self._tensor(begin, stop, is_initializer=where == _INITIALIZER)
            else:
                changed = self._message(begin, stop, inner, where)
            if changed is None:
                continue
            size = sum(map(len, changed))
            pieces += [data[kept:at], varint(number << 3 | BYTES) + varint(size), *changed]
            kept = stop
        return [*pieces, data[kept:end]] if pieces else None

    def _tensor(self, start: int, end: int, *, is_initializer: bool) -> list[Piece] | None:
        """The pieces of a TensorProto, or None if it stays as it is."""
        data = self.source.data
        fields = parse(data, start, end, TENSOR)
        is_outside = fields.get("data_location", 0) == 1
        name = fields.get("name", "")
        new = self.values.get(name) if is_initializer else None
        if new is None and not is_outside:
            return None
        values = raw_bytes(new) if new is not None else self._old_data(fields)
        kept: list[Piece] = [
            data[at:stop]
            for number, _, at, _, stop in fields_in(data, start, end)
            if number not in _VALUES
        ]
        if not is_outside:
            return [*kept, varint(_RAW_DATA << 3 | BYTES) + varint(len(values)), values]
        self.outside += [b"\0" * (-self._size % _PAGE), values]
        offset = self._size + -self._size % _PAGE
        self._size = offset + len(values)
        place = {"location": self.location, "offset": str(offset), "length": str(len(values))}
        entries = b"".join(
            _field(_EXTERNAL_DATA, _field(1, key.encode()) + _field(2, value.encode()))
            for key, value in place.items()
        )
        return [*kept, entries + varint(_DATA_LOCATION << 3) + varint(1)]

    def _old_data(self, fields: dict[str, Any]) -> memoryview:
        try:
            return self.source.external(fields)
        except ValueError as error:
            name = fields.get("name", "")
            raise InvalidModelError(f"{self.source.name}: tensor '{name}': {error}") from None


#: the path of an initializer of the graph
_INITIALIZER = tuple(
    next(number for number, field in message.items() if field.name == name)
    for message, name in ((MODEL, "graph"), (GRAPH, "initializer"))
)


def _find_holders(messages: Iterable[Message]) -> set[int]:
    """The messages in which a TensorProto may be, by their identity."""
    seen: dict[int, Message] = {}
    todo = list(messages)
    while todo:
        message = todo.pop()
        if id(message) not in seen:
            seen[id(message)] = message
            todo += [field.message for field in message.values() if field.message is not None]
    holders = {id(TENSOR)}
    while True:
        more = {
            key
            for key, message in seen.items()
            if any(id(field.message) in holders for field in message.values())
        }
        if more <= holders:
            return holders
        holders |= more


_HOLDERS = _find_holders([MODEL, SPARSE_TENSOR])


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def raw_bytes(array: np.ndarray) -> memoryview:
    """The elements in C order, little-endian; copied only if they aren't already."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data
