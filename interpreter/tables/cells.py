"""Arrays of columns: from text, and from values of Python or NumPy."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.tables.convert import convert
from onnxwalk.interpreter.tables.numbers import Numbers
from onnxwalk.interpreter.tables.table import Column
from onnxwalk.ops.contract.dtypes import element_type

Where = Callable[[int], str]

#: how JSON, which lacks them, has the numbers that aren't finite
_NOT_FINITE = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


class TextColumn:
    """Cells of a text file."""

    def __init__(self, cells: Sequence[str], numbers: Numbers) -> None:
        self.cells, self._numbers = cells, numbers

    def part(self, start: int, stop: int) -> TextColumn:
        """See ``Column``."""
        return TextColumn(self.cells[start:stop], self._numbers)

    def as_array(self, dtype: np.dtype | None, where: Where) -> tuple[np.ndarray, int]:
        """See ``Column``. Strings are as they stand in the file, empty or not."""
        if dtype is not None and dtype.kind == "O":
            return np.array([*self.cells, None], object)[:-1], 0
        whole = dtype is not None and _is_whole(dtype)
        if (values := self._plain_numbers(int if whole else float)) is not None:
            return convert(values, dtype, where), 0
        numbers: list[int | float | None] = []
        for row, cell in enumerate(self.cells):
            try:
                numbers.append(self._numbers.parse(cell))
            except ValueError as error:
                raise InvalidInputError(f"{where(row)}: {error}") from None
        return _fill(numbers, dtype, where)

    def _plain_numbers(self, parse: Callable[[str], Any]) -> np.ndarray | None:
        """The cells as numbers if Python reads all of them, the fast way."""
        text = "".join(self.cells)
        if "_" in text or "," in text or "n" in text or "N" in text:
            return None
        if self._numbers.decimal == "," and "." in text:
            return None
        try:
            return np.array([*map(parse, self.cells)], np.int64 if parse is int else np.float64)
        except (ValueError, OverflowError):
            return None


class ValueColumn:
    """Values of any source that has types: an array, or a list with ``None`` for missing ones."""

    def __init__(self, values: np.ndarray | list[Any]) -> None:
        self.values = values

    def part(self, start: int, stop: int) -> ValueColumn:
        """See ``Column``."""
        return ValueColumn(self.values[start:stop])

    def as_array(self, dtype: np.dtype | None, where: Where) -> tuple[np.ndarray, int]:
        """See ``Column``. A missing string is empty."""
        values = self.values
        if isinstance(values, np.ndarray) and values.dtype.kind in "biufc":
            return _from_numbers(values, dtype, where)
        if isinstance(values, np.ndarray) and values.dtype.kind not in "OUT":
            raise InvalidInputError(f"{where(0)}: expected numbers or strings, got {values.dtype}")
        if isinstance(values, np.ndarray):
            values = values.tolist()
        if (array := _plain_array(values, dtype)) is not None:
            return _from_numbers(array, dtype, where)
        cells = [None if _is_missing(value) else value for value in values]
        if dtype is not None and dtype.kind == "O":
            return _from_strings(cells, where)
        filled = next((cell for cell in cells if cell is not None), None)
        if isinstance(filled, (list, np.ndarray)):
            return _from_lists(cells, dtype, where)
        for row, cell in enumerate(cells):
            if isinstance(cell, str) and cell in _NOT_FINITE:
                cells[row] = _NOT_FINITE[cell]
            elif isinstance(cell, decimal.Decimal):
                cells[row] = float(cell)
            elif cell is not None and not isinstance(cell, (bool, int, float, np.number, np.bool_)):
                raise InvalidInputError(f"{where(row)}: {_shown(cell)} is not a number")
        return _fill(cells, dtype, where)


def _plain_array(values: Any, dtype: np.dtype | None) -> np.ndarray | None:
    """Numbers as an array, the fast way, if no integer loses digits in it."""
    if dtype is not None and dtype.kind == "O":
        return None
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return None
    is_whole = dtype is None or _is_whole(dtype)
    return (
        array if array.ndim == 1 and array.dtype.kind in ("biu" if is_whole else "biuf") else None
    )


def as_texts(column: Column, where: Where) -> list[str]:
    """The cells as text, for a column of texts or labels: numbers as they are written."""
    if isinstance(column, ValueColumn) and not isinstance(column.values[0], (str, type(None))):
        return [str(value) for value in column.values]
    array, _ = column.as_array(np.dtype(object), where)
    return list(array)


def _from_numbers(
    values: np.ndarray, dtype: np.dtype | None, where: Where
) -> tuple[np.ndarray, int]:
    missing = np.isnan(values) if values.dtype.kind in "fc" else np.zeros(values.shape, bool)
    if missing.any() and dtype is not None and not _has_nan(dtype):
        row = int(np.argwhere(missing)[0][0])
        raise _missing(where(row), dtype)
    return convert(values, dtype, where), int(missing.sum())


def _from_strings(cells: list[Any], where: Where) -> tuple[np.ndarray, int]:
    for row, cell in enumerate(cells):
        if cell is not None and not isinstance(cell, str):
            raise InvalidInputError(f"{where(row)}: expected a string, got {_shown(cell)}")
    array = np.array([*("" if cell is None else cell for cell in cells), None], object)[:-1]
    return array, sum(cell is None for cell in cells)


def _from_lists(cells: list[Any], dtype: np.dtype | None, where: Where) -> tuple[np.ndarray, int]:
    shape = None
    for row, cell in enumerate(cells):
        if cell is None:
            raise InvalidInputError(f"{where(row)}: the value is missing, where others are lists")
        size = np.shape(cell) if _is_even(cell) else None
        if size is None or (shape is not None and size != shape):
            raise InvalidInputError(f"{where(row)}: the lists differ in length or depth")
        shape = size
    array = np.asarray(cells)
    if array.dtype.kind in "OU":
        array = np.asarray(_with_gaps(cells))
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(f"{where(0)}: expected lists of numbers, got {_shown(cells[0])}")
    return _from_numbers(array, dtype, where)


def _with_gaps(value: Any) -> Any:
    """Nested lists, with NaN for ``None`` and the numbers that JSON has as strings."""
    if isinstance(value, list):
        return [_with_gaps(item) for item in value]
    return np.nan if value is None else _NOT_FINITE.get(value, value)


def _is_even(value: Any) -> bool:
    try:
        np.asarray(value)
    except ValueError:
        return False
    return True


def _fill(numbers: list[Any], dtype: np.dtype | None, where: Where) -> tuple[np.ndarray, int]:
    """Numbers in a dtype, NaN for the missing ones if it has that."""
    missing = sum(number is None for number in numbers)
    if missing:
        if dtype is not None and not _has_nan(dtype):
            raise _missing(where(numbers.index(None)), dtype)
        numbers = [np.nan if number is None else number for number in numbers]
    if dtype is not None and _is_whole(dtype):  # 3.0 among integers of more than 53 bits
        numbers = [
            int(n) if isinstance(n, (float, np.floating)) and float(n).is_integer() else n
            for n in numbers
        ]
    array = np.array(numbers or [], dtype=None if numbers else np.float64)
    if array.dtype == object:  # integers beyond 64 bits
        if dtype is None or _is_whole(dtype):
            row = next(i for i, n in enumerate(numbers) if abs(n) >= 2**63)
            raise InvalidInputError(f"{where(row)}: {_shown(numbers[row])} is too large")
        array = array.astype(np.float64)
    return convert(array, dtype, where), missing


def _missing(place: str, dtype: np.dtype) -> InvalidInputError:
    return InvalidInputError(
        f"{place}: the value is missing, and {dtype}, the type of the input, has none for that; "
        "fill it in, or leave the row out"
    )


def _is_whole(dtype: np.dtype) -> bool:
    return dtype.kind in "iu"


def _has_nan(dtype: np.dtype) -> bool:
    """Whether a numeric dtype has NaN."""
    if dtype.kind in "biu":
        return False
    return dtype.kind in "fc" or "float" in element_type(dtype).name


def _is_missing(value: Any) -> bool:
    """None, NaN, and what pandas has in their place."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(value != value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
