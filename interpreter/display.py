"""What Session, Model, Graph, Trace and Event show of themselves: as text, and in a notebook.

The colours of a notebook are its own, light or dark: nothing is styled but spaces and lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

_MOST_OPERATORS = 12
_MOST_LINES = 10
_CELL = "text-align:left;padding:1px 12px 1px 0;border:0;border-bottom:1px solid #8884"


def describe(value: Any) -> str:
    """A value's dtype and shape, as "float32 (2, 3)"."""
    if isinstance(value, list):
        return f"sequence of {len(value)}"
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype} {value.shape}"
    return "nothing" if value is None else type(value).__name__


def type_text(value: Any) -> str:
    """A value's type as a model declares it: "float32[1, 64]"."""
    if isinstance(value, np.ndarray):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, dict):
        return f"map of {len(value)}"
    return f"sequence of {len(value)}" if isinstance(value, list) else "nothing"


def operators(names: Iterable[str]) -> str:
    """How often each operator is there, the most frequent first: "Conv ×3, Relu ×2"."""
    counts = Counter(names).most_common()
    listed = ", ".join(f"{name} ×{n}" for name, n in counts[:_MOST_OPERATORS])
    more = f", … ({len(counts)} in all)" if len(counts) > _MOST_OPERATORS else ""
    return listed + more or "none"


def lines(values: Iterable[object]) -> str:
    """Each value on a line of its own, the first ten of them."""
    found = list(map(str, values))
    more = [f"… and {len(found) - _MOST_LINES:,} more"] if len(found) > _MOST_LINES else []
    return "\n".join(found[:_MOST_LINES] + more) or "none"


def as_text(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A title, and a name and a value in each row."""
    indented = [
        f"  {name:<11} {value.replace(chr(10), chr(10) + ' ' * 14)}" for name, value in rows
    ]
    return "\n".join([title, *indented])


def as_html(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A title and a table."""

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
