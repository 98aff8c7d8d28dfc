"""One file: what onnxwalk, ONNX Runtime and the framework answer, and who agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.interpreter.runtime.trace import Event

RIGHT, KNOWN, WRONG, REFUSED = "right", "known", "wrong", "refused"

Feeds = dict[str, np.ndarray]

#: how far numbers may be apart at least where a file computes in these types: rounded after each
#: node, in another order, or, as onnxwalk and ONNX Runtime do when they optimize, not in between
_SHORT = {"float16": 5e-3, "bfloat16": 1e-2}


@dataclass(frozen=True)
class Result:
    """What became of a file. ``verdict`` is one of

    right     onnxwalk, ONNX Runtime (unless it can't run the file) and the framework agree
    known     the framework answers otherwise than the file; the program says why
    wrong     any other difference or error
    refused   the exporter wrote no file
    """

    name: str
    verdict: str
    detail: str = ""


def compare(path: Path, tolerance: float, known: dict[str, str]) -> Result:
    """Run a file on its inputs, which are in the ``.npz`` next to it."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        feeds, framework = _read(dict(arrays))
    try:
        ours, tolerance = _onnxwalk(path, feeds, tolerance)
    except Exception as error:  # any error of ours is a wrong row, unless nobody can run it
        reason = _reason(path.stem, known)
        if reason and _onnxruntime(path, feeds)[0] is None:  # nobody can
            return Result(path.stem, KNOWN, reason)
        return Result(path.stem, WRONG, f"onnxwalk: {_one_line(error)}")
    runtime, why_not = _onnxruntime(path, feeds)
    if runtime is None and not any(framework):
        return Result(path.stem, WRONG, f"nothing to compare with: {why_not}")
    if runtime is not None and (text := _differs(ours, runtime, tolerance)):
        other = _differs(runtime, framework, tolerance)
        side = "the framework agrees with neither" if other else "the framework agrees with it"
        if not _differs(ours, framework, tolerance):
            side = "the framework agrees with us"
        # only what the program states in so many words is left out
        prefix = "onnxruntime:" if side == "the framework agrees with us" else "specification:"
        if reason := _reason(path.stem, known, prefix):
            return Result(path.stem, KNOWN, reason)
        return Result(path.stem, WRONG, f"ONNX Runtime: {text}; {side}")
    if text := _differs(ours, framework, tolerance):
        reason = _reason(path.stem, known)
        return Result(path.stem, KNOWN if reason else WRONG, reason or f"the framework: {text}")
    return Result(path.stem, RIGHT, why_not)


def _reason(name: str, known: dict[str, str], prefix: str = "") -> str:
    for pattern, reason in known.items():
        if fnmatch(f"{name}", pattern.removeprefix(prefix)) and pattern.startswith(prefix):
            return reason
    return ""


def _read(arrays: Feeds) -> tuple[list[Feeds], list[dict[int, np.ndarray]]]:
    """Feeds and the framework's answers by their positions."""
    count = 1 + max(int(key.split("/")[0]) for key in arrays)
    feeds: list[Feeds] = [{} for _ in range(count)]
    answers: list[dict[int, np.ndarray]] = [{} for _ in range(count)]
    for key, array in arrays.items():
        number, kind, name = key.split("/", 2)
        if kind == "in":
            feeds[int(number)][name] = array
        else:
            answers[int(number)][int(name)] = array
    return feeds, answers


def _named(feed: Feeds, names: list[str]) -> Feeds:
    """A feed by the names of the file's inputs; it may be by their positions."""
    if set(feed) <= set(names):
        return feed
    return {names[int(key)]: array for key, array in feed.items() if int(key) < len(names)}


def _onnxwalk(path: Path, feeds: list[Feeds], tolerance: float) -> tuple[list[list[Any]], float]:
    """The answers of an optimized session, bound and again, which the plain one must confirm.

    And the tolerance, which is larger where the file rounds coarsely itself.
    """
    session, plain = onnxwalk.load(path), onnxwalk.load(path, optimize=False)
    names = [value.name for value in session.inputs]
    own, answers = 1e-3, []
    for feed in feeds:
        named = _named(feed, names)
        first = session.run(None, named)
        least = max(map(_least, plain.trace(named, iterations=1)), default=0.0)
        own, tolerance = max(own, least), max(tolerance, least)
        for other in (session.run(None, named), plain.run(None, named)):
            if text := _differs([other], [first], own):
                raise AssertionError(f"answers of its own differ: {text}")
        answers.append(first)
    return answers, tolerance


def _least(event: Event) -> float:
    """How far a node's rounding may bring numbers apart: a step of 8 bits, or that of a type."""
    step = 0.0
    if event.node.is_one_of("QuantizeLinear"):
        step = float(np.max(event.inputs[event.node.inputs[1]]))
    kinds = [str(getattr(value, "dtype", "")) for value in event.outputs.values()]
    return max([step, *(_SHORT.get(kind, 0.0) for kind in kinds)])


def _onnxruntime(path: Path, feeds: list[Feeds]) -> tuple[list[list[Any]] | None, str]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        return [session.run(None, _named(feed, names)) for feed in feeds], ""
    except Exception as error:  # its errors share no class; the page says that it can't
        return None, f"ONNX Runtime can't: {_one_line(error)}"


def _differs(ours: list[Any], theirs: list[Any], tolerance: float) -> str:
    """How answers differ, or "". ``theirs`` may be by position, with gaps."""
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        pairs = other.items() if isinstance(other, dict) else enumerate(other)
        for position, expected in pairs:
            if position >= len(mine):
                return f"feed {number}: {len(mine)} outputs, not {len(other)}"
            if text := difference(mine[position], expected, tolerance):
                return f"feed {number}, output {position}: {text}"
    return ""


def difference(ours: Any, theirs: Any, tolerance: float) -> str:
    """How two values differ, or "". Sequences and maps count by their items."""
    if isinstance(theirs, dict):
        ours = [ours[key] for key in theirs] if isinstance(ours, dict) else ours
        theirs = list(theirs.values())
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(ours) != len(theirs):
            return f"{len(ours)} items, not {len(theirs)}"
        pairs = zip(ours, theirs, strict=True)
        return next(filter(None, (difference(a, b, tolerance) for a, b in pairs)), "")
    if isinstance(ours, list) and ours and isinstance(ours[0], dict):
        # scikit-learn's converters give a map for each row where the framework gives a table
        ours = [list(row.values()) for row in ours]
    a, b = np.asarray(ours), np.asarray(theirs)
    if a.shape != b.shape:
        return f"shape {a.shape}, not {b.shape}"
    if a.dtype.kind in "USO" or b.dtype.kind in "USO":
        return "" if np.array_equal(a.astype(str), b.astype(str)) else "texts differ"
    return _numbers_differ(a, b, tolerance)


def _numbers_differ(a: np.ndarray, b: np.ndarray, tolerance: float) -> str:
    check: Callable[[np.ndarray], np.ndarray]
    if a.dtype.kind in "iub" and b.dtype.kind in "iub":
        wrong = a != b
        return f"{np.count_nonzero(wrong)} of {a.size} integers differ" if wrong.any() else ""
    for name, check in (("NaN", np.isnan), ("infinity", np.isinf)):
        if (check(a) != check(b)).any():
            return f"{name} in other places"
    finite = np.isfinite(a)
    if (a[~finite] == -b[~finite]).any():
        return "an infinity of the other sign"
    kind = np.complex128 if a.dtype.kind == "c" else np.float64
    a, b = a[finite].astype(kind), b[finite].astype(kind)
    if not a.size:
        return ""
    apart = np.abs(a - b).max() / max(1.0, np.abs(b).max())
    return "" if apart <= tolerance else f"numbers differ by {apart:.2g}"


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]
