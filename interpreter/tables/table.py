"""What every source of rows is: columns by name, read in pieces."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError


class Column(Protocol):
    """The cells of a column in one piece of a table."""

    def as_array(
        self, dtype: np.dtype | None, where: Callable[[int], str]
    ) -> tuple[np.ndarray, int]:
        """The cells in a dtype, (rows,) or (rows, …) if cells are arrays, and how many of them are
        missing; ``where`` says of a row where it is. Raises InvalidInputError."""
        ...

    def part(self, start: int, stop: int) -> Column:
        """The cells of some rows."""
        ...


class EmptyTableError(InvalidInputError):
    """A file of rows has none."""


class Table:
    """Rows with columns. Several inputs read the columns of one table in step: each piece is read
    once.

    ``origin``: the file, for messages. ``columns``: the names; by their numbers if ``has_names`` is
    false. ``notes``: what was found, for the summary. ``unfed``: columns that only name the rows.

    A table that ``is_tolerant`` has rows that can't be read at all, lines with too few cells, as
    others; ``broken`` says of those in the current piece, by their number in it, why.
    """

    origin: str
    argument = property(lambda self: "-" if self.origin == "stdin" else self.origin)
    columns: Sequence[str]
    has_names: bool = True
    length: int
    notes: Sequence[str] = ()
    unfed: frozenset[int] = frozenset()

    def __init__(self, *, is_tolerant: bool = False) -> None:
        self.is_tolerant = is_tolerant
        self.broken: Mapping[int, str] = {}
        self._wanted: set[int] = set()
        self._size = self._index = -1
        self._pieces: Iterator[dict[int, Column]] = iter(())
        self._piece: dict[int, Column] = {}

    def read(self, size: int, wanted: Sequence[int]) -> Iterator[dict[int, Column]]:
        """The wanted columns, at most ``size`` rows at a time."""
        raise NotImplementedError

    def where(self, index: int, size: int, row: int) -> str:
        """Where a row of a piece is, for messages."""
        return f"{self.origin}, row {index * size + row} (the first is 0)"

    def hint(self, name: str, columns: Sequence[str]) -> str:
        """What a caller writes to choose columns for an input, for messages."""
        quoted = [f'"{column}"' if "," in column else column for column in columns]
        return f"--input {shlex.quote(f'{name}={self.argument}:' + ','.join(quoted))}"

    def want(self, columns: Sequence[int]) -> None:
        """Say that these columns will be read."""
        self._wanted |= set(columns)

    def piece(self, size: int, index: int) -> dict[int, Column]:
        """The wanted columns of one piece; those before and after it follow in order."""
        if self._size != size or index < self._index or index == 0 != self._index:
            self._pieces = self.read(size, sorted(self._wanted))
            self._size, self._index = size, -1
        while self._index < index:
            self._piece = next(self._pieces)
            self._index += 1
        return self._piece
