"""Find out how a text file of rows is written: delimiter, decimal sign, header, comments.

Python's ``csv.Sniffer`` guesses from the frequencies of characters and errs on decimal commas, on
text and on single columns. Here each delimiter is tried: the rows that it gives must be of equal
length, and where two do that, the one that gives more numbers is meant.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.tables.numbers import MISSING, Numbers, find_decimal
from onnxwalk.interpreter.tables.options import Options

_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"\t": "tab", " ": "blanks", ",": "comma", ";": "semicolon", "|": "bar"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*')


@dataclass(frozen=True)
class Dialect:
    """How rows are written.

    ``delimiter``: "" for one column, " " for runs of blanks. ``skip``: lines before the rows.
    ``has_header``: whether the first row is one. ``names``: of the columns, ``None`` without a
    header. ``width``: the number of columns. ``extra``: "names" if the first column only names or
    counts the rows, "end" if each row ends with a delimiter.
    """

    delimiter: str
    numbers: Numbers
    width: int
    has_header: bool = False
    names: tuple[str, ...] | None = None
    skip: int = 0
    extra: str = ""
    skips_blanks: bool = False

    def reader(self, lines: Iterable[str]) -> Any:
        """A ``csv.reader`` of lines."""
        return _reader(lines, self.delimiter, self.skips_blanks)

    def describe(self) -> list[str]:
        """What was found, for the summary of a run."""
        notes = ["first line is data" if self.names is None else "first line is a header"]
        if self.delimiter not in ("", ","):
            notes.append(f"delimiter: {_NAMES.get(self.delimiter, repr(self.delimiter))}")
        if self.numbers.decimal == ",":
            notes.append("decimal commas")
        return notes


def find_dialect(lines: Sequence[str], options: Options, path: str) -> Dialect:
    """The dialect of a file by its first lines, which end with a whole row.

    Raises InvalidInputError if there are no rows.
    """
    skip, stated, comment = _leading_lines(lines)
    lines = lines[skip:]
    delimiter = options.delimiter if options.delimiter is not None else stated
    if delimiter is None:
        delimiter = _find_delimiter(lines, options)
    rows = _rows(lines, delimiter, False)
    if not rows:
        raise InvalidInputError(f"{path}: the file contains no rows")
    if skips := delimiter not in ("", " ") and _blanks_follow(rows):
        rows = _rows(lines, delimiter, True)
    numbers = Numbers(options.decimal or find_decimal([cell for row in rows for cell in row]))

    header: list[str] | None = None
    has_header = _is_header(rows[0], numbers) if options.header is None else options.header
    extra = _extra(rows) if has_header else ""
    body = rows[1:] if has_header else rows
    width = len(body[0]) if extra else len(rows[0])
    if has_header:
        header = rows[0]
    elif comment is not None and options.header is None:
        words = _rows([comment], delimiter, skips)
        if words and len(words[0]) == width and not any(map(numbers.is_number, words[0])):
            header = words[0]
    if header is not None:
        header = [name.strip() for name in header]
        if extra == "names":
            header = ["", *header]
        elif len(header) > 1 and header[0] == "" and _count_rows(body):
            extra = "names"
    ends = all(len(row) == width and not row[-1].strip() for row in body)
    if width > 1 and len(body) > 1 and ends and not (header and header[-1:] != [""] and not extra):
        extra, width = "end", width - 1
    names = None if header is None else tuple(header[:width])
    return Dialect(delimiter, numbers, width, has_header, names, skip, extra, skips)


def _count_rows(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first column counts the rows, as pandas writes its index."""
    first = [row[0].strip() for row in rows]
    return all(map(str.isdecimal, first)) and len(set(first)) == len(first)


def _leading_lines(lines: Sequence[str]) -> tuple[int, str | None, str | None]:
    """The number of lines before the rows, the delimiter that they state, the last comment."""
    skip, stated, comment = 0, None, None
    if lines and (match := _SEPARATOR_LINE.fullmatch(lines[0])):
        skip, stated = 1, match[1]
    for line in lines[skip:]:
        if not re.match(r"#(?![,;\t|\"])", line):
            break
        skip, comment = skip + 1, line.lstrip("#").strip()
    return skip, stated, comment


def _find_delimiter(lines: Sequence[str], options: Options) -> str:
    ranked = []
    for place, delimiter in enumerate(_DELIMITERS):
        rows = _rows(lines, delimiter, False)
        if not rows or len(rows[0]) < 2:
            continue
        even = 1.0 if _extra(rows) else sum(len(r) == len(rows[0]) for r in rows) / len(rows)
        ranked.append((even == 1, even, _share_of_numbers(rows, options), len(rows[0]), -place))
    if ranked and (best := max(ranked))[1] >= 0.5:
        return _DELIMITERS[-best[-1]]
    rows = _rows(lines, " ", False)
    body = rows[1:] if len(rows) > 1 else rows
    if body and len(body[0]) > 1 and all(len(row) == len(body[0]) for row in body):
        share = _share_of_numbers(body, options)
        if share > 0.5 and len(rows[0]) in (len(body[0]), len(body[0]) - 1):
            return " "
    return ""


def _share_of_numbers(rows: Sequence[Sequence[str]], options: Options) -> float:
    cells = [cell for row in rows for cell in row]
    numbers = Numbers(options.decimal or find_decimal(cells) or ",")
    return sum(map(numbers.is_number, cells)) / max(len(cells), 1)


def _extra(rows: Sequence[Sequence[str]]) -> str:
    """Whether all rows after the first have one cell more: see ``Dialect.extra``. Names of rows, as
    R writes them, are no numbers, or 1, 2, 3 …"""
    first, rest = rows[0], rows[1:]
    if len(first) < 2 or not rest or any(len(row) != len(first) + 1 for row in rest):
        return ""
    if not any(row[-1].strip() for row in rest):
        return "end"
    names = [row[0].strip() for row in rest]
    counts = len(names) > 1 and names == [str(i) for i in range(1, len(names) + 1)]
    return "names" if counts or not any(map(Numbers().is_number, names)) else ""


def _is_header(first: Sequence[str], numbers: Numbers) -> bool:
    if not any(cell.strip() for cell in first):
        return False
    counted = [str(i) for i in range(len(first) - 1)]
    if len(first) > 1 and not first[0].strip() and list(first[1:]) == counted:
        return True  # as pandas writes columns without names
    return not any(numbers.is_number(c) or (c in MISSING and c != "") for c in first)


def _blanks_follow(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a blank stands after each delimiter, as in "1, 2, 3"."""
    after = [cell for row in rows for cell in row[1:] if cell]
    return bool(after) and all(cell.startswith(" ") for cell in after)


def _rows(lines: Sequence[str], delimiter: str, skips_blanks: bool) -> list[list[str]]:
    rows = _reader(lines, delimiter, skips_blanks)
    return [row for row in rows if any(cell.strip() for cell in row)]


def _reader(lines: Iterable[str], delimiter: str, skips_blanks: bool) -> Any:
    csv.field_size_limit(2**31 - 1)  # a text may be as long as a book
    if delimiter == " ":
        return csv.reader((" ".join(line.split()) for line in lines), delimiter=" ")
    # Without a delimiter a row is one cell: the unit separator stands in no text.
    return csv.reader(lines, delimiter=delimiter or "\x1f", skipinitialspace=skips_blanks)
