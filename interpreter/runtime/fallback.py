"""Where a fast form fails, plain operators take over: they succeed, or have the better message.

If they succeed, the results are right and nothing but the time tells that there is a defect. So
whoever passes over an exception of a fast form notes it here, and a run that succeeds reports what
was noted in it: with a warning, which asks the user to tell us, and in ``seen``, by which tests and
the platforms' probe find it whatever becomes of the warning.
"""

from __future__ import annotations

import warnings
from collections import deque
from threading import get_ident

from onnxwalk.interpreter.errors import LimitError, RunStopped, refuses_memory
from onnxwalk.interpreter.runtime.bind import ShapeChanged

#: by thread: what was noted in its run. Empty but after a failure, so that a run can ask at once
noted: dict[int, list[str]] = {}

#: what was reported last
seen: deque[str] = deque(maxlen=100)


def defect(error: Exception, what: str) -> str | None:
    """What an exception of a fast form means if plain operators succeed. ``None`` for limits, as
    plain operators use less memory, and for other shapes than before."""
    if isinstance(error, LimitError | RunStopped | ShapeChanged) or refuses_memory(error):
        return None
    return f"{type(error).__name__} in {what}, but the walk succeeded: {error}; please report it"


def note(error: Exception, what: str = "the bound plan") -> None:
    """An exception of a fast form is passed over. Only its text is kept, as it refers to the memory
    of the plan."""
    if (text := defect(error, what)) is not None:
        add(text)


def add(text: str) -> None:
    """Note what ``defect`` says, to be reported if the run succeeds."""
    noted.setdefault(get_ident(), []).append(text)


def forget() -> None:
    """Call if a run raises: its error says what was noted."""
    noted.pop(get_ident(), None)


def report(source: str) -> None:
    """Call if a run succeeds, and something was ``noted``. ``source``: the model's name."""
    for text in noted.pop(get_ident(), ()):
        seen.append(f"{source}: {text}")
        warnings.warn(seen[-1], RuntimeWarning, stacklevel=1)
