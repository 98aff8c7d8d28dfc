"""Progress of a study: a bar on a terminal, and a line for each completed task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from onnxwalk.export.progress import progress_bars


class Progress:
    """Bars go to stderr if that is a terminal, lines always to stdout."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars

    def say(self, line: str) -> None:
        print(line, flush=True)

    @contextmanager
    def step(self, doing: str, total: int) -> Iterator[Callable[..., None]]:
        """A bar; yields a function to call with the number of units that are done, and with the
        total if that has changed."""
        task = self._bars.add_task(doing, total=total)
        try:
            yield lambda done, of=total: self._bars.update(task, completed=done, total=of)
        finally:
            self._bars.remove_task(task)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Bars for the time of the block."""
    with progress_bars("MofNCompleteColumn", "TimeRemainingColumn") as bars:
        yield Progress(bars)
