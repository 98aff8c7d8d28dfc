"""A progress bar on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from onnxwalk.interpreter.cli import _show


class Bar:
    """How far something is: a call shows it, unless stderr isn't a terminal, or rich is missing."""

    def __init__(self, title: str, shown: Any) -> None:
        """``shown``: a ``rich.progress.Progress``, or ``None``."""
        self._shown = shown
        self._task = None if shown is None else shown.add_task(title, total=None)

    def __call__(self, done: int, total: int | None, title: str | None = None) -> None:
        """``total``: of how much, or ``None`` if that isn't known; ``title``: another one."""
        if self._shown is None or self._task is None:
            return
        self._shown.update(self._task, completed=done, total=total, description=title)

    def line(self, text: str) -> None:
        """A line of text that stays, above the bar."""
        if self._shown is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._shown.console.print(text)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Bar]:
    """A progress bar in the ``with`` block, to be called with how much is done, and of how much."""
    terminal = _show.terminal(sys.stderr) if sys.stderr.isatty() else None
    if terminal is None:
        yield Bar(title, None)
        return
    with terminal.progress_bars() as shown:
        yield Bar(title, shown)
