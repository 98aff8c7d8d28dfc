"""Standard streams that are closed."""

from __future__ import annotations

import contextlib
import os
import sys


def open_standard_streams() -> None:
    """Put the null device in place of standard streams that are closed (``>&-``): what would be
    printed isn't, and no file that is opened later is taken for one of them."""
    if sys.stdin and sys.stdout and sys.stderr:
        return
    while os.open(os.devnull, os.O_RDWR) < 3:
        pass  # the lowest number that is free
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def discard_output() -> None:
    """Redirect stdout to the null device, or Python reports the broken pipe again at exit."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
