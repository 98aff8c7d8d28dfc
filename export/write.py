"""Write a draft to a file tensor by tensor, without a second copy of the weights in memory.

The ModelProto is written by hand around its weights, which is easy: a protobuf message is a
sequence of (tag, length, bytes), in any order. A model above protobuf's limit of 2 GB keeps its
weights in a second file, ``NAME.data``, as ONNX's external data.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from onnxwalk.export.conversion.draft import Draft, describe_tensor
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.interpreter.files import move_into_place
from onnxwalk.interpreter.reader.wire import varint
from onnxwalk.interpreter.weights.rewrite import raw_bytes

#: larger files keep their weights outside; protobuf reads no message beyond 2 GiB
MAX_FILE_SIZE = 2**31 - 2**20

_MIN_EXTERNAL = 1024  # bytes; smaller tensors stay inside
_PAGE_SIZE = 4096  # external tensors begin at a page, so that they can be mapped

# tags: field number << 3 | 2, for bytes with a length before them
_GRAPH, _INITIALIZER, _RAW_DATA = b"\x3a", b"\x2a", b"\x4a"


@contextmanager
def staged_file(
    draft: Draft, path: str | os.PathLike[str] | None, largest: int | None = None
) -> Iterator[Path]:
    """Write into a temporary folder next to ``path``; if the block succeeds, move the file there.

    Yields the path of the temporary file. With ``path`` None the file is deleted after the block.

    Raises ExportError if it can't be written.
    """
    target = Path(path) if path is not None else None
    with staged(target, "model.onnx") as part:
        try:
            write_model(draft, part, MAX_FILE_SIZE if largest is None else largest)
        except (OSError, ValueError) as error:
            raise ExportError(
                f"{target or part.name} can't be written: {one_line(error)}"
            ) from error
        yield part


@contextmanager
def staged(target: Path | None, name: str = "") -> Iterator[Path]:
    """Yield a path of the same name in a temporary folder next to ``target``; if the block
    succeeds, what it wrote there is moved. With ``target`` None it is called ``name``, and deleted
    after the block. Raises ExportError if it can't be written."""
    name = target.name if target else name
    folder = None
    try:
        try:
            folder = Path(
                tempfile.mkdtemp(prefix=f".{name}.", suffix=".part", dir=target and target.parent)
            )
        except OSError as error:
            raise ExportError(f"{target or name} can't be written: {one_line(error)}") from error
        yield folder / name
        if target is None:
            return
        try:
            # the data first: a model must not exist without it
            for part in sorted(folder.iterdir(), key=lambda part: part.name == name):
                move_into_place(part, target.parent / part.name)
        except OSError as error:
            raise ExportError(f"{target} can't be written: {one_line(error)}") from error
    finally:
        if folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


def write_model(draft: Draft, path: Path, largest: int = MAX_FILE_SIZE) -> None:
    """Write the model to ``path``, and to ``path.data`` if it would be larger than ``largest``."""
    size = sum(array.nbytes for array in draft.weights.values()) + draft.model.ByteSize()
    if size <= largest:
        with open(path, "wb") as file:
            _write(draft, file, {})
        return
    outside = path.with_name(path.name + ".data")
    places: dict[str, int] = {}
    with open(outside, "wb") as file:
        for name, array in draft.weights.items():
            if array.nbytes >= _MIN_EXTERNAL and array.dtype.kind not in "OUS":
                file.write(b"\0" * (-file.tell() % _PAGE_SIZE))
                places[name] = file.tell()
                file.write(raw_bytes(array))
    with open(path, "wb") as file:
        _write(draft, file, places, outside.name)


def _write(draft: Draft, file: BinaryIO, places: dict[str, int], location: str = "") -> None:
    import onnx

    head = onnx.ModelProto()
    for field, value in draft.model.ListFields():
        if field.name == "graph":
            continue
        if hasattr(value, "extend"):
            getattr(head, field.name).extend(value)
        else:
            setattr(head, field.name, value)
    file.write(head.SerializeToString())
    graph = draft.graph.SerializeToString()
    parts: list[tuple[bytes, Any]] = []  # (header, data) of each tensor
    for name, array in draft.weights.items():
        tensor, data = onnx.TensorProto(), np.empty(0, np.uint8)
        if array.dtype.kind in "OUS":
            tensor = onnx.numpy_helper.from_array(array, name)
        else:
            describe_tensor(tensor, name, array)
        raw_header = b""
        if name in places:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            where = {"location": location, "offset": places[name], "length": array.nbytes}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
        elif array.dtype.kind not in "OUS":
            data, raw_header = array, _RAW_DATA + varint(array.nbytes)
        header = tensor.SerializeToString() + raw_header
        parts.append((_INITIALIZER + varint(len(header) + data.nbytes) + header, data))
    total = len(graph) + sum(len(header) + data.nbytes for header, data in parts)
    file.write(_GRAPH + varint(total) + graph)
    for header, data in parts:
        file.write(header)
        file.write(raw_bytes(data))
