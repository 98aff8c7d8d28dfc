"""Records: .jsonl files and lists of dicts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.tables.cells import ValueColumn
from onnxwalk.interpreter.tables.table import Column, Table
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
        for record in records:
            place = self.where(0, 0, self.length)
            if isinstance(record, Mapping):
                for name in record:
                    columns.setdefault(name, len(columns))
                if width is not None:
                    raise InvalidInputError(f"{place}: an object, but the rows before are lists")
            else:
                size = len(record) if isinstance(record, (list, tuple)) else 1
                if columns or size != (size if width is None else width):
                    found = f"expected {width} values, got {size}"
                    raise InvalidInputError(
                        f"{place}: {'not an object, as the rows before' if columns else found}"
                    )
                width = size
            self.length += 1
        if not self.length:
            raise InvalidInputError(f"{self.origin}: there are no records")
        self.has_names = width is None
        self.columns = [*columns] if width is None else [f"value {i}" for i in range(1, width + 1)]

    def _iterate(self) -> Iterator[Any]:
        return iter(self._records)

    def read(self, size: int, wanted: Sequence[int]) -> Iterator[dict[int, Column]]:
        """See ``Table``. A name that a record lacks is a missing value."""
        records = self._iterate()
        while piece := list(itertools.islice(records, size)):
            if self.has_names:
                yield {
                    i: ValueColumn([record.get(self.columns[i]) for record in piece])
                    for i in wanted
                }
            elif isinstance(piece[0], (list, tuple)):
                yield {i: ValueColumn([record[i] for record in piece]) for i in wanted}
            else:
                yield dict.fromkeys(wanted, ValueColumn(piece))


class JsonLinesTable(RecordTable):
    """A .jsonl file: a JSON value on each line. It is read through once when it is opened."""

    def __init__(self, path: Path, encoding: str | None = None, origin: str = "") -> None:
        """Raises InvalidInputError."""
        Table.__init__(self)
        self.origin = origin or str(path)
        self._path, self._encoding = path, encoding
        self._start(self._iterate())

    def _iterate(self) -> Iterator[Any]:
        with open_text(self._path, self._encoding) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise InvalidInputError(
                            f"{self.origin}, line {number}: not JSON: {error}"
                        ) from error
