"""Write rows to a file: .csv, .tsv, .jsonl or .parquet, piece by piece."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.tables.files import table_suffix

_PIECE = 4096  # rows that are written at once
_MOST_COLUMNS = 10_000


class Rows:
    """What is written: columns of one length, by name.

    ``columns``: arrays (rows, …) or lists; ``parts``: names for the elements of a row, where they
    have some, as the classes of probabilities.
    """

    def __init__(
        self, columns: Mapping[str, np.ndarray | list[Any]], parts: Mapping[str, Sequence[str]]
    ) -> None:
        self.columns, self.parts = columns, parts
        self.length = len(next(iter(columns.values())))

    def flat(self) -> dict[str, np.ndarray | list[Any]]:
        """Columns of scalars: one for each element of a row, called name_0, or name_class.

        Raises InvalidInputError if these are more than anybody reads.
        """
        found: dict[str, np.ndarray | list[Any]] = {}
        for name, value in self.columns.items():
            if not isinstance(value, np.ndarray) or value.ndim == 1:
                found[name] = value
                continue
            size = int(np.prod(value.shape[1:]))
            if size > _MOST_COLUMNS:
                raise InvalidInputError(
                    f"output '{name}' has {size:,} values in each row, too many for columns; "
                    "write it to .npy, .npz or .jsonl, or choose other outputs by --outputs"
                )
            matrix = value.reshape(len(value), size)
            names = self.parts.get(name)
            if names is None and size == 1:
                found[name] = matrix[:, 0]
                continue
            if names is None:
                places = np.ndindex(*value.shape[1:])
                names = ["_".join(map(str, place)) for place in places]
            for i, part in enumerate(names):
                found[f"{name}_{part}"] = matrix[:, i]
        return found


def write_rows(
    file: IO[bytes],
    path: Path,
    columns: Mapping[str, np.ndarray | list[Any]],
    parts: Mapping[str, Sequence[str]],
) -> None:
    """Write ``Rows`` in the format that the ending of ``path`` says (.csv if it has none),
    compressed if it ends with .gz. Raises InvalidInputError for rows that the format can't hold."""
    writers: dict[str | None, Callable[[IO[bytes], Rows], None]] = {
        ".jsonl": _write_json_lines,
        ".parquet": _write_parquet,
        ".tsv": _write_tabs,
    }
    rows = Rows(columns, parts)
    write = writers.get(table_suffix(path), _write_commas)
    if path.suffix.lower() == ".gz":
        with gzip.GzipFile(path.stem, "wb", fileobj=file, mtime=0) as packed:
            write(packed, rows)  # type: ignore[arg-type]
    else:
        write(file, rows)


def _write_commas(file: IO[bytes], rows: Rows) -> None:
    _write_text(file, rows, ",")


def _write_tabs(file: IO[bytes], rows: Rows) -> None:
    _write_text(file, rows, "\t")


def _write_text(file: IO[bytes], rows: Rows, delimiter: str) -> None:
    """Numbers as the shortest text that gives them back in their own dtype; NaN is empty."""
    columns = rows.flat()
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for piece in _pieces(columns, rows.length):
        writer.writerows(zip(*(_as_text(part) for part in piece.values()), strict=True))
    text.detach()


def _as_text(values: np.ndarray | list[Any]) -> list[Any]:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "f":
        return list(values) if not isinstance(values, np.ndarray) else values.tolist()
    texts: list[Any] = values.astype(str).tolist()
    return ["" if text == "nan" else text for text in texts]


def _write_json_lines(file: IO[bytes], rows: Rows) -> None:
    """An object on each line: values by name, lists of them, or objects if their parts have
    names. JSON has no NaN and infinities: NaN is null, the others are strings."""
    for piece in _pieces(rows.columns, rows.length):
        lists = {name: _as_json(values) for name, values in piece.items()}
        for row in zip(*lists.values(), strict=True):
            record = dict(zip(lists, row, strict=True))
            for name, parts in rows.parts.items():
                if name in record:
                    record[name] = dict(zip(parts, record[name], strict=True))
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _as_json(values: np.ndarray | list[Any]) -> list[Any]:
    if not isinstance(values, np.ndarray):
        return values
    if values.dtype.kind != "f":
        return list(values.tolist())
    # A float32 is written as 0.1, not as the float64 next to it.
    wide = values if values.dtype == np.float64 else values.astype(str).astype(np.float64)
    if np.isfinite(wide).all():
        return list(wide.tolist())
    words = {np.inf: "Infinity", -np.inf: "-Infinity"}
    cells = np.array([None if x != x else words.get(x, x) for x in wide.ravel().tolist()], object)
    return list(cells.reshape(wide.shape).tolist())


def _write_parquet(file: IO[bytes], rows: Rows) -> None:
    from onnxwalk.interpreter.tables.parquet import import_parquet

    parquet, arrow = import_parquet()
    writer = None
    columns = rows.flat()
    for piece in _pieces(columns, rows.length, 16 * _PIECE):
        table = arrow.table({name: arrow.array(values) for name, values in piece.items()})
        writer = writer or parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _pieces(
    columns: Mapping[str, np.ndarray | list[Any]], length: int, size: int = _PIECE
) -> Iterator[dict[str, np.ndarray | list[Any]]]:
    """Parts of the columns; one without rows if there are none."""
    for start in range(0, max(length, 1), size):
        yield {name: values[start : start + size] for name, values in columns.items()}
