"""Printing of all commands: tables for people, JSON for programs.

In a terminal, tables fit its width and headings are bold (``_terminal``, by rich); NO_COLOR turns
the latter off. In a pipe or a file, or where rich isn't installed, there are no escape codes, and
lines are never wrapped (``interpreter.display``).
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, TextIO, TypeAlias

from onnxwalk.interpreter.display import count as count
from onnxwalk.interpreter.display import table_lines
from onnxwalk.interpreter.errors import shorten_words
from onnxwalk.interpreter.rows.values import dtype_name as dtype_name
from onnxwalk.interpreter.rows.values import storable as storable
from onnxwalk.interpreter.rows.values import to_jsonable as to_jsonable
from onnxwalk.interpreter.rows.values import widened as widened

#: a piece of a line, and its style: "bold", "blue" …
Part: TypeAlias = "tuple[str, str]"


def terminal(stream: TextIO) -> ModuleType | None:
    """What prints to this stream if it is a terminal, or FORCE_COLOR has it treated as one;
    ``None`` if it isn't, or if rich isn't installed."""
    if not (stream.isatty() or os.environ.get("FORCE_COLOR")):
        return None
    try:
        from onnxwalk.interpreter.cli import _terminal
    except ImportError:
        return None
    return _terminal


def printable(text: str) -> str:
    """The text with control characters escaped and names of a megabyte shortened, because names
    come from untrusted files."""
    text = shorten_words(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def line(text: str = "", style: str = "") -> None:
    """Print one line, never truncated or wrapped."""
    styled([(printable(text), style)])


def styled(parts: Iterable[Part]) -> None:
    """Print one line of parts with styles of their own, never truncated or wrapped."""
    shown = terminal(sys.stdout)
    _write(["".join(text for text, _ in parts)] if shown is None else shown.styled_lines(parts))


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
    shown = terminal(sys.stdout)
    if shown is None:
        _write(table_lines(columns, cells, numbers), indent)
    else:
        _write(shown.table_lines(columns, cells, numbers, indent), indent)


def _write(lines: Iterable[str], indent: int = 0) -> None:
    """Print lines without the spaces at their ends."""
    sys.stdout.writelines(f"{' ' * indent}{text}".rstrip() + "\n" for text in lines)


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
