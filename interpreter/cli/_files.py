"""Read inputs from files: .npy, .npz, .csv, .json, images and folders of images."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from onnxwalk.interpreter.cli import _images
from onnxwalk.interpreter.cli._rows import (
    ArrayRows,
    ListRows,
    MemberRows,
    Rows,
    npz_members,
    open_npy,
)
from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import SequenceType, TensorInfo, TensorType
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.convert import (
    convert,
    declared_dtype,
    declared_shape,
    lacks_batch,
    tensor_type,
)


@dataclass
class Feed:
    """The values of one input; ``origin`` and ``notes`` say in the summary where they come from
    and how they were converted."""

    info: TensorInfo
    rows: Rows
    origin: str
    notes: list[str] = field(default_factory=list)

    def read(self) -> Any:
        """All rows at once."""
        return next(iter(self.rows.pieces(sys.maxsize)))


def read_inputs(session: HasInputs, texts: Sequence[str], scale: float | None) -> dict[str, Feed]:
    """The feeds of ``--input`` by name: each is NAME=FILE or FILE. Raises InvalidInputError."""
    feedable = {i.name: i for i in (*session.inputs, *session.overridable_initializers)}
    feeds: dict[str, Feed] = {}
    for text in texts:
        name, path = _parse_input(text, feedable)
        for feed in _read(session, feedable, name, path, scale):
            if feed.info.name in feeds:
                raise InvalidInputError(f"input '{feed.info.name}' was given twice")
            feeds[feed.info.name] = feed
    return feeds


def split_name(text: str, names: Iterable[str]) -> tuple[str | None, str]:
    """Split NAME=REST, where NAME is one of ``names``; these and the rest may contain "="."""
    for name in sorted(names, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    return None, text


def _parse_input(text: str, feedable: Mapping[str, TensorInfo]) -> tuple[str | None, Path]:
    name, path = split_name(text, feedable)
    if name is None and "=" in text and not Path(text).exists():
        unknown = text.split("=", 1)[0]
        raise InvalidInputError(f"no input named '{unknown}'; {_list_inputs(feedable.values())}")
    return name, Path(path)


def _read(
    session: HasInputs,
    feedable: Mapping[str, TensorInfo],
    name: str | None,
    path: Path,
    scale: float | None,
) -> list[Feed]:
    if not path.exists():
        raise InvalidInputError(f"{path}: no such file")
    single = feedable[name] if name is not None else None
    if single is None and len(session.inputs) == 1:
        single = session.inputs[0]

    suffix = path.suffix.lower()
    if suffix == ".npz":
        return [
            _from_member(feedable[key], member)
            for key, member in _select(npz_members(path), feedable, name, single, path).items()
        ]
    if suffix == ".json":
        values = _load_json(path)
        if isinstance(values, dict):
            selected = _select(values, feedable, name, single, path)
            return [_from_json(feedable[key], value, path) for key, value in selected.items()]
        return [_from_json(single or _fail_unnamed(session, path), values, path)]

    info = single or _fail_unnamed(session, path)
    if path.is_dir() or suffix in _images.SUFFIXES:
        paths = _images.find_images(path) if path.is_dir() else [path]
        origin = f"{len(paths)} images in {path}" if path.is_dir() else str(path)
        return [Feed(info, _images.ImageRows(paths, info, scale), origin)]
    if suffix == ".npy":
        return [_from_array(info, open_npy(path), str(path))]
    if suffix == ".csv":
        return [_from_csv(info, path)]
    raise InvalidInputError(
        f"{path}: unknown file type; use .npy, .npz, .csv, .json, an image "
        f"({' '.join(sorted(_images.SUFFIXES))}) or a folder of images"
    )


def _fail_unnamed(session: HasInputs, path: Path) -> NoReturn:
    hint = f"pass --input NAME={path}; " if session.inputs else ""
    raise InvalidInputError(
        f"{path}: can't tell which input it is for; {hint}{_list_inputs(session.inputs)}"
    )


def _list_inputs(infos: Iterable[TensorInfo]) -> str:
    listed = "; ".join(map(str, infos))
    return f"inputs of the model: {listed}" if listed else "the model has no inputs"


def _select(
    contents: Mapping[str, Any],
    feedable: Mapping[str, TensorInfo],
    name: str | None,
    single: TensorInfo | None,
    path: Path,
) -> dict[str, Any]:
    """The contents of an .npz or .json file by the inputs that they are for; none is ignored."""
    if not contents:
        raise InvalidInputError(f"{path}: the file is empty")
    if name is not None and name in contents:
        return {name: contents[name]}
    is_unnamed = name is not None or not set(contents) & {*feedable}
    if single is not None and len(contents) == 1 and is_unnamed:
        return {single.name: next(iter(contents.values()))}
    if name is not None:
        raise InvalidInputError(f"{path}: '{name}' not found; it contains {', '.join(contents)}")
    if unknown := [key for key in contents if key not in feedable]:
        raise InvalidInputError(
            f"{path}: '{unknown[0]}' is not an input; {_list_inputs(feedable.values())}"
        )
    return dict(contents)


# --- one input each


class _ConvertedRows:
    """Rows converted to the dtype of the input as they are read."""

    def __init__(self, rows: Rows, dtype: np.dtype | None, where: str) -> None:
        self.length, self.names = rows.length, rows.names
        self._rows, self._dtype, self._where = rows, dtype, where

    def pieces(self, size: int) -> Any:
        for piece in self._rows.pieces(size):
            yield convert(piece, self._dtype, self._where)


def _from_array(info: TensorInfo, array: np.ndarray, origin: str) -> Feed:
    """A feed from an array, which may be a memory map."""
    _check_tensor(info, origin)
    if lacks_batch(info, array.ndim):
        feed = _convert_rows(info, ArrayRows(array[None]), array.dtype, origin)
        feed.notes.append("batch dimension added")
        return feed
    return _convert_rows(info, ArrayRows(array), array.dtype, origin)


def _from_member(info: TensorInfo, member: MemberRows) -> Feed:
    """A feed from an array in an .npz file: one sample is read now, several as they are needed."""
    _check_tensor(info, member.where)
    if lacks_batch(info, len(member.shape)):
        (array,) = member.pieces(max(member.length or 0, 1))
        return _from_array(info, array, member.where)
    return _convert_rows(info, member, member.dtype, member.where)


def _convert_rows(info: TensorInfo, rows: Rows, stored: np.dtype, origin: str) -> Feed:
    dtype = declared_dtype(info)
    feed = Feed(info, _ConvertedRows(rows, dtype, f"{origin} for input '{info.name}'"), origin)
    if dtype is not None and dtype.kind != "O" and stored.newbyteorder("=") != dtype:
        feed.notes.append(f"converted from {stored}")
    return feed


def _check_tensor(info: TensorInfo, origin: str) -> None:
    if info.type is not None and tensor_type(info) is None:
        raise UnsupportedModelError(
            f"{origin}: input {info} is not a tensor, so it can't be read from a file"
        )


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: not a JSON file, or damaged: {error}") from error


def _from_json(info: TensorInfo, value: Any, path: Path) -> Feed:
    if isinstance(info.type, SequenceType) and isinstance(info.type.element, TensorType):
        if not isinstance(value, list):
            raise InvalidInputError(f"{path}: input {info} requires a list")
        item = TensorInfo(info.name, None, None, info.type.element)
        return Feed(info, ListRows([_parse_array(item, v, path) for v in value]), str(path))
    return _from_array(info, _parse_array(info, value, path), str(path))


#: how ``to_jsonable`` writes the numbers that JSON lacks
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _parse_array(info: TensorInfo, value: Any, path: Path) -> np.ndarray:
    """Nested lists as an array of the input's dtype. Raises InvalidInputError."""
    dtype = declared_dtype(info)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "U" and dtype is not None and dtype.kind != "O":
            array = np.asarray(_parse_not_finite(value))
        if array.dtype.kind == "U":  # asarray makes strings of numbers that stand among strings
            array = np.asarray(value, dtype=object)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{path}: the lists for input '{info.name}' differ in length or depth"
        ) from None
    if array.dtype == object and not all(isinstance(item, str) for item in array.flat):
        raise InvalidInputError(
            f"{path}: the lists for input '{info.name}' contain more than numbers or strings"
        )
    if array.size == 0 and dtype is not None:
        return array.astype(dtype)
    return convert(array, dtype, f"{path} for input '{info.name}'")


def _parse_not_finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_parse_not_finite(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


# --- CSV


def _from_csv(info: TensorInfo, path: Path) -> Feed:
    """A feed from a file with one row of numbers per sample; a first row without numbers is a
    header. A row is reshaped to the shape of a sample if that has as many elements."""
    dtype = declared_dtype(info)
    if dtype is not None and dtype.kind == "O":
        raise InvalidInputError(f"{path}: input {info} requires strings; use a .json file")
    _check_tensor(info, str(path))
    array, header = _read_csv(path, exact=dtype is not None and dtype.kind in "iu")
    shape = declared_shape(info)
    if shape and len(shape) != 2 and all(isinstance(size, int) for size in shape[1:]):
        sample = [int(size or 0) for size in shape[1:]]
        if math.prod(sample) == array.shape[1]:
            array = array.reshape(len(array), *sample)
    array = convert(array, dtype, f"{path} for input '{info.name}'")
    notes = ["first line is a header"] if header else []
    return Feed(info, ArrayRows(array), str(path), notes)


def _read_csv(path: Path, *, exact: bool) -> tuple[np.ndarray, bool]:
    """The numbers (rows, columns), and whether there was a header.

    ``exact`` keeps integers beyond float64's 53 bits. Raises InvalidInputError.
    """
    number: Callable[[str], Any] = _parse_exact if exact else float
    rows: list[np.ndarray] = []
    header = None
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for cells in (reader := csv.reader(file)):
                if not any(cell.strip() for cell in cells):
                    continue
                try:
                    row = np.array([number(cell) for cell in cells])
                except ValueError:
                    if header is None and not rows and not any(map(_is_number, cells)):
                        header = cells
                        continue
                    raise InvalidInputError(
                        f"{path}, line {reader.line_num}: {_describe_bad_cell(cells)}"
                    ) from None
                width = len(rows[0]) if rows else len(header) if header else len(row)
                if len(row) != width:
                    raise InvalidInputError(
                        f"{path}, line {reader.line_num}: expected {width} columns, got {len(row)}"
                    )
                rows.append(row)
    except (UnicodeDecodeError, csv.Error, OverflowError) as error:
        raise InvalidInputError(f"{path}: not a CSV file of numbers in UTF-8: {error}") from error
    if not rows:
        raise InvalidInputError(f"{path}: the file contains no rows of numbers")
    return np.stack(rows), header is not None


def _parse_exact(cell: str) -> int | float:
    try:
        return int(cell)
    except ValueError:
        value = float(cell)
        return int(value) if value.is_integer() else value


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _describe_bad_cell(cells: Sequence[str]) -> str:
    column, cell = next((i, c) for i, c in enumerate(cells, 1) if not _is_number(c))
    return f"{cell!r} in column {column} is not a number" if cell else f"column {column} is empty"
