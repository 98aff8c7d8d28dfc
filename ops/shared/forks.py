"""A process is forked between computations, not while one goes on.

Before a fork OpenBLAS ends its threads, in the parent as well, without waiting for a product that
another thread is in the middle of: that product is then wrong, or never ends. So a fork waits until
nothing is computed, and what would begin meanwhile waits until it is over.
"""

from __future__ import annotations

import os
import threading
import time
from threading import get_ident

#: seconds that a fork waits for computations at most
_PATIENCE = 10.0

_computing: set[int] = set()  # threads; adding and discarding are atomic
_none_forks = threading.Event()
_none_forks.set()
_one_fork = threading.RLock()


def begin() -> int:
    """This thread computes from now on. What it gives is for ``end``."""
    thread = get_ident()
    if thread in _computing:
        return 0  # within another computation, which ends later
    _computing.add(thread)
    while not _none_forks.is_set():  # asked only now, or a fork might not have seen us
        _computing.discard(thread)
        _none_forks.wait()
        _computing.add(thread)
    return thread


def end(thread: int) -> None:
    """What began is over."""
    if thread:
        _computing.discard(thread)


def _before() -> None:
    _one_fork.acquire()
    _none_forks.clear()
    patience = time.monotonic() + _PATIENCE
    while _computing - {get_ident()} and time.monotonic() < patience:
        time.sleep(0.0002)


def _after() -> None:
    _none_forks.set()
    _one_fork.release()


def _after_in_child() -> None:
    _computing.intersection_update({get_ident()})  # the other threads aren't there
    _none_forks.set()
    _one_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
