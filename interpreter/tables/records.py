"""Records: .jsonl files and lists of dicts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.tables.cells import ValueColumn
from onnxwalk.interpreter.tables.table import Column, EmptyTableError, Table
from onnxwalk.interpreter.tables.text import open_text


class RecordTable(Table):
    """Records: dicts of values by the name of their column, or lists of values."""

    def __init__(self, records: Sequence[Any], origin: str) -> None:
        """Raises InvalidInputError if there are none, or of different kinds."""
        super().__init__()
        self.origin, self._records = origin, records
        self._start(records)

    def _start(self, records: Any) -> None:
        """Find the columns, and count the records."""
        columns: dict[str, int] = {}
        width: int | None = None
        self.length = 0
        self._wrong: dict[int, str] = {}  # the broken ones, by number
        for record in records:
            wrong = ""
            if isinstance(record, _Broken):
                wrong = record.reason
            elif isinstance(record, Mapping):
                if width is None:
                    for name in record:
                        columns.setdefault(name, len(columns))
                else:
                    wrong = "an object, but the rows before are lists"
            else:
                size = len(record) if isinstance(record, (list, tuple)) else 1
                if columns:
                    wrong = "not an object, as the rows before"
                elif width not in (None, size):
                    wrong = f"expected {width} values, got {size}"
                else:
                    width = size
            if wrong and not isinstance(record, _Broken):
                wrong = f"{self.where(0, 0, self.length)}: {wrong}"
            if wrong and not self.is_tolerant:
                raise InvalidInputError(wrong)
            if wrong:
                self._wrong[self.length] = wrong
            self.length += 1
        if not self.length:
            raise EmptyTableError(f"{self.origin}: there are no records")
        self.has_names = width is None
        self.columns = [*columns] if width is None else [f"value {i}" for i in range(1, width + 1)]

    def _iterate(self) -> Iterator[Any]:
        return iter(self._records)

    def read(self, size: int, wanted: Sequence[int]) -> Iterator[dict[int, Column]]:
        """See ``Table``. A name that a record lacks is a missing value."""
        records = self._iterate()
        for first in itertools.count(0, size):
            if not (piece := list(itertools.islice(records, size))):
                return
            self.broken = {
                i: self._wrong[first + i] for i in range(len(piece)) if first + i in self._wrong
            }
            for i in self.broken:
                piece[i] = {} if self.has_names else [None] * len(self.columns)
            if self.has_names:
                yield {
                    i: ValueColumn([record.get(self.columns[i]) for record in piece])
                    for i in wanted
                }
            else:
                rows = [r if isinstance(r, (list, tuple)) else [r] for r in piece]
                yield {i: ValueColumn([row[i] for row in rows]) for i in wanted}


class _Broken:
    """What stands for a line that is no record, in a tolerant table."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class JsonLinesTable(RecordTable):
    """A .jsonl file: a JSON value on each line. It is read through once when it is opened."""

    def __init__(
        self,
        path: Path,
        encoding: str | None = None,
        origin: str = "",
        *,
        is_tolerant: bool = False,
    ) -> None:
        """Raises InvalidInputError."""
        Table.__init__(self, is_tolerant=is_tolerant)
        self.origin = origin or str(path)
        self._path, self._encoding = path, encoding
        self._start(self._iterate())

    def _iterate(self) -> Iterator[Any]:
        with open_text(self._path, self._encoding) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        record = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        record = _Broken(f"{self.origin}, line {number}: not JSON: {error}")
                        if not self.is_tolerant:
                            raise InvalidInputError(record.reason) from error
                    yield record
