"""What all commands print with: tables for people, JSON for programs.

In a terminal tables are fitted to its width and headings are bold; NO_COLOR turns that off. In a
pipe or a file there are no escape codes, and lines are as long as they need to be.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNLIMITED = 1_000_000  # columns; more than any line has


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to ``main``; rich would end the process here, with status 1."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A rich Console that takes text as it is: no markup, emoji codes or guessed highlights."""
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
    """The text with control characters escaped: names come out of files that anyone may write."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def line(text: str = "", style: str = "") -> None:
    """Print one line, never cut or wrapped."""
    _write(Text(printable(text), style=style), soft_wrap=True)


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
    """Print rows in aligned columns under their names; ``right``: the columns of numbers.

    Without a name for any column there is no header.
    """
    numbers = set(right)
    grid = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        show_header=any(columns),
        header_style="bold",
    )
    for name in columns:
        grid.add_column(Text(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(str(cell))) for cell in row))
    _write(grid, indent)


def _write(content: Any, indent: int = 0, *, soft_wrap: bool = False) -> None:
    """Rendered by rich, written without the spaces that it fills lines up with."""
    out = console()
    out.width -= indent
    with out.capture() as captured:
        out.print(content, soft_wrap=soft_wrap)
    sys.stdout.writelines(
        f"{' ' * indent}{text.rstrip()}\n" for text in captured.get().split("\n")[:-1]
    )


def count(number: int, noun: str) -> str:
    """ "1 node", "2 nodes", "12,345 nodes"."""
    return f"{number:,} {noun}{'s'[: number != 1]}"


def size(number: float) -> str:
    """A number of bytes as people read it: "12.3 MB" is 12.3 million bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def print_json(value: Any) -> None:
    """Print one JSON document on one line; see ``jsonable``."""
    print(json.dumps(jsonable(value), allow_nan=False))


def jsonable(value: Any) -> Any:
    """The value out of what JSON has: arrays as nested lists, and NaN and the infinities, which
    JSON has not, as the strings "NaN", "Infinity" and "-Infinity"; complex numbers as [re, im]."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        array = widened(value)
        return array.tolist() if array.dtype.kind in "biuOU" else jsonable(array.tolist())
    if isinstance(value, np.generic):
        return jsonable(np.asarray(value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, complex):
        return [jsonable(value.real), jsonable(value.imag)]
    if isinstance(value, (str, int, float)) or value is None:
        return value
    return str(value)


def widened(array: np.ndarray) -> np.ndarray:
    """What only ml_dtypes has a type for, in the NumPy type that holds every value of it."""
    if array.dtype.kind in "biufcOUST":
        return array
    return array.astype(np.int8 if "int" in array.dtype.name else np.float32)


def dtype_name(dtype: np.dtype) -> str:
    """NumPy's name for it, but "string" for what holds text."""
    return "string" if dtype.kind in "OUST" else dtype.name
