"""The state in which operators are computed: NumPy's, of this thread, and the process's.

``with computing():`` ignores floating-point errors, has NumPy use small buffers, and keeps forks
waiting. Before a fork OpenBLAS ends its threads, in the parent as well, without waiting for a
product that another thread is in the middle of: that product is then wrong, or never ends. So a
fork waits until nothing is computed, and what would begin meanwhile waits until it is over.
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
try:  # what np.errstate and np.setbufsize set, made once
    from numpy._core import umath as _umath

    _computing_state = _umath._make_extobj(all="ignore", bufsize=_BUFFER)
    _state = _umath._extobj_contextvar
except (ImportError, AttributeError):
    pass


class computing:
    """``with computing():`` NumPy's state while operators run.

    Overflow and 0/0 give what ONNX defines, without a warning. Buffers are small: NumPy copies
    rows to them, and back, as long as a buffer of its usual 8192 elements holds a few rows,
    which takes two to four times what the arithmetic does (x * factor by channel of 64x56x56: 2.3
    to 1.0 times ONNX Runtime's time, LayerNormalization 1.2 to 1.0, rows of 256 elements and more).
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
        _end(self._thread)
        if _state is not None:
            _state.reset(self._before)
        else:
            self._errors.__exit__(*error)


# --- forks ----------------------------------------------------------------------------------------

#: seconds that a fork waits for computations at most
_FORK_TIMEOUT = 10.0

_threads: set[int] = set()  # threads; adding and discarding are atomic
_not_forking = threading.Event()
_not_forking.set()
_fork_lock = threading.RLock()


def _begin() -> int:
    """This thread computes from now on. What it gives is for ``_end``."""
    thread = get_ident()
    if thread in _threads:
        return 0  # within another computation, which ends later
    _threads.add(thread)
    while not _not_forking.is_set():  # asked only now, or a fork might not have seen us
        _threads.discard(thread)
        _not_forking.wait()
        _threads.add(thread)
    return thread


def _end(thread: int) -> None:
    """What began is over."""
    if thread:
        _threads.discard(thread)


def _before_fork() -> None:
    _fork_lock.acquire()
    _not_forking.clear()
    patience = time.monotonic() + _FORK_TIMEOUT
    while _threads - {get_ident()} and time.monotonic() < patience:
        time.sleep(0.0002)


def _after_fork() -> None:
    _not_forking.set()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    _threads.intersection_update({get_ident()})  # the other threads aren't there
    _not_forking.set()
    _fork_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
