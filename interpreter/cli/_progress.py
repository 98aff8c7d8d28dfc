"""A progress bar on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onnxwalk.interpreter.cli import _show


class Bar:
    """How far something is: a call shows it, unless stderr isn't a terminal."""

    def __init__(self, title: str, shown: Progress | None) -> None:
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

    def __init__(self, shown: Progress | None) -> None:
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
    if not sys.stderr.isatty():
        yield Status(None)
        return
    columns = (BarColumn(), TextColumn("{task.description}"))
    console = _show.console(stderr=True)
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as shown:
        yield Status(shown)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Bar]:
    """A progress bar in the ``with`` block, to be called with how much is done, and of how much."""
    if not sys.stderr.isatty():
        yield Bar(title, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_show.console(stderr=True), transient=True) as shown:
        yield Bar(title, shown)
