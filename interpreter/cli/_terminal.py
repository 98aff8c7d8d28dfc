"""Lines for a terminal, by rich: styles, and tables that fit its width. ``_show`` prints them."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from onnxwalk.interpreter.display import BETWEEN

_UNLIMITED = 1_000_000  # columns; more than any line has
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


def progress_bars() -> Progress:
    """Bars on stderr that are gone when they end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console(stderr=True), transient=True)


def status_line() -> Progress:
    """A bar and a text on stderr, drawn only when ``refresh`` is called, by no thread."""
    columns = (BarColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=console(stderr=True), transient=True, auto_refresh=False)


def styled_lines(parts: Iterable[tuple[str, str]]) -> list[str]:
    """One line of parts, each with its style."""
    text = Text()
    for part, style in parts:
        text.append(part, style=style or None)
    return _lines(text, soft_wrap=True)


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[str], indent: int
) -> list[str]:
    """See ``_show.table``; ``indent``: the columns of the terminal that aren't there for it."""
    widths = _fit(columns, rows, numbers, console().width - indent)
    if widths is None:
        return _rows_one_by_one(columns, rows, indent)
    grid = Table(
        box=None,
        pad_edge=False,
        padding=(0, BETWEEN, 0, 0),
        show_header=any(columns),
        header_style="bold",
    )
    for name, width in zip(columns, widths, strict=True):
        side: Literal["left", "right"] = "right" if name in numbers else "left"
        grid.add_column(Text(name), justify=side, width=width, overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    return _lines(grid, indent)


def _fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[str], most: int
) -> list[int] | None:
    """The width of each column; ``None`` if they don't fit without numbers being broken."""
    every = [[name, *(row[i] for row in rows)] for i, name in enumerate(columns)]
    widths = [max(map(cell_len, texts)) for texts in every]
    excess = sum(widths) + BETWEEN * (len(widths) - 1) - most
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


def _rows_one_by_one(
    columns: Sequence[str], rows: Sequence[Sequence[str]], indent: int
) -> list[str]:
    """Each row as its first cell, and the others, after their names, in as many lines as needed."""
    room = max(console().width - indent - _NESTED, 1)
    lines = []
    for first, *others in rows:
        lines += _lines(Text(first), indent)
        named = zip(columns[1:], others, strict=True)
        pairs = [f"{name} {cell}".strip() for name, cell in named if cell]
        # a blank that isn't one: a pair that fits into a line isn't broken
        glued = [p.replace(" ", "\u00a0") if cell_len(p) <= room else p for p in pairs]
        for part in textwrap.wrap("  ".join(glued), room, break_long_words=False):
            lines.append(" " * _NESTED + part.replace("\u00a0", " "))
    return lines


def _lines(content: Any, indent: int = 0, *, soft_wrap: bool = False) -> list[str]:
    """What rich makes of something."""
    out = console()
    out.width -= indent
    with out.capture() as captured:
        out.print(content, soft_wrap=soft_wrap)
    return captured.get().split("\n")[:-1]
