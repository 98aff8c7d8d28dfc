"""Processes that work on parts: replaced when they die or hang, and their parts done again."""

from __future__ import annotations

import _thread
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import time
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

from onnxwalk.interpreter.batches.part import Done
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError, wrap_error

#: what workers call with a part, and what hears how many of its rows are done: ``Done``, or an
#: OnnxWalkError. It must be one that can be pickled where processes can't be forked.
Work = Callable[[str, Callable[[int, int], object]], Done]

#: with what a part may be done that lost its workers
LESS_MEMORY = "with less memory in use (--batch, fewer --workers)"
LONGER = "with a larger --part-timeout"

_TOLD = 0.2  # seconds between what is heard of a part
_TICK = 0.25  # seconds between looks at the clock
_ORPHAN = 0.5  # seconds between a worker's looks at whether it is still wanted


def can_fork() -> bool:
    """Whether workers share the memory of the process that starts them."""
    return "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Processes that begin in the block don't run the program that started this one. They need
    nothing of it, and where it has no ``if __name__ == "__main__"`` it would begin anew in each."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")  # multiprocessing looks there
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@dataclass(frozen=True)
class Rows:
    """How far a worker is with a part: ``done`` rows of ``total``."""

    part: str
    done: int
    total: int


@dataclass(frozen=True)
class Lost:
    """A worker that is gone. ``again``: whether its part will be done by another one; if not,
    ``times``: how many were lost, and ``advice``: with what it may be done."""

    part: str
    why: str
    again: bool
    times: int = 1
    advice: str = ""


@dataclass(frozen=True)
class Failed:
    """A part that stopped its worker with an error."""

    part: str
    error: OnnxWalkError


Event: TypeAlias = "Done | Rows | Lost | Failed | None"


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    part: str | None = None
    heard: float = field(default_factory=time.monotonic)  # when it last said something
    is_gone: bool = False  # nothing more will be heard


class Pool:
    """``count`` processes, while it is entered; none is left afterwards."""

    def __init__(
        self, work: Work, count: int, *, timeout: float | None = None, retries: int = 2
    ) -> None:
        """``timeout``: the seconds after which a worker that says nothing is taken to hang.
        ``retries``: how often a part is tried again whose worker was lost."""
        self._context: Any = multiprocessing.get_context("fork" if can_fork() else "spawn")
        self._work, self._count = work, count
        self._timeout, self._retries = timeout, retries
        self._workers: list[_Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers, whatever they are doing: what they write isn't there until it is
        whole."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    @property
    def processes(self) -> list[int]:
        """The numbers of the workers."""
        return [worker.process.pid for worker in self._workers]

    def run(self, parts: Sequence[str]) -> Iterator[Event]:
        """Do all parts, and tell what happens to them as it does; ``None`` every so often.

        A part whose worker was lost too often is ``Lost`` without ``again``.
        """
        waiting = deque(parts)
        tries = dict.fromkeys(parts, 0)
        while waiting or any(worker.part is not None for worker in self._workers):
            while len(self._workers) < min(self._count, len(waiting) + self._busy):
                self._start()
            for worker in self._workers:
                if waiting and worker.part is None:
                    self._give(worker, waiting.popleft())
            pipes = {worker.pipe: worker for worker in self._workers}
            for pipe in wait([*pipes], _TICK):
                yield from self._hear(pipes[pipe])  # type: ignore[index]
            yield None
            for worker, why, advice in self._lost():
                self._workers.remove(worker)
                worker.pipe.close()
                if worker.part is None:
                    continue
                tries[worker.part] += 1
                times = tries[worker.part]
                again = times <= self._retries
                if again:
                    waiting.appendleft(worker.part)
                yield Lost(worker.part, why, again, times, advice)

    @property
    def _busy(self) -> int:
        return sum(worker.part is not None for worker in self._workers)

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        arguments = (self._work, theirs, os.getpid())
        process = self._context.Process(target=_main, args=arguments, daemon=True)
        with warnings.catch_warnings():
            # Python warns of threads that a fork leaves behind; BLAS's come back by themselves
            warnings.simplefilter("ignore", DeprecationWarning)
            with _interrupts_later(), without_main():
                process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _give(self, worker: _Worker, part: str) -> None:
        worker.part, worker.heard = part, time.monotonic()
        with contextlib.suppress(OSError):  # it is dead, which is seen soon
            worker.pipe.send(part)

    def _hear(self, worker: _Worker) -> Iterator[Done | Rows | Failed]:
        """What a worker has said; nothing if it has died."""
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.kill()  # if it isn't dead: without a pipe it is of no use
            worker.process.join()
            worker.is_gone = True
            return
        worker.heard = time.monotonic()
        if not isinstance(said, Rows):
            worker.part = None
        yield said

    def _lost(self) -> Iterator[tuple[_Worker, str, str]]:
        """The workers that are dead, or are killed now because they hang, why, and what may
        help."""
        for worker in [*self._workers]:
            if worker.is_gone:
                yield worker, _describe(worker.process.exitcode), LESS_MEMORY
            elif (
                self._timeout is not None
                and worker.part is not None
                and time.monotonic() - worker.heard > self._timeout
            ):
                worker.process.kill()
                worker.process.join()
                yield worker, f"no batch was finished in {self._timeout:g} s", LONGER


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C waits until the ``with`` block is done; in a process that begins meanwhile until it
    has said what is to come of it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _describe(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"its worker ended with status {status}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status).name
        hint = ", as happens where memory is short" if name == "SIGKILL" else ""
        return f"its worker was ended by {name}{hint}"
    return f"its worker was ended by signal {-status}"


def _main(work: Work, pipe: Connection, parent: int) -> None:
    """A worker: parts come in, what became of them goes out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    _thread.start_new_thread(_end_if_orphan, (parent,))
    with contextlib.suppress(EOFError, OSError):
        while True:
            part = pipe.recv()
            pipe.send(_do(work, part, functools.partial(_tell, pipe, part, [0.0])))


def _do(work: Work, part: str, tell: Callable[[int, int], object]) -> Done | Failed:
    try:
        return work(part, tell)
    except OnnxWalkError as error:
        return Failed(part, InvalidInputError(str(error)))  # of a kind that can be sent
    except Exception as error:  # a defect: told with the part's name, it doesn't end the worker
        return Failed(part, OnnxWalkError(str(wrap_error(error, part))))


def _tell(pipe: Connection, part: str, last: list[float], done: int, total: int) -> None:
    """Tell the parent how far a part is, not too often."""
    now = time.monotonic()
    if now - last[0] >= _TOLD:
        last[0] = now
        pipe.send(Rows(part, done, total))


def _end_if_orphan(parent: int) -> None:
    """End this process once its parent has gone: nobody would replace it, or hear of it."""
    while os.getppid() == parent:
        time.sleep(_ORPHAN)
    os._exit(1)
