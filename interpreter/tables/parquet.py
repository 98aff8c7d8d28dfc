"""Parquet files, which pyarrow reads and writes: ``pip install "onnxwalk[parquet]"``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.optional import require
from onnxwalk.interpreter.tables.cells import ValueColumn
from onnxwalk.interpreter.tables.table import Column, EmptyTableError, Table


class ParquetTable(Table):
    """The rows of a Parquet file, of which only the wanted columns are read."""

    def __init__(self, path: Path, origin: str = "", *, is_tolerant: bool = False) -> None:
        """Raises InvalidInputError."""
        super().__init__(is_tolerant=is_tolerant)
        self._path, self.origin = path, origin or str(path)
        with self._open() as file:
            schema = file.schema_arrow
            self.columns, self.length = schema.names, file.metadata.num_rows
            index = (schema.pandas_metadata or {}).get("index_columns", [])
            self.unfed = frozenset(i for i, name in enumerate(self.columns) if name in index)
        if not self.length:
            raise EmptyTableError(f"{self.origin}: the file contains no rows")

    def _open(self) -> Any:
        parquet, arrow = import_parquet()
        try:
            return parquet.ParquetFile(self._path)
        except (arrow.ArrowException, OSError) as error:
            raise InvalidInputError(f"{self.origin}: not a Parquet file: {error}") from error

    def read(self, size: int, wanted: Sequence[int]) -> Iterator[dict[int, Column]]:
        """See ``Table``."""
        names = [self.columns[i] for i in wanted]
        for table in self._batches(min(size, self.length), names):
            yield {
                i: ValueColumn(arrow_values(table.column(name)))
                for i, name in zip(wanted, names, strict=True)
            }

    def _batches(self, size: int, names: Sequence[str]) -> Iterator[Any]:
        """Tables of ``size`` rows; pyarrow may end a batch where a row group ends."""
        _, arrow = import_parquet()
        kept: list[Any] = []
        with self._open() as file:
            try:
                for batch in file.iter_batches(size, columns=names):
                    kept.append(batch)
                    while sum(part.num_rows for part in kept) >= size:
                        table = arrow.Table.from_batches(kept)
                        yield table.slice(0, size)
                        kept = table.slice(size).to_batches()
            except (arrow.ArrowException, OSError) as error:
                raise InvalidInputError(f"{self.origin}: damaged: {error}") from error
        if sum(part.num_rows for part in kept):
            yield arrow.Table.from_batches(kept)


def arrow_values(column: Any) -> np.ndarray | list[Any]:
    """The values of an Arrow array: numbers as an array if none is missing."""
    values = column.to_pylist() if column.null_count or _is_nested(column.type) else None
    return column.to_numpy(zero_copy_only=False) if values is None else values


def _is_nested(kind: Any) -> bool:
    return "list" in str(kind) or "dictionary" in str(kind) or "decimal" in str(kind)


def import_parquet() -> tuple[Any, Any]:
    """The modules pyarrow.parquet and pyarrow. Raises InvalidInputError."""
    try:
        return require("pyarrow.parquet"), require("pyarrow")
    except InvalidInputError:
        raise InvalidInputError(
            'pyarrow is required for Parquet files: pip install "onnxwalk[parquet]"'
        ) from None
