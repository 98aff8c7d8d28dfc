"""Data frames: pandas, Polars, pyarrow, and whatever has the dataframe interchange protocol.

Nothing is imported: a frame has names of columns and gives a column by its name.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.tables.assign import TableRows, assign, check_width
from onnxwalk.interpreter.tables.cells import ValueColumn
from onnxwalk.interpreter.tables.records import RecordTable
from onnxwalk.interpreter.tables.table import Column, Table

_Values: TypeAlias = "np.ndarray | list[Any]"


class FrameTable(Table):
    """Columns in memory: their names, their length, and a function of a column's number that
    returns its values."""

    def __init__(
        self, origin: str, columns: Sequence[str], length: int, values: Callable[[int], _Values]
    ) -> None:
        super().__init__()
        self.origin, self.columns, self.length, self._values = origin, columns, length, values

    def read(self, size: int, wanted: Sequence[int]) -> Iterator[dict[int, Column]]:
        """See ``Table``."""
        columns = {i: self._values(i) for i in wanted}
        for start in range(0, max(self.length, 1), size):
            yield {i: ValueColumn(values[start : start + size]) for i, values in columns.items()}

    def hint(self, name: str, columns: Sequence[str]) -> str:
        """See ``Table``."""
        return f'{{"{name}": frame[{[*columns]!r}]}}'


def frame_table(frame: Any, origin: str) -> FrameTable:
    """The columns of a data frame.

    Raises InvalidInputError for one that isn't computed yet, or has a name twice.
    """
    if _is_lazy(frame):
        raise InvalidInputError(f"{origin} isn't computed yet; call .collect()")
    names = _names(frame)
    if names is None:
        return _from_protocol(frame, origin)
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidInputError(f"{origin} has several columns named {twice[0]!r}")

    def values(i: int) -> _Values:
        return _series_values(frame[names[i]])

    return FrameTable(origin, list(map(str, names)), len(frame), values)


def _from_protocol(frame: Any, origin: str) -> FrameTable:
    from onnxwalk.interpreter.tables.interchange import column_values  # ctypes, which may be absent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas would rather not be asked
        exchanged = frame.__dataframe__(allow_copy=True)

    names = list(exchanged.column_names())

    def values(i: int) -> _Values:
        try:
            return column_values(exchanged.get_column(i))
        except (ValueError, TypeError, NotImplementedError) as error:
            raise InvalidInputError(f"{origin}, column {names[i]!r}: {error}") from error

    return FrameTable(origin, names, exchanged.num_rows(), values)


def _series_values(series: Any) -> _Values:
    """The values of one column, of any library that makes a NumPy array of it."""
    array = series.to_numpy() if hasattr(series, "to_numpy") else np.asarray(series)
    return array.tolist() if array.dtype == object else array


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame."""
    if isinstance(value, (np.ndarray, np.generic, Mapping, list, tuple, str, int, float)):
        return False
    if hasattr(value, "__dataframe__") or _is_lazy(value):
        return True
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and _names(value) is not None


def is_series(value: Any) -> bool:
    """Whether a value is one column of a data frame."""
    if isinstance(value, (np.ndarray, np.generic)) or is_frame(value):
        return False
    return hasattr(value, "to_numpy") and hasattr(value, "__len__")


def feeds_of(
    frame: Any, infos: Mapping[str, TensorInfo], required: Sequence[TensorInfo]
) -> dict[str, Any] | None:
    """The feeds that a data frame, or a list of records, stands for; ``None`` if it is neither.

    Raises InvalidInputError for columns that fit no input.
    """
    table: Table
    if is_frame(frame):
        table = frame_table(frame, f"the {type(frame).__name__}")
    elif isinstance(frame, list) and frame and all(isinstance(row, Mapping) for row in frame):
        table = RecordTable(frame, "the records")
    else:
        return None
    return {name: part.read() for name, part in _rows_of(table, infos, required).items()}


def rows_of(
    frame: Any, infos: Mapping[str, TensorInfo], required: Sequence[TensorInfo]
) -> dict[str, TableRows]:
    """As ``feeds_of``, of a data frame, before its values are read."""
    return _rows_of(frame_table(frame, f"the {type(frame).__name__}"), infos, required)


def _rows_of(
    table: Table, infos: Mapping[str, TensorInfo], required: Sequence[TensorInfo]
) -> dict[str, TableRows]:
    chosen = assign(table, infos, required)
    return {name: TableRows(table, columns, infos[name]) for name, columns in chosen.items()}


def feed_of(value: Any, info: TensorInfo) -> np.ndarray:
    """A data frame, with all its columns, or a series as the value of an input.

    Raises InvalidInputError if it doesn't fit.
    """
    origin = f"the {type(value).__name__} for input '{info.name}'"
    if is_frame(value):
        table = frame_table(value, origin)
    else:
        name = str(getattr(value, "name", None) or info.name)
        table = FrameTable(origin, [name], len(value), lambda _: _series_values(value))
    columns = range(len(table.columns))
    check_width(table, columns, info)
    return TableRows(table, columns, info).read()


def _is_lazy(frame: Any) -> bool:
    return hasattr(frame, "collect") and not hasattr(frame, "to_numpy")


def _names(frame: Any) -> list[Any] | None:
    """The names of the columns; ``None`` if the frame doesn't list them."""
    for attribute in ("column_names", "columns"):
        names = getattr(frame, attribute, None)
        if names is not None and not callable(names):
            return list(names)
    return None
