"""A session's profile, in the form of Chrome's trace events that ONNX Runtime writes."""

from __future__ import annotations

import datetime
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnxwalk.interpreter.session import Session


class Profile:
    """Times the nodes of each run until ``end``."""

    def __init__(self, session: Session, prefix: str, begun: int) -> None:
        """``begun``: when loading began, on ``time.perf_counter_ns``."""
        self._session, self._prefix = session, prefix
        self.start = begun
        self.is_on = True
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._add("Session", "model_loading", begun, {})

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        """The outputs of a run, whose nodes are timed one by one."""
        begun = time.perf_counter_ns()
        results: dict[str, Any] = dict(feeds)
        for event in self._session.trace(feeds, optimized=True):
            end = time.perf_counter_ns()
            started = end - int(event.seconds * 1e9)
            kind = {"op_name": event.node.op_type, "provider": "CPUExecutionProvider"}
            self._add("Node", f"{event.node.label}_kernel_time", started, kind, end)
            results |= {name: event.outputs[name] for name in names if name in event.outputs}
        if any(name not in results for name in names):  # a constant, or an input
            results |= dict(zip(names, self._session.run(names, feeds), strict=True))
        self._add("Session", "model_run", begun, {})
        return [x.copy() if isinstance(x, np.ndarray) else x for x in map(results.get, names)]

    def end(self) -> str:
        """Write the file, and return its name; "" if that was done before."""
        if not self.is_on:
            return ""
        self.is_on = False
        now = datetime.datetime.now()
        name = f"{self._prefix}_{now:%Y-%m-%d_%H-%M-%S}_{now.microsecond // 1000:03}.json"
        with open(name, "w", encoding="utf-8") as file:
            json.dump(self._events, file)
        return name

    def _add(
        self, category: str, name: str, begun: int, arguments: dict[str, str], end: int = 0
    ) -> None:
        end = end or time.perf_counter_ns()
        event = {
            "cat": category,
            "name": name,
            "ph": "X",  # complete: it has a duration
            "ts": (begun - self.start) // 1000,
            "dur": (end - begun) // 1000,
            "pid": os.getpid(),
            "tid": threading.get_ident(),
            "args": arguments,
        }
        with self._lock:
            self._events.append(event)
