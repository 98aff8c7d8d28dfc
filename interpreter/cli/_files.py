"""Files become the values of inputs: .npy, .npz, .csv, .json, images and folders of images."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _images
from onnxwalk.interpreter.cli._convert import (
    convert,
    declared_dtype,
    declared_shape,
    lacks_batch,
    tensor_type,
)
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


@dataclass
class Feed:
    """One input: where its values come from, and what was done to them, for the summary."""

    info: TensorInfo
    rows: Rows
    origin: str
    notes: list[str] = field(default_factory=list)


def read_inputs(session: HasInputs, given: Sequence[str], scale: float | None) -> dict[str, Feed]:
    """The inputs that ``--input`` names, by name: each of ``given`` is NAME=FILE or FILE.

    Raises InvalidInputError.
    """
    feedable = {i.name: i for i in (*session.inputs, *session.overridable_initializers)}
    feeds: dict[str, Feed] = {}
    for text in given:
        name, path = _split(text, feedable)
        for feed in _read(session, feedable, name, path, scale):
            if feed.info.name in feeds:
                raise InvalidInputError(f"input '{feed.info.name}' is given twice")
            feeds[feed.info.name] = feed
    return feeds


def _split(text: str, feedable: Mapping[str, TensorInfo]) -> tuple[str | None, Path]:
    """NAME=FILE or FILE apart; names and files may have "=" in them."""
    for name in sorted(feedable, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, Path(text[len(name) + 1 :])
    if "=" in text and not Path(text).exists():
        name = text.split("=", 1)[0]
        raise InvalidInputError(f"no input is named '{name}'; {_there_are(feedable.values())}")
    return None, Path(text)


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
            for key, member in _by_name(npz_members(path), feedable, name, single, path).items()
        ]
    if suffix == ".json":
        values = _json(path)
        if isinstance(values, dict):
            chosen = _by_name(values, feedable, name, single, path)
            return [_from_json(feedable[key], value, path) for key, value in chosen.items()]
        return [_from_json(single or _unnamed(session, path), values, path)]

    info = single or _unnamed(session, path)
    if path.is_dir() or suffix in _images.SUFFIXES:
        paths = _images.find_images(path) if path.is_dir() else [path]
        origin = f"{len(paths)} images in {path}" if path.is_dir() else str(path)
        return [Feed(info, _images.ImageRows(paths, info, scale), origin)]
    if suffix == ".npy":
        return [_from_array(info, open_npy(path), str(path))]
    if suffix == ".csv":
        return [_from_csv(info, path)]
    raise InvalidInputError(
        f"{path}: can't tell what it is by its name; give .npy, .npz, .csv, .json, an image "
        f"({' '.join(sorted(_images.SUFFIXES))}) or a folder of images"
    )


def _unnamed(session: HasInputs, path: Path) -> TensorInfo:
    if not session.inputs:
        raise InvalidInputError(f"{path}: the model takes no inputs")
    raise InvalidInputError(
        f"{path}: which input is it? Give --input NAME={path}; {_there_are(session.inputs)}"
    )


def _there_are(infos: Any) -> str:
    return "the model takes " + ("; ".join(map(str, infos)) or "no inputs")


def _by_name(
    found: Mapping[str, Any],
    feedable: Mapping[str, TensorInfo],
    name: str | None,
    single: TensorInfo | None,
    path: Path,
) -> dict[str, Any]:
    """Which input each part of an .npz or .json file is for; nothing is left over."""
    if not found:
        raise InvalidInputError(f"{path}: nothing in it")
    if name is not None and name in found:
        return {name: found[name]}
    if (
        single is not None
        and len(found) == 1
        and (name is not None or not set(found) & {*feedable})
    ):
        return {single.name: next(iter(found.values()))}
    if name is not None:
        raise InvalidInputError(f"{path}: no '{name}' in it; there are {', '.join(found)}")
    if unknown := [key for key in found if key not in feedable]:
        raise InvalidInputError(
            f"{path}: '{unknown[0]}' is no input; {_there_are(feedable.values())}"
        )
    return dict(found)


# --- one input each


class _Converted:
    """Rows in the dtype that the input declares; what doesn't fit is refused as it is read."""

    def __init__(self, rows: Rows, dtype: np.dtype | None, where: str) -> None:
        self.length, self.names = rows.length, rows.names
        self._rows, self._dtype, self._where = rows, dtype, where

    def pieces(self, size: int) -> Any:
        for piece in self._rows.pieces(size):
            yield convert(piece, self._dtype, self._where)


def _from_array(info: TensorInfo, array: np.ndarray, origin: str) -> Feed:
    """An input out of an array that may be a memory map."""
    _check_tensor(info, origin)
    if lacks_batch(info, array.ndim):
        feed = _converted(info, ArrayRows(array[None]), array.dtype, origin)
        feed.notes.append("batch dimension added")
        return feed
    return _converted(info, ArrayRows(array), array.dtype, origin)


def _from_member(info: TensorInfo, member: MemberRows) -> Feed:
    """An input out of an .npz file; one sample is read at once, many as they are needed."""
    _check_tensor(info, member.where)
    if lacks_batch(info, len(member.shape)):
        (whole,) = member.pieces(max(member.length or 0, 1))
        return _from_array(info, whole, member.where)
    return _converted(info, member, member.dtype, member.where)


def _converted(info: TensorInfo, rows: Rows, given: np.dtype, origin: str) -> Feed:
    dtype = declared_dtype(info)
    feed = Feed(info, _Converted(rows, dtype, f"{origin} for input '{info.name}'"), origin)
    if dtype is not None and dtype.kind != "O" and given.newbyteorder("=") != dtype:
        feed.notes.append(f"converted from {given}")
    return feed


def _check_tensor(info: TensorInfo, origin: str) -> None:
    if info.type is not None and tensor_type(info) is None:
        raise UnsupportedModelError(f"{origin}: input {info} is no tensor, which a file can't give")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: no JSON, or a damaged file: {error}") from error


def _from_json(info: TensorInfo, value: Any, path: Path) -> Feed:
    if isinstance(info.type, SequenceType) and isinstance(info.type.element, TensorType):
        if not isinstance(value, list):
            raise InvalidInputError(f"{path}: input {info} takes a list")
        item = TensorInfo(info.name, None, None, info.type.element)
        return Feed(info, ListRows([_json_array(item, v, path) for v in value]), str(path))
    return _from_array(info, _json_array(info, value, path), str(path))


#: how `jsonable` writes what JSON has no number for
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _json_array(info: TensorInfo, value: Any, path: Path) -> np.ndarray:
    """Nested lists as an array of the input's dtype. Raises InvalidInputError."""
    dtype = declared_dtype(info)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "U" and dtype is not None and dtype.kind != "O":
            array = np.asarray(_numbers(value))
        if array.dtype.kind == "U":  # or numbers among the strings become strings unnoticed
            array = np.asarray(value, dtype=object)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{path}: the lists for input '{info.name}' differ in length or depth"
        ) from None
    if array.dtype == object and not all(isinstance(item, str) for item in array.flat):
        raise InvalidInputError(
            f"{path}: the lists for input '{info.name}' hold something else than numbers or strings"
        )
    if array.size == 0 and dtype is not None:
        return array.astype(dtype)
    return convert(array, dtype, f"{path} for input '{info.name}'")


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


# --- CSV


def _from_csv(info: TensorInfo, path: Path) -> Feed:
    """Numbers, one row per sample; a first row without any number is a header.

    A row is given the shape of a sample if it has as many numbers.
    """
    dtype = declared_dtype(info)
    if dtype is not None and dtype.kind == "O":
        raise InvalidInputError(f"{path}: input {info} takes strings: give them as .json")
    _check_tensor(info, str(path))
    array, header = _read_csv(path, exact=dtype is not None and dtype.kind in "iu")
    shape = declared_shape(info)
    if shape and len(shape) != 2 and all(isinstance(size, int) for size in shape[1:]):
        sample = [int(size or 0) for size in shape[1:]]
        if math.prod(sample) == array.shape[1]:
            array = array.reshape(len(array), *sample)
    array = convert(array, dtype, f"{path} for input '{info.name}'")
    notes = ["first line taken as a header"] if header else []
    return Feed(info, ArrayRows(array), str(path), notes)


def _read_csv(path: Path, *, exact: bool) -> tuple[np.ndarray, bool]:
    """The numbers (rows, columns), and whether there was a header.

    ``exact`` keeps whole numbers beyond float64's 53 bits. Raises InvalidInputError.
    """
    number: Callable[[str], Any] = _exact if exact else float
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
                        f"{path}, line {reader.line_num}: {_not_a_number(cells)}"
                    ) from None
                width = len(rows[0]) if rows else len(header) if header else len(row)
                if len(row) != width:
                    raise InvalidInputError(
                        f"{path}, line {reader.line_num}: {len(row)} columns, there were {width}"
                    )
                rows.append(row)
    except (UnicodeDecodeError, csv.Error, OverflowError) as error:
        raise InvalidInputError(f"{path}: no CSV file of numbers in UTF-8: {error}") from error
    if not rows:
        raise InvalidInputError(f"{path}: no rows of numbers in it")
    return np.stack(rows), header is not None


def _exact(cell: str) -> int | float:
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


def _not_a_number(cells: Sequence[str]) -> str:
    column, cell = next((i, c) for i, c in enumerate(cells, 1) if not _is_number(c))
    return f"{cell!r} in column {column} is no number" if cell else f"column {column} is empty"
