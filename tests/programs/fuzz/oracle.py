"""One execution, and what must hold of it: see ``PROPERTIES``."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk import Limits, OnnxWalkError, OperatorError
from onnxwalk.interpreter.compiler.passes import NOT_WALKED
from onnxwalk.ops import registry
from tests.programs.fuzz.case import Case, copied
from tests.support.supervised import peak, resident

PROPERTIES = {
    "escaped": "only an OnnxWalkError or an answer comes out",
    "warned": "no warning is given",
    "many lines": "a message is one line of at most 20,000 characters",
    "not an array": "outputs are arrays (strings: of str), lists, dicts or None",
    "shared": "outputs share no memory with feeds, and can be written to",
    "feeds changed": "feeds are as they were",
    "other answer": "a second run, of the same session or of another, gives the same",
    "disagrees": "optimized and as written give the same within rounding",
    "slow": "it ends in time",
    "memory": "it stays within the memory it may have",
    "crashed": "the process lives",
}

#: how a warning ends that says what ``load`` assumed of a file that breaks a rule of ONNX
_ASSUMED = "(strict=True refuses that)"
LIMITS = Limits(max_memory=1 << 30, max_seconds=4)
#: seconds of the processor that loading, or a run, may take, on a machine that is busy
SLOW = 8.0
#: MiB by which the process may grow in either: the limit, and what an allocator rounds up
MUCH = 1024 + 32


@dataclass(frozen=True)
class Finding:
    """A property that didn't hold."""

    kind: str
    message: str
    where: str = ""  # the innermost frame of ours
    trace: str = ""

    @property
    def key(self) -> str:
        """Findings with one key are taken to have one cause."""
        return f"{self.kind} {self.where} {template(self.message)}"[:240]

    @property
    def by_limits(self) -> bool:
        """Whether it is about time or memory."""
        return self.kind in ("slow", "memory")


@dataclass
class Outcome:
    """What came of a case: how it ended, the operators that were there, and what didn't hold."""

    ended: str  # "answer" or the error's class
    message: str = ""
    operators: frozenset[str] = frozenset()
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def novelty(self) -> str:
        """What makes a case new to the corpus, beside new lines."""
        return f"{self.ended} {template(self.message)}"


class _TooSlow(BaseException):
    """Not an Exception: nobody takes it for an operator's refusal."""


def template(message: str) -> str:
    """A message without what is particular to one model."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"|[-+]?\d[\d.e+,]*|\b0x\w+", "#", message)
    return re.sub(r"#(?:[ ,]+#)+", "#", plain)[:200]


def judge(case: Case, *, again: bool = True) -> Outcome:
    """Run a case and hold it against all properties. ``again``: also those that cost more runs."""
    start = time.perf_counter()
    outcome = Outcome("answer")
    with _beside(case) as model, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        _judge(case, model, outcome, again)
    for warning in warned:
        if str(warning.message).endswith(_ASSUMED):
            continue  # what load says about a file that breaks a rule
        where = f"{Path(warning.filename).name}:{warning.lineno}"
        outcome.findings.append(Finding("warned", str(warning.message), where))
    outcome.seconds = time.perf_counter() - start
    return outcome


def _judge(case: Case, model: Any, outcome: Outcome, again: bool) -> None:
    session, results = _try(outcome, model, case)
    if results is None:
        outcome.operators = _operators(session)
        if again and outcome.ended not in ("LimitError", "slow"):
            _plain(case, model, outcome, session, None)
        return
    feeds, values = results
    outcome.operators = _operators(session)
    _check_values(values, feeds, outcome)
    if _differ(feeds, case.laid_out(), exact=True):
        outcome.findings.append(Finding("feeds changed", _label(outcome)))
    if not again or _random(session):
        return
    kept = copied(values)
    other = Outcome("answer")
    _, second = _try(other, model, case, session=session)
    outcome.findings += other.findings
    if other.ended == "slow" or "max_seconds" in other.message:  # time is not the same twice
        return
    # A body may be walked at first and bound later, whose sums are rounded in another order.
    exact = not any(node.graphs for node in session.graph.nodes)
    if second is None or _differ(kept, second[1], exact=exact):
        outcome.findings.append(Finding("other answer", f"in a second run: {_label(outcome)}"))
    elif _differ(kept, values, exact=True):
        outcome.findings.append(Finding("other answer", f"written over: {_label(outcome)}"))
    else:
        _plain(case, model, outcome, session, kept)


def _rounded_at_nodes(case: Case, model: Any, found: Any) -> Any:
    """What was found, or the same with short floats rounded after each node."""
    names = [name for name in onnxwalk.REWRITES if name not in NOT_WALKED]
    _, results = _try(Outcome("answer"), model, case, rewrites=names)
    return found if results is None else results[1]


def _plain(case: Case, model: Any, outcome: Outcome, session: Any, found: Any) -> None:
    """The same as the file has it, held against what was found (``None``: an error)."""
    other = Outcome("answer")
    plain, results = _try(other, model, case, optimize=False)
    outcome.findings += other.findings
    if other.ended in ("LimitError", "slow"):  # the two need memory and time of their own
        return
    if results is None:
        # What no output needs isn't computed by the optimized plan; its errors are not missed.
        if found is not None and not other.findings and not _is_unused(other, plain, session):
            message = f"as written {other.ended}: {other.message}; optimized it answers"
            outcome.findings.append(Finding("disagrees", message))
        return
    if _random(plain):
        return
    if found is None:
        message = f"optimized {outcome.ended}: {outcome.message}; as written it answers"
        outcome.findings.append(Finding("disagrees", message))
    elif difference := _differ(found, results[1], exact=False) and _differ(
        _rounded_at_nodes(case, model, found), results[1], exact=False
    ):
        outcome.findings.append(Finding("disagrees", f"{difference}: {_label(outcome)}"))


def _try(
    outcome: Outcome, model: Any, case: Case, session: Any = None, **options: Any
) -> tuple[Any, Any]:
    """The session, and its feeds and results; ``None`` for what ended in an error."""
    feeds = case.laid_out()
    try:
        if session is None:
            with _alarm(), _weighed(outcome, "loading"):
                session = onnxwalk.load(model, seed=0, limits=LIMITS, **options)
        with _alarm(), _weighed(outcome, "running"):
            return session, (feeds, session.run(None, feeds))
    except _TooSlow as error:
        outcome.ended = "slow"
        outcome.findings.append(Finding("slow", f"over {SLOW:g} s", *_origin(error)))
    except OnnxWalkError as error:
        outcome.ended, outcome.message = type(error).__name__, str(error)
        cause = error.__cause__
        if "MemoryError" in outcome.message or isinstance(cause, MemoryError):
            outcome.findings.append(Finding("memory", outcome.message, *_origin(error)))
        elif type(error) is OnnxWalkError:  # it stands for one that nobody thought of
            outcome.findings.append(Finding("escaped", outcome.message, *_origin(cause or error)))
        elif len(outcome.message.splitlines()) != 1 or len(outcome.message) > 20_000:
            outcome.findings.append(Finding("many lines", outcome.message[:200], *_origin(error)))
    except MemoryError as error:
        outcome.ended = "MemoryError"
        outcome.findings.append(Finding("memory", f"MemoryError: {error}", *_origin(error)))
    except Exception as error:
        outcome.ended = type(error).__name__
        message = f"{outcome.ended}: {error}"
        outcome.findings.append(Finding("escaped", message, *_origin(error)))
    return session, None


def _origin(error: BaseException) -> tuple[str, str]:
    """The innermost frame of ours, and the whole traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/interpreter/" in f.filename or "/ops/" in f.filename]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else ""
    return where, "".join(traceback.format_exception(error))[-4000:]


def _operators(session: Any) -> frozenset[str]:
    return frozenset(_nodes(session.graph)) if session is not None else frozenset()


def _nodes(graph: Any) -> Iterator[str]:
    for node in graph.nodes:
        yield f"{node.op_type}"
        for _, inner in node.graphs:
            yield from _nodes(inner)


def _label(outcome: Outcome) -> str:
    return " ".join(sorted(outcome.operators))


#: they draw as many numbers as nodes are computed, which the rewrites may change; a hash is another
#: one for another last bit
_DRAWING = {operator.name for operator in registry if "rng" in operator.reserved}
_DRAWING.add("MurmurHash3")


def _random(session: Any) -> bool:
    return not _DRAWING.isdisjoint(_operators(session))


def _is_unused(failed: Outcome, plain: Any, session: Any) -> bool:
    """Whether an operator's error comes from a node that the optimized plan hasn't got, or that
    gives fewer outputs there."""
    if failed.ended != OperatorError.__name__:
        return False

    def outputs(one: Any) -> list[int]:
        *_, plan = one._program._plans.values()  # the one that ran
        nodes = _nodes_of_plan(plan)
        return [len(n.outputs) for n in nodes if failed.message.startswith(f"{n}, ")]

    return outputs(session) != outputs(plain)


def _nodes_of_plan(plan: Any) -> Iterator[Any]:
    for step in plan.steps:
        yield step.node
        for body, *_ in step.bodies.values():
            yield from _nodes_of_plan(body)


# ---------------------------------------------------------------------------------- comparisons


def _check_values(values: Any, feeds: Any, outcome: Outcome) -> None:
    fed = list(_arrays(list(feeds.values())))
    for value in _arrays(values):
        if not isinstance(value, np.ndarray):
            kind = f"{type(value).__name__}: {_label(outcome)}"
            outcome.findings.append(Finding("not an array", kind))
        elif value.dtype == object and not all(isinstance(text, str) for text in value.flat):
            kind = f"strings that are no str: {_label(outcome)}"
            outcome.findings.append(Finding("not an array", kind))
        elif not value.flags.writeable:
            outcome.findings.append(Finding("shared", f"read-only: {_label(outcome)}"))
        elif any(np.may_share_memory(value, x) for x in fed if isinstance(x, np.ndarray)):
            outcome.findings.append(Finding("shared", f"with a feed: {_label(outcome)}"))


def _arrays(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _arrays(value)
        elif not isinstance(value, dict) and value is not None:
            yield value


def _differ(one: Any, other: Any, *, exact: bool) -> str:
    """How two values differ; "" if they don't."""
    if isinstance(one, dict) and isinstance(other, dict):
        if list(one) != list(other):
            return "keys"
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return "lengths"
        pairs = zip(one, other, strict=True)
        return next((d for a, b in pairs if (d := _differ(a, b, exact=exact))), "")
    if not isinstance(one, (np.ndarray, np.generic)):
        return "" if type(one) is type(other) and (one == other or one != one) else "kinds"
    if not isinstance(other, (np.ndarray, np.generic)):
        return "kinds"
    if one.dtype != other.dtype:
        return f"types {one.dtype} {other.dtype}"
    if one.shape != other.shape:
        return f"shapes {one.shape} {other.shape}"
    if one.dtype.kind not in "fcV":
        return "" if (one == other).all() else "values"
    return _floats_differ(one, other, exact)


#: elements that are compared at a time
_BLOCK = 1 << 20
#: a few steps of each type, of the largest value of an array: sums may be taken in another order
_STEPS = {2: 8e-3, 4: 2e-4, 8: 1e-7, 16: 1e-7}


def _floats_differ(one: np.ndarray, other: np.ndarray, exact: bool) -> str:
    wide = np.complex128 if one.dtype.kind == "c" else np.float64
    near = 0.0 if exact else 0.2 if one.dtype.itemsize == 1 else _STEPS[one.dtype.itemsize]
    if one.dtype.name == "bfloat16" and not exact:
        near = 4e-2
    scale, apart = 1.0, 0.0
    with np.errstate(all="ignore"):
        for start in range(0, one.size, _BLOCK):  # large ones leave no room for copies of all
            a, b = (x.reshape(-1)[start : start + _BLOCK].astype(wide) for x in (one, other))
            if not exact:  # what overflows in one order of a sum may not in another
                largest = np.finfo(np.float32 if one.dtype.itemsize > 2 else np.float16).max / 1e3
                kept = (abs(a) < largest) & (abs(b) < largest) | (np.isnan(a) & np.isnan(b))
                a, b = a[kept], b[kept]
            if (np.isnan(a) != np.isnan(b)).any():
                return "values"
            scale = max(scale, np.nanmax(abs(a), initial=1.0))
            apart = max(apart, np.nanmax(np.where(a == b, 0, abs(a - b)), initial=0.0))
    if apart == 0 or apart <= near * scale:
        return ""
    return f"values by {apart / scale:.1e}" if np.isfinite(apart) else "values"


# -------------------------------------------------------------------------- time, memory, files


@contextlib.contextmanager
def _beside(case: Case) -> Iterator[Any]:
    """The model as ``load`` takes it: bytes, or a path with the case's files beside it."""
    if not case.files:
        yield case.model
        return
    with tempfile.TemporaryDirectory(prefix="onnxwalk-fuzz-") as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(case.model)
        for name, data in case.files.items():
            Path(folder, name).write_bytes(data)
        yield path


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Raise _TooSlow in what takes too long. NumPy's own loops don't hear it: what supervises the
    process ends those."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SLOW)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _weighed(outcome: Outcome, what: str) -> Iterator[None]:
    """Find that the process grew by more than it may, from what it has now to a new peak."""
    now, before = resident(os.getpid()), peak()
    try:
        yield
    finally:
        if peak() > before and peak() - now > MUCH:
            message = f"{peak() - now:.0f} MiB more in {what}: {_label(outcome)}"
            outcome.findings.append(Finding("memory", message))
