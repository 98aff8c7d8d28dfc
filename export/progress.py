"""Progress bars on stderr, only if that is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bars(*columns: str) -> Iterator[Any]:
    """A ``rich.progress.Progress``: a description, a bar, and the columns with these names.

    Lines that are printed meanwhile appear above the bars.
    """
    import rich.progress
    from rich.console import Console

    console = Console(stderr=True)
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        *(getattr(rich.progress, name)() for name in columns),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        yield bars
