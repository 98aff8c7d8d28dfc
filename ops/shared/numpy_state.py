"""The state in which operators run: NumPy's state in this thread, and no forks.

``with computing():`` ignores floating-point errors, makes NumPy use small buffers, and delays
forks. Before a fork OpenBLAS ends its threads, in the parent as well, without waiting for a product
that another thread is computing: that product is then wrong, or never ends. So a fork waits until
no thread computes, and computations that start meanwhile wait for the fork.
"""

from __future__ import annotations

import os
import threading
import time
from threading import get_ident
from typing import Any

import numpy as np

#: elements of the buffers of ufuncs while operators run
_BUFFER = 512

_state: Any = None
try:  # the state that np.errstate and np.setbufsize set, created once
    from numpy._core import umath as _umath

    _computing_state = _umath._make_extobj(all="ignore", bufsize=_BUFFER)
    _state = _umath._extobj_contextvar
except (ImportError, AttributeError):
    pass


class computing:
    """Context manager in which operators run.

    Overflow and 0/0 return what ONNX defines, without a warning. Buffers are small: while a buffer
    of the usual 8192 elements holds a few rows, NumPy copies rows to it and back, which takes two
    to four times as long as the arithmetic (x * factor by channel of 64x56x56: from 2.3 to 1.0
    times ONNX Runtime's time, LayerNormalization from 1.2 to 1.0, rows of 256 elements and more).
    ``np.errstate`` and ``np.setbufsize`` take 4.5 µs, this 1. No fork happens meanwhile.
    """

    __slots__ = ("_before", "_errors", "_thread")

    def __enter__(self) -> None:
        self._thread = _begin()
        if _state is not None:
            self._before = _state.set(_computing_state)
            return
        self._errors = np.errstate(all="ignore")
        self._errors.__enter__()
        np.setbufsize(_BUFFER)

    def __exit__(self, *error: Any) -> None:
        if self._thread:
            _threads.discard(self._thread)
        if _state is not None:
            _state.reset(self._before)
        else:
            self._errors.__exit__(*error)


# --- forks ----------------------------------------------------------------------------------------

#: seconds that a fork waits at most for computations
_FORK_TIMEOUT = 10.0

_threads: set[int] = set()  # that compute; adding and discarding are atomic
_not_forking = threading.Event()
_not_forking.set()
_fork_lock = threading.RLock()


def _begin() -> int:
    """Register this thread as computing. Returns its id, or 0 if it was registered already."""
    thread = get_ident()
    if thread in _threads:
        return 0  # inside of another computation, which ends later
    _threads.add(thread)
    while not _not_forking.is_set():  # checked after adding, or a fork might miss this thread
        _threads.discard(thread)
        _not_forking.wait()
        _threads.add(thread)
    return thread


def _before_fork() -> None:
    _fork_lock.acquire()
    _not_forking.clear()
    deadline = time.monotonic() + _FORK_TIMEOUT
    while _threads - {get_ident()} and time.monotonic() < deadline:
        time.sleep(0.0002)


def _after_fork() -> None:
    _not_forking.set()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    _threads.intersection_update({get_ident()})  # the child has no other threads
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
