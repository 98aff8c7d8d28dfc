"""The text and notebook representations of Session, Model, Graph, Trace and Event, and tables as
plain text.

Only spaces and lines are styled, so that notebooks keep their own colours, light or dark.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

#: blanks between the columns of a table
BETWEEN = 2
_MOST_OPERATORS = 12
_MOST_LINES = 10
_CELL = "text-align:left;padding:1px 12px 1px 0;border:0;border-bottom:1px solid #8884"


def count(number: int, noun: str) -> str:
    """ "1 node", "2 nodes", "12,345 nodes"."""
    ending = "es" if noun.endswith(("ch", "sh", "s", "x")) else "s"
    return f"{number:,} {noun}{ending if number != 1 else ''}"


def describe(value: Any) -> str:
    """A value's dtype and shape, as "float32 (2, 3)"."""
    if isinstance(value, list):
        return f"sequence of {len(value)}"
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype} {value.shape}"
    if isinstance(value, dict):
        return f"map of {len(value)}"
    return "nothing" if value is None else type(value).__name__


def type_text(value: Any) -> str:
    """A value's type as a model declares it: "float32[1, 64]"."""
    if isinstance(value, np.ndarray):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype}[{', '.join(map(str, value.shape))}]"
    return describe(value)


def count_operators(names: Iterable[str]) -> str:
    """The count of each operator, the most frequent first: "Conv ×3, Relu ×2"."""
    counts = Counter(names).most_common()
    listed = ", ".join(f"{name} ×{n}" for name, n in counts[:_MOST_OPERATORS])
    more = f", … ({len(counts)} in all)" if len(counts) > _MOST_OPERATORS else ""
    return listed + more or "none"


def join_lines(values: Iterable[object]) -> str:
    """The first ten values, one on each line."""
    lines = list(map(str, values))
    more = [f"… and {len(lines) - _MOST_LINES:,} more"] if len(lines) > _MOST_LINES else []
    return "\n".join(lines[:_MOST_LINES] + more) or "none"


def as_text(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A title, and a line for each name and value."""
    indented = [
        f"  {name:<11} {value.replace(chr(10), chr(10) + ' ' * 14)}" for name, value in rows
    ]
    return "\n".join([title, *indented])


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[str]
) -> list[str]:
    """The lines of a table in aligned columns, those of ``numbers`` to the right: the names of the
    columns, unless all are empty, and the rows."""
    lines = [columns, *rows] if any(columns) else [*rows]
    widths = [max(map(cell_width, texts)) for texts in zip(*lines, strict=True)]
    return [
        (" " * BETWEEN).join(
            _aligned(text, width, to_the_right=name in numbers)
            for name, text, width in zip(columns, line, widths, strict=True)
        )
        for line in lines
    ]


def _aligned(text: str, width: int, *, to_the_right: bool) -> str:
    blanks = " " * (width - cell_width(text))
    return blanks + text if to_the_right else text + blanks


def cell_width(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese characters take two, accents that are
    put on another character none."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def as_html(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A title and a table."""
    from html import escape  # for notebooks only

    def line(tag: str, cells: Sequence[str]) -> str:
        inner = "".join(
            f'<{tag} style="{_CELL}">{escape(c).replace(chr(10), "<br>")}</{tag}>' for c in cells
        )
        return f'<tr style="background:none">{inner}</tr>'

    head = f"<thead>{line('th', columns)}</thead>" if columns else ""
    body = "".join(line("td", row) for row in rows)
    return (
        f'<div><b>{escape(title)}</b><table style="border-collapse:collapse;font-size:90%">'
        f"{head}<tbody>{body}</tbody></table></div>"
    )
