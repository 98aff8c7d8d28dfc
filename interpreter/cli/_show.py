"""Printing of all commands: tables for people, JSON for programs.

In a terminal, tables fit its width and headings are bold; NO_COLOR turns the latter off. In a pipe
or a file there are no escape codes, and lines are never wrapped.
"""

from __future__ import annotations

import json
import math
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onnxwalk.interpreter.display import count as count
from onnxwalk.interpreter.errors import shorten_words
from onnxwalk.interpreter.rows.values import dtype_name as dtype_name
from onnxwalk.interpreter.rows.values import storable as storable
from onnxwalk.interpreter.rows.values import to_jsonable as to_jsonable
from onnxwalk.interpreter.rows.values import widened as widened

_UNLIMITED = 1_000_000  # columns; more than any line has
_BETWEEN = 2  # blanks between the columns of a table
_NESTED = 4  # blanks before the cells of a row that is printed over several lines
_BREAKABLE = 16  # longer words are broken where a table is too wide


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let ``main`` handle it; rich would end the process with status 1."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A rich Console that prints text unchanged: no markup, emoji codes or highlighting."""
    stream = sys.stderr if stderr else sys.stdout
    plain = bool(os.environ.get("NO_COLOR"))
    return _Console(
        file=stream,
        width=None if stream.isatty() else _UNLIMITED,
        color_system=None if plain else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )


def printable(text: str) -> str:
    """The text with control characters escaped and names of a megabyte shortened, because names
    come from untrusted files."""
    text = shorten_words(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def line(text: str = "", style: str = "") -> None:
    """Print one line, never truncated or wrapped."""
    _write(Text(printable(text), style=style), soft_wrap=True)


def styled(text: Text) -> None:
    """Print one line of parts with styles of their own, never truncated or wrapped."""
    _write(text, soft_wrap=True)


def heading(text: str) -> None:
    """Print an empty line and a title."""
    line()
    line(text, style="bold")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    indent: int = 0,
) -> None:
    """Print rows in aligned columns; ``right``: the names of those aligned to the right.

    If all names are empty there is no header. In a narrow terminal, text is wrapped, and names that
    are long are broken, but no numbers: where these don't fit, each row is printed over several
    lines.
    """
    numbers = set(right)
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = _fit(columns, cells, numbers, console().width - indent)
    if widths is None:
        _print_rows_one_by_one(columns, cells, indent)
        return
    grid = Table(
        box=None,
        pad_edge=False,
        padding=(0, _BETWEEN, 0, 0),
        show_header=any(columns),
        header_style="bold",
    )
    for name, width in zip(columns, widths, strict=True):
        side: Literal["left", "right"] = "right" if name in numbers else "left"
        grid.add_column(Text(name), justify=side, width=width, overflow="fold")
    for row in cells:
        grid.add_row(*map(Text, row))
    _write(grid, indent)


def _fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[str], most: int
) -> list[int] | None:
    """The width of each column; ``None`` if they don't fit without numbers being broken."""
    every = [[name, *(row[i] for row in rows)] for i, name in enumerate(columns)]
    widths = [max(map(cell_len, texts)) for texts in every]
    excess = sum(widths) + _BETWEEN * (len(widths) - 1) - most
    if excess <= 0:
        return widths
    least = [
        max(map(cell_len, texts[1:]), default=0) if name in numbers and name else 0
        for name, texts in zip(columns, every, strict=True)
    ]
    for i, texts in enumerate(every):
        words = (min(cell_len(word), _BREAKABLE) for text in texts for word in text.split())
        least[i] = max(least[i], *words, 1)
    while excess > 0:
        spare = [width - low for width, low in zip(widths, least, strict=True)]
        if max(spare, default=0) <= 0:
            return None
        widths[spare.index(max(spare))] -= 1
        excess -= 1
    return widths


def _print_rows_one_by_one(
    columns: Sequence[str], rows: Sequence[Sequence[str]], indent: int
) -> None:
    """Each row as its first cell, and the others, after their names, in as many lines as needed."""
    room = max(console().width - indent - _NESTED, 1)
    for first, *others in rows:
        _write(Text(first), indent)
        named = zip(columns[1:], others, strict=True)
        pairs = [f"{name} {cell}".strip() for name, cell in named if cell]
        # a blank that isn't one: a pair that fits into a line isn't broken
        glued = [p.replace(" ", "\u00a0") if cell_len(p) <= room else p for p in pairs]
        for part in textwrap.wrap("  ".join(glued), room, break_long_words=False):
            line(" " * (indent + _NESTED) + part.replace("\u00a0", " "))


def _write(content: Any, indent: int = 0, *, soft_wrap: bool = False) -> None:
    """Print what rich renders, without the spaces at the ends of lines."""
    out = console()
    out.width -= indent
    with out.capture() as captured:
        out.print(content, soft_wrap=soft_wrap)
    sys.stdout.writelines(
        f"{' ' * indent}{text.rstrip()}\n" for text in captured.get().split("\n")[:-1]
    )


def size(number: float) -> str:
    """A number of bytes in decimal units: "12.3 MB" is 12.3 million bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def duration(seconds: float | None) -> str:
    """Seconds in a fitting unit: "1.23 ms"."""
    if seconds is None:
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e6:.3g} µs"


def error_size(number: float) -> str:
    """A relative or absolute error: "1.2e-05"."""
    return "–" if math.isinf(number) else "0" if number == 0 else f"{number:.1e}"


def shortened(text: str, longest: int = 200) -> str:
    """The text with its end replaced by "…" if it is too long for a table."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def qualified_name(domain: str, name: str) -> str:
    """The name of an operator or a function, with its domain unless that is ai.onnx."""
    return f"{domain}.{name}" if domain else name


def print_json(value: Any) -> None:
    """Print one JSON document on one line; see ``to_jsonable``."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """One JSON document on one line; see ``to_jsonable``."""
    return json.dumps(to_jsonable(value), allow_nan=False)
