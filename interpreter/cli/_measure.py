"""How long and how much memory a model takes, here and in other engines.

Everything is measured in processes of their own, started with the number of BLAS threads wanted:
one in which all engines run in turn for their times, and one per engine for loading and memory,
where nothing that another engine holds can be taken for its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.interpreter.cli._engines import OURS, Run, blas_environment, bring_in, open_engine
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.ir.model import Tensor
from onnxwalk.interpreter.reader import read_model

_ROOT = Path(onnxwalk.__file__).parents[1]
_TURN = 0.02  # seconds of one engine before the next: short beside what disturbs the machine
_PAUSE = 0.5  # seconds between phases with several threads: ONNX Runtime's workers spin on
_FAR_TOO_LONG = 10  # times the seconds of an engine: its first run is its only one
_PHASES = 2  # of each engine, so that a machine that slows down doesn't slow one alone

#: a new process, from nothing to its first prediction: argv is a model and a file of its feeds
_FIRST = {
    OURS: "onnxwalk.load(model).run(None, feeds)",
    "onnxruntime": (
        "options = onnxruntime.SessionOptions(); options.log_severity_level = 4\n"
        "options.intra_op_num_threads = {threads}; options.inter_op_num_threads = 1\n"
        "onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])"
        ".run(None, feeds)"
    ),
}


@dataclass(frozen=True)
class Job:
    """A model to measure: a path, the values of its inputs, and with what to compare it.

    ``seconds``: of each engine's runs; an engine whose one run takes longer runs once.
    ``tolerance``: the difference that is still called agreement, relative to the largest value
    of an output.
    """

    model: str
    feeds: Mapping[str, Any]
    others: Sequence[str] = ("onnxruntime",)
    threads: int = 1
    seconds: float = 2.0
    tolerance: float = 1e-4
    keras_file: str | None = None
    startup: bool = True  # also load and memory, which take seconds of their own
    processes: int = 3  # new ones of each engine, from nothing to a prediction: the fastest counts


def measure(job: Job) -> dict[str, dict[str, Any]]:
    """What was found, by engine, onnxwalk first; times in seconds, memory in bytes.

    best, median, runs: of the runs, in turn with the other engines
    ratio, ratio_median: of onnxwalk's time over this engine's, by best and median
    difference, agrees: of this engine's outputs from onnxwalk's, relative
    load, first: the load, and the first run after it; process: a new process to its first outputs
    memory: the peak of the runs beyond what the process had before it loaded the model and
    beyond the weights in the file (whatever an engine makes of these is its own); it is negative
    where not all weights were touched
    memory_total: the same with the weights
    error: why there is nothing of all this

    Raises InvalidInputError when onnxwalk itself can't run the model, or an engine is missing.
    """
    names = (OURS, *job.others)
    with tempfile.TemporaryDirectory() as folder:
        found = _in_a_process(job, "turns", Path(folder))
        for name in names if job.startup else ():
            if "error" not in found[name]:
                found[name] |= _in_a_process(job, name, Path(folder))
        working = [n for n in names if n in _FIRST and "error" not in found[n]]
        for name, seconds in _first_predictions(job, working, Path(folder)).items():
            found[name]["process"] = seconds
    return found


def _in_a_process(job: Job, what: str, folder: Path) -> dict[str, Any]:
    question, answer = folder / "job.pickle", folder / "answer.json"
    question.write_bytes(pickle.dumps(job))
    answer.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "onnxwalk.interpreter.cli._measure",
        what,
        str(question),
        str(answer),
    ]
    done = subprocess.run(command, env=_environment(job), capture_output=True, text=True)
    if not answer.exists():
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise InvalidInputError(f"{job.model}: the process that measures it ended: {last}")
    result: dict[str, Any] = json.loads(answer.read_text())
    if "refused" in result:
        raise InvalidInputError(result["refused"])
    return result


def _environment(job: Job) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **blas_environment(job.threads), "PYTHONPATH": path}


def _first_predictions(job: Job, names: Sequence[str], folder: Path) -> dict[str, float]:
    feeds = folder / "feeds.pickle"
    feeds.write_bytes(pickle.dumps(dict(job.feeds)))
    best: dict[str, float] = {}
    for _ in range(job.processes):
        for name in names:
            script = (
                f"import pickle, sys, numpy, {name}\n"
                "model, feeds = sys.argv[1], pickle.load(open(sys.argv[2], 'rb'))\n"
                f"{_FIRST[name].format(threads=job.threads)}\n"
                "print('done', flush=True)"
            )
            command = [sys.executable, "-c", script, job.model, str(feeds)]
            start = time.perf_counter()
            with subprocess.Popen(
                command, env=_environment(job), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout is not None
                arrived = process.stdout.readline() == b"done\n"
                seconds = time.perf_counter() - start
            if arrived:
                best[name] = min(seconds, best.get(name, math.inf))
    return best


# What follows runs in the processes that measure.


def _turns(job: Job) -> dict[str, Any]:
    """The times and the agreement of all engines; what another raises is its "error"."""
    found: dict[str, dict[str, Any]] = {}
    runs: dict[str, Run] = {}
    warm: dict[str, float] = {}
    outputs: dict[str, list[Any]] = {}
    for name in (OURS, *job.others):
        bring_in(name, job.threads)
    for name in (OURS, *job.others):
        try:
            run = open_engine(name, job.model, job.feeds, job.threads, job.keras_file)
            first, cold = _timed(run)
            # The first run is often much slower than what follows: Keras traces in it.
            warm[name] = cold if cold > _FAR_TOO_LONG * job.seconds else _timed(run)[1]
            found[name], runs[name], outputs[name] = {}, run, first
        except Exception as error:
            if name == OURS:
                raise
            found[name] = {"error": f"{type(error).__name__}: {_one_line(error)}"}
    for name, values in outputs.items():
        if name != OURS:
            apart = difference(outputs[OURS], values)
            found[name] |= {"difference": apart, "agrees": apart <= job.tolerance}
    outputs.clear()
    for name, times in _samples(job, runs, warm).items():
        found[name] |= {
            "best": min(times),
            "median": statistics.median(times),
            "runs": len(times),
        }
    ours = found[OURS]
    for name in runs:
        if name != OURS:
            for ratio, what in (("ratio", "best"), ("ratio_median", "median")):
                found[name][ratio] = ours[what] / found[name][what]
    return found


def _samples(
    job: Job, runs: Mapping[str, Run], warm: Mapping[str, float]
) -> dict[str, list[float]]:
    """Seconds of each run of each engine: in turn with one thread, in phases with more."""
    samples = {name: [seconds] for name, seconds in warm.items() if seconds > job.seconds}
    active = [name for name in runs if name not in samples]
    samples |= {name: [] for name in active}
    if job.threads > 1:
        for _ in range(_PHASES):
            for name in active:
                time.sleep(_PAUSE)
                end = time.perf_counter() + job.seconds / _PHASES
                while time.perf_counter() < end:
                    samples[name].append(_timed(runs[name])[1])
        return samples
    spent = dict.fromkeys(active, 0.0)
    while active:
        for name in active:
            end = time.perf_counter() + _TURN
            while True:
                samples[name].append(_timed(runs[name])[1])
                spent[name] += samples[name][-1]
                if time.perf_counter() >= end:
                    break
        active = [name for name in active if spent[name] < job.seconds]
    return samples


def _timed(run: Run) -> tuple[list[Any], float]:
    start = time.perf_counter()
    outputs = run()
    return outputs, time.perf_counter() - start


def difference(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The largest difference of outputs, relative to the largest finite value of each output;
    infinite where types, shapes, texts or places of NaN and infinities differ."""
    if len(ours) != len(theirs):
        return math.inf
    return max((_apart(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)


def _apart(a: Any, b: Any) -> float:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return difference(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return difference(list(a.values()), list(b.values())) if list(a) == list(b) else math.inf
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return math.inf
    if a.dtype.kind in "OUSTb" or b.dtype.kind in "OUSTb":
        return 0.0 if np.array_equal(a.astype(str), b.astype(str)) else math.inf
    kind = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    a, b = a.astype(kind), b.astype(kind)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    apart = float(np.abs(a[finite] - b[finite]).max(initial=0))
    return apart / float(np.abs(b[finite]).max(initial=0) or 1)


def _alone(job: Job, name: str) -> dict[str, Any]:
    """Load, first run and memory of one engine, in a process that has nothing else."""
    bring_in(name, job.threads)
    if name != "keras":  # what any first run loads is not this one's
        _warm_up(name, job)
    _trim()
    before = _memory("VmRSS")
    start = time.perf_counter()
    run = open_engine(name, job.model, job.feeds, job.threads, job.keras_file)
    load = time.perf_counter() - start
    _trim()
    counted = _reset_peak()
    _, first = _timed(run)
    end = time.perf_counter() + min(job.seconds, 1.0)
    while time.perf_counter() < end:
        run()
    found: dict[str, Any] = {"load": load, "first": first}
    if counted and before is not None and (peak := _memory("VmHWM")) is not None:
        found |= {"memory_total": peak - before, "memory": peak - before - _weights(job.model)}
    return found


def _warm_up(name: str, job: Job) -> None:
    small = str(Path(__file__).parent / "_demo" / "digits.onnx")
    open_engine(name, small, {"image": np.zeros((1, 8, 8, 1), np.float32)}, job.threads)()


def _weights(path: str) -> int:
    """Bytes of a model's weights, also of those that the file has the run fill in."""
    graph = read_model(path).graph
    stored = {name: t for name, t in graph.initializers.items() if isinstance(t, Tensor)}
    total = sum(tensor.array.nbytes for tensor in stored.values())
    for node in graph.nodes:
        if node.is_one_of("ConstantOfShape") and node.inputs[0] in stored:
            total += 4 * int(np.prod(stored[node.inputs[0]].array))  # of float32, as a rule
    return total


def _memory(what: str) -> int | None:
    """Bytes of this process, now (VmRSS) or at most (VmHWM); ``None`` where Linux isn't."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
    return None


def _reset_peak() -> bool:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def _trim() -> None:
    """Give back what the C library keeps of freed memory, or a run could hide in it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _main(what: str, question: str, answer: str) -> None:
    job = pickle.loads(Path(question).read_bytes())
    try:
        found = _turns(job) if what == "turns" else _alone(job, what)
    except OnnxWalkError as error:
        found = {"refused": _one_line(error)}
    except Exception as error:
        found = {"refused": f"{job.model}: {type(error).__name__}: {_one_line(error)}"}
    Path(answer).write_text(json.dumps(found))


if __name__ == "__main__":
    # As a module of its name: what was pickled as onnxwalk.interpreter.cli._measure.Job is that
    # Job.
    from onnxwalk.interpreter.cli import _measure

    _measure._main(*sys.argv[1:])
