"""Checks the number of threads, and sets that of BLAS."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError

#: what BLAS libraries read when NumPy is imported: the threads that they use
BLAS_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


@functools.cache
def _blas_libraries() -> list[Any]:
    """The BLAS libraries of this process. Raises InvalidInputError if threadpoolctl is missing."""
    try:
        import threadpoolctl  # type: ignore[import-untyped]
    except ImportError:
        message = "threads requires threadpoolctl: pip install 'onnxwalk[threads]'"
        raise InvalidInputError(message) from None
    controller = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return list(controller.lib_controllers)


@functools.cache
def can_set_threads() -> bool:
    """Whether threadpoolctl is there, and BLAS has several threads."""
    try:
        return any(library.get_num_threads() > 1 for library in _blas_libraries())
    except InvalidInputError:
        return False


@functools.cache
def cores() -> int:
    """The cores of this machine; asked once, as the system's answer takes 7 to 12 µs."""
    return os.cpu_count() or 1


def blas_kernels() -> str:
    """The BLAS library and the kernels that it runs, as in "openblas SkylakeX"; "" if unknown."""
    try:
        infos = [library.info() for library in _blas_libraries()]
    except InvalidInputError:
        return ""
    names = (f"{i['internal_api']} {i.get('architecture', '')}".strip() for i in infos)
    return ", ".join(dict.fromkeys(names))


#: how long a number of free cores holds, in seconds
_HOLDS = 0.05
_free, _until = 0, 0.0


def free_cores() -> int:
    """The cores that nobody else uses now, as the kernel counts what is running; at least 1. All
    cores where it doesn't tell (other systems than Linux)."""
    global _free, _until
    now = time.monotonic()
    if now > _until:
        try:
            with open("/proc/loadavg", encoding="ascii") as file:
                running = int(file.read().split()[3].split("/")[0])
        except (OSError, IndexError, ValueError):
            running = 1
        _free, _until = max(1, cores() - max(0, running - 1)), now + _HOLDS  # one is this thread
    return _free


@functools.cache
def can_start_threads() -> bool:
    """Whether this Python can start a thread, which it can't in WebAssembly."""
    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


@functools.cache
def say_that_no_thread_starts() -> None:
    """Warn, once in a process, that runs use one thread."""
    warnings.warn(
        "no thread can be started: models run in one, whatever threads= says",
        RuntimeWarning,
        stacklevel=2,
    )


def check_threads(threads: int | None) -> int:
    """The number of threads; 0 for ``None``, those that BLAS has. Where no thread can be started it
    is one, with a warning. Raises InvalidInputError."""
    if threads is None:
        return 0
    if not isinstance(threads, int | np.integer) or isinstance(threads, bool) or threads < 1:
        raise InvalidInputError(f"threads must be a positive integer, not {threads!r}")
    if threads > 1:
        if not can_start_threads():
            say_that_no_thread_starts()
            return 1
        _blas_libraries()
    return int(threads)


_lock = threading.Lock()
_users = 0
_saved: list[tuple[Any, int]] = []


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Set the number of BLAS's own threads in the ``with`` block, for the entire process. If
    several threads do so at once, the first number holds: it must not change during a product."""
    global _users
    libraries = _blas_libraries()
    with _lock:
        _users += 1
        if _users == 1:
            now = [(library, library.get_num_threads()) for library in libraries]
            _saved[:] = [(library, n) for library, n in now if n != count]
            for library, _ in _saved:
                library.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for library, n in _saved:
                    library.set_num_threads(n)


def _reset_after_fork() -> None:
    """The threads that used BLAS, or held the lock, don't exist in a forked process."""
    global _lock, _users
    _lock, _users = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
