"""Runs the requests of a model, one after the other, or several together.

Together are run requests whose rows have the same shapes and types and that ask for the same
outputs, if the model keeps its samples apart (``Session.sample_axes``). Each gets the rows that it
sent. If a run of several fails, each is run alone, so that nobody gets an error of another's.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import stopping_when
from onnxwalk.interpreter.errors import InvalidInputError, LimitError, OnnxWalkError
from onnxwalk.interpreter.session import Session

#: the kinds of rows for which it is remembered whether they can be run together
_MOST_KINDS = 1000


class WaitedTooLongError(LimitError):
    """A request waited longer than it was to."""


@dataclass(eq=False)
class Job:
    """One request: ``rows`` and ``kind`` are ``None`` if it can't be run with others."""

    names: tuple[str, ...]
    feeds: dict[str, np.ndarray]
    #: when it has to have begun, on ``time.monotonic``
    until: float | None
    begun: float = field(default_factory=time.monotonic)
    future: Future[list[Any]] = field(default_factory=Future)
    rows: int | None = None
    kind: Hashable = None
    #: set when nobody waits for the answer any more
    abandoned: bool = False


class Batcher:
    """The queue of a model, and the threads that run it."""

    def __init__(
        self, session: Session, *, batch_size: int = 1, delay: float = 0.0, workers: int = 1
    ) -> None:
        """``batch_size``: the most rows that are run together. ``delay``: the seconds for which a
        request waits for others. ``workers``: how many runs there may be at once."""
        self._session, self._batch_size, self._delay = session, batch_size, delay
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = self._stopped = False
        self._axes: dict[Hashable, list[int] | None] = {}
        self._can_batch = batch_size > 1 and all(
            info.shape is not None and info.shape[:1] and not isinstance(info.shape[0], int)
            for info in session.inputs
        )
        self._threads = [
            threading.Thread(target=self._work, name=f"onnxwalk run {i}", daemon=True)
            for i in range(workers)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:
            raise InvalidInputError(
                f"a server needs threads, and no more can be started: {workers} asked for"
            ) from None

    def submit(
        self, names: Sequence[str], feeds: dict[str, np.ndarray], seconds: float | None = None
    ) -> Job:
        """Put a request into the queue; its ``future`` gets the values of ``names``. ``seconds``:
        how long it may wait before it begins."""
        job = Job(tuple(names), feeds, None if seconds is None else time.monotonic() + seconds)
        if self._can_batch:
            job.rows, job.kind = self._kind_of(job)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()  # one that gathers may be waiting for it
        return job

    def close(self, *, stop: bool = False) -> None:
        """End the threads: when the queue is empty, or, with ``stop``, as soon as a run can be
        stopped."""
        with self._changed:
            self._closed = True
            self._stopped |= stop
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(1.0 if stop else None)

    def _kind_of(self, job: Job) -> tuple[int | None, Hashable]:
        """The rows of a request, and what those that it can be run with have in common."""
        required = {info.name for info in self._session.inputs}
        sizes = {array.shape[:1] for array in job.feeds.values()}
        if job.feeds.keys() != required or len(sizes) != 1 or not next(iter(sizes)):
            return None, None
        rows = len(next(iter(job.feeds.values())))
        if not 0 < rows < self._batch_size:
            return None, None
        tensors = [(n, x.dtype.str, x.shape[1:]) for n, x in sorted(job.feeds.items())]
        if any(x.dtype == object for x in job.feeds.values()):
            return None, None  # strings aren't bound
        return rows, (job.names, tuple(tensors))

    # ------------------------------------------------------------------------------- in a thread

    def _work(self) -> None:
        while jobs := self._next():
            jobs = [job for job in jobs if self._begins(job)]
            if jobs:
                with stopping_when(functools.partial(self._is_useless, jobs)):
                    self._run(jobs)

    def _is_useless(self, jobs: Sequence[Job]) -> bool:
        return self._stopped or all(job.abandoned for job in jobs)

    @staticmethod
    def _begins(job: Job) -> bool:
        if job.abandoned or not job.future.set_running_or_notify_cancel():
            return False
        if job.until is not None and time.monotonic() > job.until:
            message = "the request waited longer than its timeout for its turn"
            job.future.set_exception(WaitedTooLongError(message))
            return False
        return True

    def _next(self) -> list[Job]:
        """The next requests to be run together; none when there won't be any more."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            first = self._waiting.popleft()
            jobs, rows = [first], first.rows
            if rows is None or self._axes.get(first.kind, ()) is None:
                return jobs
            while True:
                for job in [job for job in self._waiting if job.kind == first.kind]:
                    if job.rows is not None and rows + job.rows <= self._batch_size:
                        self._waiting.remove(job)
                        jobs.append(job)
                        rows += job.rows
                left = first.begun + self._delay - time.monotonic()
                if rows >= self._batch_size or left <= 0 or self._closed:
                    return jobs
                self._changed.wait(left)

    def _run(self, jobs: Sequence[Job]) -> None:
        if len(jobs) == 1 or not self._run_together(jobs):
            for job in jobs:
                try:
                    results = self._session.run(job.names, job.feeds)
                except BaseException as error:
                    job.future.set_exception(error)
                else:
                    job.future.set_result(results)

    def _run_together(self, jobs: Sequence[Job]) -> bool:
        """Run several requests as one, if that is possible; else nobody has an answer yet."""
        feeds = {name: np.concatenate([job.feeds[name] for job in jobs]) for name in jobs[0].feeds}
        rows = sum(job.rows or 0 for job in jobs)
        try:
            axes = self._axes_of(jobs[0].kind, feeds)
            if axes is None:
                return False
            names = [info.name for info in self._session.outputs]
            wanted = [axes[names.index(name)] for name in jobs[0].names]
            results = self._session.run(jobs[0].names, feeds)
        except OnnxWalkError:
            return False  # alone, each has its answer, or an error of its own
        if any(y.shape[axis] != rows for y, axis in zip(results, wanted, strict=True)):
            return False
        edges = np.cumsum([job.rows or 0 for job in jobs])[:-1]
        parts = [np.split(y, edges, axis) for y, axis in zip(results, wanted, strict=True)]
        for job, *values in zip(jobs, *parts, strict=True):
            job.future.set_result(values)
        return True

    def _axes_of(self, kind: Hashable, feeds: dict[str, np.ndarray]) -> list[int] | None:
        if kind not in self._axes:
            if len(self._axes) >= _MOST_KINDS:
                self._axes.clear()
            self._axes[kind] = self._session.sample_axes(feeds)
        return self._axes[kind]
