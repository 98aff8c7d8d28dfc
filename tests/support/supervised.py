"""Processes under supervision: how long they take, how much memory, and how they end."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Ended:
    """How a process ended. ``status``: as ``subprocess`` has it, ``None`` if it was killed here."""

    status: int | None
    seconds: float
    mebibytes: float  # the peak of its resident memory
    why: str = ""  # it was killed: "time" or "memory"


def resident(pid: int) -> float:
    """The resident memory of a process in MiB; 0 once it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / (1 << 20)


def peak() -> float:
    """The most resident memory that this process has had, in MiB. (What getrusage tells has the
    peak of the process that started this one in it.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def open_files(pid: int | None = None) -> int:
    """How many files a process, this one if not told, has open."""
    return len(os.listdir(f"/proc/{pid or 'self'}/fd"))


#: what ``start`` made
_started: weakref.WeakSet[subprocess.Popen[Any]] = weakref.WeakSet()


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """A process at the head of a group of its own, which ``kill`` ends as a whole."""
    with _signals.later():  # one that has begun, and isn't known, would go on
        process = subprocess.Popen(command, start_new_session=True, **options)
        _started.add(process)
    return process


class _Signals:
    """SIGINT and SIGTERM as KeyboardInterrupt; in a ``later`` block at its end."""

    def __init__(self) -> None:
        self._waits = self._came = False

    def __call__(self, number: int, frame: object) -> None:
        self._came = True
        if not self._waits:
            self._raise()

    def _raise(self) -> None:
        self._came = False
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
            if self._came:
                self._raise()


_signals = _Signals()


@contextlib.contextmanager
def none_left() -> Iterator[None]:
    """SIGTERM, which ``timeout`` sends, is KeyboardInterrupt in the block, as Ctrl-C is; and when
    it ends so do all processes that ``start`` made. Also a decorator. For the main thread."""
    others = [*_started]
    before = {n: signal.signal(n, _signals) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for process in [p for p in [*_started] if p not in others]:
            kill(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def kill(process: subprocess.Popen[Any], number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that ``start`` made, and to those that it made."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return


def watch(
    process: subprocess.Popen[Any], *, seconds: float, mebibytes: float = float("inf")
) -> Ended:
    """Wait for the end of a process; kill it when it takes more time or memory."""
    begun, most = time.monotonic(), 0.0
    why = ""
    while process.poll() is None:
        most = max(most, resident(process.pid))
        passed = time.monotonic() - begun
        why = "time" if passed > seconds else "memory" if most > mebibytes else ""
        if why:
            kill(process)
            process.wait()
            break
        time.sleep(min(0.02, 0.001 + passed / 20))
    return Ended(None if why else process.returncode, time.monotonic() - begun, most, why)


def limit_address_space(gibibytes: float) -> None:
    """Let this process have so much more address space than it has now, and leave no core file."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(gibibytes * (1 << 30))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Progress:
    """A line on stderr that says how far a long step is: rewritten on a terminal, else a line
    every ten seconds."""

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self._shown = float("-inf")

    def show(self, text: str, *, last: bool = False) -> None:
        """Show the text if it is time to, or if it is the last."""
        terminal = self.stream.isatty()
        now = self.clock()
        if not last and now - self._shown < (0.2 if terminal else 10.0):
            return
        self._shown = now
        end = "\n" if last or not terminal else ""
        self.stream.write(f"\r\x1b[K{text}{end}" if terminal else f"{text}\n")
        self.stream.flush()
