"""Text files of rows: .csv, .tsv and the like, also compressed."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.tables.cells import TextColumn
from onnxwalk.interpreter.tables.dialect import Dialect, find_dialect
from onnxwalk.interpreter.tables.options import Options
from onnxwalk.interpreter.tables.table import Column, EmptyTableError, Table

_SAMPLE = 1000  # lines by which the dialect is found
_SAMPLE_SIZE = 1 << 20  # and their characters


@contextlib.contextmanager
def open_text(path: Path, encoding: str | None = None) -> Iterator[TextIO]:
    """A text file, decompressed if it is gzipped, in UTF-8, UTF-16 with its mark, or ``encoding``.

    Raises InvalidInputError, also for errors while it is read.
    """
    try:
        with open(path, "rb") as raw:
            is_compressed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_compressed else open(path, "rb") as data:
            if encoding is None:
                first = data.read(2)
                data.seek(0)
                encoding = "utf-16" if first in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            yield io.TextIOWrapper(data, encoding=encoding, newline="")  # type: ignore[arg-type]
    except UnicodeError as error:
        raise InvalidInputError(
            f"{path}: not a text file in {encoding.removesuffix('-sig').upper()}: {error}; "  # type: ignore[union-attr]
            "--encoding says which it is, such as cp1252 (of Excel in Western Europe)"
        ) from error
    except LookupError:
        raise InvalidInputError(f"--encoding {encoding}: there is no such encoding") from None
    except csv.Error as error:
        raise InvalidInputError(f"{path}: not a CSV file: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInputError(f"{path}: a damaged gzip file: {error}") from error
    except FileNotFoundError:
        raise InvalidInputError(f"{path}: no such file") from None


class TextTable(Table):
    """The rows of a text file. Opening it reads it through once, to count the rows and to find
    those that have too many or too few cells."""

    def __init__(
        self,
        path: Path,
        options: Options | None = None,
        origin: str = "",
        *,
        is_tolerant: bool = False,
    ) -> None:
        """Raises InvalidInputError."""
        super().__init__(is_tolerant=is_tolerant)
        self._path, self._options = path, options or Options()
        self.origin = origin or str(path)
        self.dialect = self._find_dialect()
        names = self.dialect.names
        self.has_names = names is not None
        self.columns = names or [f"column {i}" for i in range(1, self.dialect.width + 1)]
        self.unfed = frozenset([0] if self.dialect.extra == "names" else [])
        self.notes = self.dialect.describe()
        self._lines: list[int] = []  # of the rows of the current piece
        self.length = sum(1 for _ in self._rows())
        if not self.length:
            raise EmptyTableError(f"{self.origin}: the file contains no rows below the header")

    def read(self, size: int, wanted: Sequence[int]) -> Iterator[dict[int, Column]]:
        """See ``Table``."""
        rows = self._rows()
        while piece := list(itertools.islice(rows, size)):
            self._lines = [line for line, _ in piece]
            if self.is_tolerant:
                self.broken = {
                    row: f"{self.origin}, line {line}: {wrong}"
                    for row, (line, wrong) in enumerate(piece)
                    if isinstance(wrong, str)
                }
            cells = [[""] * len(self.columns) if isinstance(c, str) else c for _, c in piece]
            yield {i: TextColumn([row[i] for row in cells], self.dialect.numbers) for i in wanted}

    def where(self, index: int, size: int, row: int) -> str:
        """See ``Table``."""
        return f"{self.origin}, line {self._lines[row]}"

    def _find_dialect(self) -> Dialect:
        options = self._options
        if options.delimiter is None and ".tsv" in self._path.suffixes[-2:]:
            options = Options("\t", options.decimal, options.header, options.encoding)
        with open_text(self._path, options.encoding) as file:
            lines: list[str] = []
            size = quotes = whole = 0
            for line in file:
                lines.append(line)
                size, quotes = size + len(line), quotes + line.count('"')
                if quotes % 2 == 0:
                    whole = len(lines)
                if (len(lines) >= _SAMPLE or size >= _SAMPLE_SIZE) and whole:
                    return find_dialect(lines[:whole], options, self.origin)
            return find_dialect(lines, options, self.origin)

    def _rows(self) -> Iterator[tuple[int, list[str] | str]]:
        """The number of the line where each row ends, and its cells; of a tolerant table, what is
        wrong with a line in their place. Empty lines are no rows, but in a single column, where
        they are empty cells unless they end the file."""
        dialect = self.dialect
        width = dialect.width + (dialect.extra == "end")
        has_header = dialect.has_header
        empty: list[int] = []
        usual = -1 if dialect.extra == "end" else width  # the cells of most rows
        with open_text(self._path, self._options.encoding) as file:
            for _ in itertools.islice(file, dialect.skip):
                pass
            reader = dialect.reader(file)
            for cells in reader:
                line = reader.line_num + dialect.skip
                if len(cells) == usual and cells[0] and not has_header and not empty:
                    yield line, cells
                    continue
                if not any(cells) or not any(cell.strip() for cell in cells):
                    if width == 1 and not has_header:
                        empty.append(line)
                        continue
                    if len(cells) != width or has_header:
                        continue
                if has_header:
                    has_header = False
                    continue
                wrong = ""
                if len(cells) != width:
                    noun = "column" if width == 1 else "columns"
                    wrong = f"expected {width} {noun}, got {len(cells)}"
                elif dialect.extra == "end" and cells.pop().strip():
                    wrong = f"a value in column {width}, which is empty in the lines before"
                if wrong and not self.is_tolerant:
                    raise InvalidInputError(f"{self.origin}, line {line}: {wrong}")
                while empty:
                    yield empty.pop(0), [""]
                yield line, wrong or cells
