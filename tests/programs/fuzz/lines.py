"""Which lines of interpreter/ and ops/ have run: a case that runs a new one joins the corpus."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

#: of so many executions one is looked at where looking costs time (before Python 3.12)
ONE_IN = 1 if hasattr(sys, "monitoring") else 8


class Lines:
    """The lines that were seen so far."""

    def __init__(self) -> None:
        self.new = 0
        self._left: dict[CodeType, set[int]] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Count in ``new`` the lines that run for the first time."""
        self.new = 0
        if not hasattr(sys, "monitoring"):
            sys.settrace(self._called)
            try:
                yield
            finally:
                sys.settrace(None)
            return
        tool, events = sys.monitoring.COVERAGE_ID, sys.monitoring.events
        if sys.monitoring.get_tool(tool) is None:  # it costs nothing once a line was seen
            sys.monitoring.use_tool_id(tool, "onnxwalk-fuzz")
            sys.monitoring.register_callback(tool, events.LINE, self._ran)
            sys.monitoring.set_events(tool, events.LINE)
        yield

    def _ran(self, code: CodeType, line: int) -> Any:
        self.new += _is_ours(code)
        return sys.monitoring.DISABLE

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        left = self._left.get(code)
        if left is None:
            lines = {line for *_, line in code.co_lines() if line} if _is_ours(code) else set()
            left = self._left[code] = lines - {code.co_firstlineno}
        return self._traced if left else None

    def _traced(self, frame: FrameType, event: str, argument: Any) -> Any:
        left = self._left[frame.f_code]
        if frame.f_lineno in left:
            left.discard(frame.f_lineno)
            self.new += 1
        return self._traced


def _is_ours(code: CodeType) -> bool:
    return "/interpreter/" in code.co_filename or "/ops/" in code.co_filename
