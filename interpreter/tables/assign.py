"""Which columns of a table are for which inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.tables.convert import declared_dtype, declared_shape
from onnxwalk.interpreter.tables.table import Column, Table
from onnxwalk.interpreter.tables.tolerant import read_tolerantly


class TableRows:
    """Columns of a table as the rows of an input, read in pieces.

    ``notes`` grows while they are read: it counts the missing values. Of a tolerant table so does
    ``damaged``: the rows that can't be read, by number, and why; they are zeros.
    """

    names: list[str] | None = None

    def __init__(self, table: Table, columns: Sequence[int], info: TensorInfo) -> None:
        self.length: int | None = table.length
        self.table, self.columns = table, list(columns)
        self.notes: list[str] = []
        self.damaged: dict[int, str] = {}
        self._info, self._dtype = info, declared_dtype(info)
        self._missing: dict[int, int] = {}
        table.want(columns)

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, …) of the input's dtype and rank."""
        size = min(size, max(self.table.length, 1))
        for index in range(max(-(-self.table.length // size), 1)):
            cells = self.table.piece(size, index)
            arrays = [self._array(cells[i], i, size, index) for i in self.columns]
            self.notes[:] = self._describe_missing()
            yield shaped(arrays, self._info, self.table.origin)

    def read(self) -> np.ndarray:
        """All rows at once."""
        return next(self.pieces(max(self.table.length, 1)))

    def _array(self, column: Column, i: int, size: int, index: int) -> np.ndarray:
        def where(row: int) -> str:
            place = self.table.where(index, size, row)
            name = self.table.columns[i]
            name = f"column {name!r}" if self.table.has_names else name
            return f"{place}, {name}, for input '{self._info.name}'"

        def read(start: int, stop: int) -> np.ndarray:
            part = column if stop - start == rows else column.part(start, stop)
            array, missing = part.as_array(self._dtype, lambda row: where(start + row))
            if missing:
                self._missing[i] = self._missing.get(i, 0) + missing
            return array

        rows = min(size, self.table.length - index * size)
        if not self.table.is_tolerant:
            return read(0, rows)
        first = index * size
        self.damaged |= {first + row: why for row, why in self.table.broken.items()}
        return read_tolerantly(
            read, rows, self._dtype, lambda row, why: self.damaged.setdefault(first + row, why)
        )

    def _describe_missing(self) -> list[str]:
        became = "empty strings" if self._dtype is not None and self._dtype.kind == "O" else "NaN"
        return [
            f"{number:,} missing in {self.table.columns[i]}, fed as {became}"
            for i, number in self._missing.items()
        ]


def shaped(arrays: Sequence[np.ndarray], info: TensorInfo, origin: str) -> np.ndarray:
    """Columns (rows,) or (rows, …) in the shape of an input: (rows,), (rows, columns), or that of a
    sample that has as many elements. Raises InvalidInputError."""
    shape = declared_shape(info)
    if len(arrays) == 1 and (arrays[0].ndim > 1 or (shape is not None and len(shape) == 1)):
        array = arrays[0]
    elif odd := [array for array in arrays if array.ndim > 1]:
        raise InvalidInputError(
            f"{origin}: for input {info} several columns were given, one of which has lists of "
            f"shape {odd[0].shape[1:]}; pass that one alone"
        )
    else:
        array = np.stack(arrays, axis=1)
    if shape and len(shape) != array.ndim and all(isinstance(size, int) for size in shape[1:]):
        sample = [int(size or 0) for size in shape[1:]]
        if math.prod(sample) == math.prod(array.shape[1:]):
            array = array.reshape(len(array), *sample)
    return array


def assign(
    table: Table, infos: Mapping[str, TensorInfo], required: Sequence[TensorInfo]
) -> dict[str, list[int]]:
    """The columns of each input: those of its name; or all of them, if there is one input.

    ``infos``: the inputs that can be fed, by name; ``required``: those that have to be. Raises
    InvalidInputError if columns fit no input.
    """
    named = _by_name(table, infos) if table.has_names else {}
    single = required[0] if len(required) == 1 else None
    if single is not None and not (_width(single) in (1, None) and single.name in named):
        return {**named, single.name: all_columns(table, single)}
    if not named:
        listed = "; ".join(map(str, infos.values())) or "none"
        raise InvalidInputError(
            f"{table.origin}: no column has the name of an input; the columns are "
            f"{list_columns(table)}, the inputs {listed}; say which: "
            f"{table.hint('NAME', ['COLUMN', '…'])}"
        )
    for name in named:
        check_width(table, named[name], infos[name])
    return named


def assign_named(
    table: Table, names: Sequence[str], infos: Mapping[str, TensorInfo]
) -> dict[str, list[int]]:
    """These columns, each for the input of its name. Raises InvalidInputError."""
    found = _by_name(table, infos) if table.has_names else {}
    chosen = {}
    for name in names:
        (place,) = _places(table, name)
        inputs = [known for known, places in found.items() if places == [place]]
        if not inputs:
            listed = "; ".join(map(str, infos.values()))
            raise InvalidInputError(
                f"{table.origin}: can't tell which input column {name!r} is for; say which: "
                f"{table.hint('NAME', [name])}; inputs of the model: {listed}"
            )
        chosen[inputs[0]] = [place]
        check_width(table, [place], infos[inputs[0]])
    return chosen


def select(table: Table, names: Sequence[str], info: TensorInfo) -> list[int]:
    """The columns of these names or, of tables without a header, numbers. Raises
    InvalidInputError."""
    found = [place for name in names for place in _places(table, name)]
    check_width(table, found, info)
    return found


def _places(table: Table, name: str) -> list[int]:
    """The one column of a name or number. Raises InvalidInputError."""
    places = [i for i, known in enumerate(table.columns) if known == name]
    if not places and name.isdecimal() and 1 <= int(name) <= len(table.columns):
        return [int(name) - 1]
    if len(places) != 1:
        problem = "several columns are" if places else "no column is"
        hint = "" if places else suggest(name, table.columns)
        raise InvalidInputError(f"{table.origin}: {problem} named {name!r}{hint}")
    return places


def all_columns(table: Table, info: TensorInfo) -> list[int]:
    """The columns for one input: the one of its name if it takes one, or doesn't take all of them;
    otherwise all.

    Raises InvalidInputError if it takes another number of columns.
    """
    columns = [i for i in range(len(table.columns)) if i not in table.unfed]
    width = _width(info)
    if width == 1 and len(columns) > 1 and info.name in table.columns:
        return select(table, [info.name], info)
    if table.unfed and width == len(columns) + len(table.unfed):
        columns = [*range(len(table.columns))]
    if width not in (None, len(columns)) and info.name in table.columns:  # of lists, beside others
        return select(table, [info.name], info)
    check_width(table, columns, info)
    return columns


def check_width(table: Table, columns: Sequence[int], info: TensorInfo) -> None:
    """Raise InvalidInputError if an input doesn't take this number of columns."""
    width = _width(info)
    if width is None or width == len(columns) or len(columns) == 1:
        return  # one column may hold lists: their length is checked when they are read
    example = [table.columns[i] if table.has_names else str(i + 1) for i in columns[:width]]
    more = ["…"] if width > len(columns) else []
    raise InvalidInputError(
        f"{table.origin}: input {info} takes {width} column{'s' if width > 1 else ''}, but there "
        f"are {len(columns)}: {list_columns(table, columns)}; say which: "
        f"{table.hint(info.name, [*example, *more])}"
    )


def list_columns(table: Table, columns: Sequence[int] | None = None) -> str:
    """The names of columns, for messages: the first twelve."""
    names = [table.columns[i] for i in (range(len(table.columns)) if columns is None else columns)]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _by_name(table: Table, infos: Mapping[str, TensorInfo]) -> dict[str, list[int]]:
    """The column of each input that has one of its name; written the same, or as it is after
    exporters have made a name of letters, digits and underscores of it."""
    found = {}
    for name in infos:
        for alike in (str, _plain):
            places = [i for i, column in enumerate(table.columns) if alike(column) == alike(name)]
            if len(places) == 1:
                found[name] = places
                break
            if places:
                raise InvalidInputError(
                    f"{table.origin}: several columns are named {table.columns[places[0]]!r}, "
                    f"as input {infos[name]}"
                )
    return found


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").lower()


def _width(info: TensorInfo) -> int | None:
    """How many numbers a row of an input has; ``None`` if it doesn't say."""
    shape = declared_shape(info)
    if shape is None:
        return None
    sizes = shape[1:]
    if not all(isinstance(size, int) for size in sizes):
        return None
    return math.prod(int(size or 0) for size in sizes)
