"""What tracing and profiling cost a run that doesn't ask for them, and what limits cost, measured.

The floor is the bare list of NumPy calls that a plan bound to the inputs' shapes consists of; what
a run takes beyond it finds the plan, takes the inputs and hands out the outputs. And of two
sessions one is traced and profiled: it may not be slower afterwards, beside the other. Limits are
there by default: a run with them, and one whose time is limited too, stand beside one without.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnxwalk
from onnxwalk.interpreter.analysis.profile import profile
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.threads import blas_threads
from onnxwalk.interpreter.session import Session
from onnxwalk.ops.shared.numpy_state import computing

#: models of the suite that it is measured on, at batch 1: small and large, fused and recurrent
MODELS = (
    ("assignment", "cnn"),
    ("assignment", "lstm"),
    ("chain", "10,000 nodes"),
    ("keras.applications", "MobileNetV2"),
)
_FEWEST = 10  # pairs


def measured(file: Path, feeds: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """On one thread: seconds of the floor and of a run, and medians of the ratios of runs that
    follow each other. ``beyond_floor`` is the run over the floor, ``after_hooks`` a session's runs
    after a trace and a profile over those before, each beside a session that is left alone,
    ``limited`` and ``timed`` runs with limits over one without."""
    with blas_threads(1):
        return _measured(file, dict(feeds), seconds)


def _measured(file: Path, feeds: dict[str, Any], seconds: float) -> dict[str, float]:
    # All are there, and bound, before anything is measured: what lies near what in memory tells.
    alone, watched, free, timed = (
        onnxwalk.load(file, limits=limits)
        for limits in (Limits(), Limits(), None, Limits(max_seconds=60))
    )
    for session in (alone, watched, free, timed):
        session.run(None, feeds)
    found = alone._runner.bind(feeds)
    if found is None:
        raise RuntimeError(f"{file.name}: its runs are walks, there is no list of calls")
    bound, arguments = found
    bound.run(arguments)
    calls = bound.calls

    def floor() -> None:
        with computing():
            for function, operands in calls:
                function(*operands)

    each = seconds / 5
    floors, runs = _pairs(floor, _run(alone, feeds), each)
    before = _pairs(_run(alone, feeds), _run(watched, feeds), each)
    for _ in watched.trace(feeds, iterations=1):
        pass
    profile(watched, feeds, 3)
    after = _pairs(_run(alone, feeds), _run(watched, feeds), each)
    bound.outputs()
    return {
        "floor": statistics.median(floors),
        "run": statistics.median(runs),
        "beyond_floor": _ratio(floors, runs),
        "after_hooks": _ratio(*after) / _ratio(*before),
        "limited": _ratio(*_pairs(_run(free, feeds), _run(alone, feeds), each)),
        "timed": _ratio(*_pairs(_run(free, feeds), _run(timed, feeds), each)),
    }


def _run(session: Session, feeds: dict[str, Any]) -> Callable[[], Any]:
    return lambda: session.run(None, feeds)


def _pairs(
    one: Callable[[], Any], other: Callable[[], Any], seconds: float
) -> tuple[list[float], list[float]]:
    """The seconds of both, in turn: what the machine does meanwhile meets both alike."""
    for call in (one, other):  # the first runs bind and fill caches
        call()
        call()
    end = time.perf_counter() + seconds
    times: tuple[list[float], list[float]] = ([], [])
    while time.perf_counter() < end or len(times[0]) < _FEWEST:
        first = len(times[0]) % 2  # whoever comes second finds warmer caches
        for which in (first, 1 - first):
            start = time.perf_counter()
            (one, other)[which]()
            times[which].append(time.perf_counter() - start)
    return times


def _ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(b / a for a, b in zip(one, other, strict=True))
