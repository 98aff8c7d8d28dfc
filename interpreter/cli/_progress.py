"""A progress bar on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onnxwalk.interpreter.cli import _show


@contextlib.contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar as a function ``advance(steps)``, or ``advance(steps, total)`` where the total
    isn't known before; does nothing if stderr isn't a terminal."""
    if not sys.stderr.isatty():
        yield lambda steps, total=None: None
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_show.console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda steps, total=None: bar.update(task, advance=steps, total=total)
