"""Two threads for one run: halves of a batch side by side, or BLAS with as many of its own."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError

#: batches smaller than this are not cut: handing work over costs 30 to 80 µs
FEWEST_SAMPLES = 16


@functools.cache
def _blas() -> list[Any]:
    """The BLAS libraries of this process. Raises InvalidInputError saying what to install."""
    try:
        import threadpoolctl  # type: ignore[import-untyped]
    except ImportError:
        raise InvalidInputError(
            "threads needs threadpoolctl: pip install 'onnxwalk[threads]'"
        ) from None
    controller = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return list(controller.lib_controllers)


def check_threads(threads: int | None) -> int:
    """The number of threads that ``load`` was given, 1 for ``None``. Raises InvalidInputError."""
    if threads is None or threads == 1:
        return 1
    if type(threads) is not int or threads < 1:
        raise InvalidInputError(f"threads must be a positive whole number, not {threads!r}")
    _blas()
    return threads


_lock = threading.Lock()
_users = 0
_before: list[tuple[Any, int]] = []


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Have BLAS use so many threads of its own meanwhile, in all of the process; of several that
    ask at a time, as many as the first one says: it isn't changed under a product."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            now = [(library, library.get_num_threads()) for library in _blas()]
            _before[:] = [(library, n) for library, n in now if n != count]
            for library, _ in _before:
                library.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for library, n in _before:
                    library.set_num_threads(n)


def _alone() -> None:
    """In a process that was forked: whoever used BLAS, or held the lock, isn't there."""
    global _lock, _users
    _lock, _users = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)
