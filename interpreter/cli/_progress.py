"""A progress bar on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from types import ModuleType
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


class Status:
    """One line about something long, that is told again and again: in a terminal the line stays
    where it is, elsewhere it is printed every ``EVERY`` seconds.

    Nothing is drawn but in ``tell``, by no thread of its own, so that the process can be forked.
    """

    EVERY = 30.0

    def __init__(self, shown: Any) -> None:
        """``shown``: a ``rich.progress.Progress``, or ``None``."""
        self._shown, self._last = shown, time.monotonic()
        self._task = None if shown is None else shown.add_task("", total=1.0)

    def tell(self, text: str, fraction: float) -> None:
        """``fraction``: how much is done, from 0 to 1."""
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, completed=fraction, description=text)
            self._shown.refresh()
        elif time.monotonic() - self._last >= self.EVERY:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._shown is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._shown.console.print(text)


@contextlib.contextmanager
def status() -> Iterator[Status]:
    """A ``Status`` in the ``with`` block."""
    terminal = _terminal()
    if terminal is None:
        yield Status(None)
        return
    with terminal.status_line() as shown:
        yield Status(shown)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Bar]:
    """A progress bar in the ``with`` block, to be called with how much is done, and of how much."""
    terminal = _terminal()
    if terminal is None:
        yield Bar(title, None)
        return
    with terminal.progress_bars() as shown:
        yield Bar(title, shown)


def _terminal() -> ModuleType | None:
    """What draws on stderr; ``None`` where that isn't a terminal, or rich isn't installed."""
    return _show.terminal(sys.stderr) if sys.stderr.isatty() else None
