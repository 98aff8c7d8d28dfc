"""What is being done: a bar on a terminal, and a line for each thing done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Progress:
    """Bars go to stderr if that is a terminal, lines always to stdout."""

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        self._bars: Any = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=console.is_terminal,
        )
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        print(line, flush=True)

    @contextmanager
    def step(self, doing: str, total: int) -> Iterator[Callable[..., None]]:
        """A bar; yields the function that is told how much is done, and of how much if that has
        changed."""
        task = self._bars.add_task(doing, total=total)
        try:
            yield lambda done, of=total: self._bars.update(task, completed=done, total=of)
        finally:
            self._bars.remove_task(task)
