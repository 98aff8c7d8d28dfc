"""Tables by the names of their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnxwalk.interpreter.tables.options import Options

if TYPE_CHECKING:
    from onnxwalk.interpreter.tables.table import Table

_TEXT = frozenset({".csv", ".tsv"})
_RECORDS = frozenset({".jsonl", ".ndjson"})
_PARQUET = frozenset({".parquet", ".pq"})

#: the endings of files of rows; those of text may be followed by .gz
SUFFIXES = _TEXT | _RECORDS | _PARQUET
#: those that are written
WRITTEN = (".csv", ".tsv", ".jsonl", ".parquet")


def table_suffix(path: Path) -> str | None:
    """The ending of a file of rows, without .gz; ``None`` for other files."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
        return suffixes[-1] if suffixes and suffixes[-1] in _TEXT | _RECORDS else None
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else None


def open_table(
    path: Path, options: Options | None = None, origin: str = "", *, is_tolerant: bool = False
) -> Table:
    """The table in a file, by its ending. ``origin``: what messages call it. ``is_tolerant``: rows
    that can't be read are noted, see ``Table``.

    Raises InvalidInputError.
    """
    suffix = table_suffix(path)
    if suffix in _PARQUET:
        from onnxwalk.interpreter.tables.parquet import ParquetTable

        return ParquetTable(path, origin, is_tolerant=is_tolerant)
    if suffix in _RECORDS:
        from onnxwalk.interpreter.tables.records import JsonLinesTable

        encoding = options.encoding if options else None
        return JsonLinesTable(path, encoding, origin, is_tolerant=is_tolerant)
    from onnxwalk.interpreter.tables.text import TextTable

    return TextTable(path, options, origin, is_tolerant=is_tolerant)
