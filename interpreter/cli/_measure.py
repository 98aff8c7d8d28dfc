"""Measure the time and memory of a model, in onnxwalk and other engines.

Everything is measured in subprocesses, started with the requested number of BLAS threads: one in
which all engines take turns for their times, and one per engine for loading and memory, which
other engines can't distort there.
"""

from __future__ import annotations

import compileall
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
from onnxwalk.interpreter.cli._engines import (
    OURS,
    Run,
    blas_environment,
    import_engine,
    open_engine,
)
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.ir.model import Tensor
from onnxwalk.interpreter.reader import read_model

_ROOT = Path(onnxwalk.__file__).parents[1]
_TURN = 0.02  # seconds of one engine before the next: shorter than disturbances of the machine
_PAUSE = 0.5  # seconds between phases with several threads: ONNX Runtime's workers spin on
_FAR_TOO_LONG = 10  # times the seconds of an engine: its first run is the only one
_PHASES = 2  # of each engine, so that a machine that slows down affects all engines

#: the script of a new process up to its first outputs
_FIRST_RUN = {
    OURS: (
        "options = pickle.load(open(sys.argv[3], 'rb'))\n"
        "onnxwalk.load(model, **options).run(None, feeds)"
    ),
    "onnxruntime": (
        "options = onnxruntime.SessionOptions(); options.log_severity_level = 4\n"
        "options.intra_op_num_threads = {threads}; options.inter_op_num_threads = 1\n"
        "onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])"
        ".run(None, feeds)"
    ),
}


@dataclass(frozen=True)
class Job:
    """A model to measure: its path, its feeds, and the engines to compare with.

    ``parts``: each run takes the next of so many parts of the feeds along their first axis, so that
    what depends on values, as the paths through trees, isn't learned by the processor.
    ``seconds``: the total of each engine's runs; an engine that needs longer for one runs once.
    ``tolerance``: the largest difference of outputs that counts as agreement, relative to the
    largest value of an output.
    ``options``: what ``onnxwalk.load`` gets in place of ``threads``.
    """

    model: str
    feeds: Mapping[str, Any]
    others: Sequence[str] = ("onnxruntime",)
    threads: int = 1
    seconds: float = 2.0
    tolerance: float = 1e-4
    keras_file: str | None = None
    startup: bool = True  # also measure load and memory, which takes some seconds
    parts: int = 1
    processes: int = 3  # new processes of each engine up to the first outputs; the fastest counts
    options: Mapping[str, Any] | None = None


def measure(job: Job) -> dict[str, dict[str, Any]]:
    """The results by engine, onnxwalk first; times in seconds, memory in bytes.

    best, median, runs: times and number of the runs, in turn with the other engines
    ratio, ratio_median: onnxwalk's time divided by this engine's, by best and median
    difference, agrees: relative difference of this engine's outputs from onnxwalk's
    load, first: time of the load, and of the first run after it
    process: time from the start of a new process to its first outputs
    memory: peak of the runs minus the memory before the model was loaded and minus the weights in
    the file; negative if not all weights were read
    memory_total: the same with the weights
    error: why the engine can't run the model, instead of all the above

    Raises InvalidInputError if onnxwalk itself can't run the model, or an engine is missing.
    """
    names = (OURS, *job.others)
    _compile()
    with tempfile.TemporaryDirectory() as folder:
        results = _run_subprocess(job, "turns", Path(folder))
        for name in names if job.startup else ():
            if "error" not in results[name]:
                results[name] |= _run_subprocess(job, name, Path(folder))
        working = [n for n in names if n in _FIRST_RUN and "error" not in results[n]]
        for name, seconds in _time_processes(job, working, Path(folder)).items():
            results[name]["process"] = seconds
    return results


def _run_subprocess(job: Job, task: str, folder: Path) -> dict[str, Any]:
    job_file, result_file = folder / "job.pickle", folder / "result.json"
    job_file.write_bytes(pickle.dumps(job))
    result_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "onnxwalk.interpreter.cli._measure"]
    command += [task, str(job_file), str(result_file)]
    done = subprocess.run(command, env=_environment(job), capture_output=True, text=True)
    if not result_file.exists():
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise InvalidInputError(f"{job.model}: the measuring process ended: {last}")
    result: dict[str, Any] = json.loads(result_file.read_text())
    if "failure" in result:
        raise InvalidInputError(result["failure"])
    return result


def _compile() -> None:
    """Write bytecode files, which installed packages have, the other engines among them: in a
    checkout, compiling onnxwalk would count as loading."""
    for part in ("interpreter", "ops"):
        compileall.compile_dir(_ROOT / "onnxwalk" / part, quiet=2)


def _environment(job: Job) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, **blas_environment(job.threads), "PYTHONPATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _time_processes(job: Job, names: Sequence[str], folder: Path) -> dict[str, float]:
    feeds = folder / "feeds.pickle"
    feeds.write_bytes(pickle.dumps(dict(job.feeds)))
    options = folder / "options.pickle"  # (of onnxwalk's types: no other engine reads it)
    given = {name: value for name, value in (job.options or {}).items() if name != "threads"}
    options.write_bytes(pickle.dumps(given))
    best: dict[str, float] = {}
    for _ in range(job.processes):
        for name in names:
            script = (
                f"import pickle, sys, numpy, {name}\n"
                "model, feeds = sys.argv[1], pickle.load(open(sys.argv[2], 'rb'))\n"
                f"{_FIRST_RUN[name].format(threads=job.threads)}\n"
                "print('done', flush=True)"
            )
            command = [sys.executable, "-c", script, job.model, str(feeds), str(options)]
            start = time.perf_counter()
            with subprocess.Popen(
                command, env=_environment(job), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout is not None
                is_done = process.stdout.readline() == b"done\n"
                seconds = time.perf_counter() - start
            if is_done:
                best[name] = min(seconds, best.get(name, math.inf))
    return best


# What follows runs in the subprocesses.


def _compare_engines(job: Job) -> dict[str, Any]:
    """The times and the agreement of all engines; "error" is what an engine raises."""
    results: dict[str, dict[str, Any]] = {}
    runs: dict[str, Run] = {}
    warm: dict[str, float] = {}
    outputs: dict[str, list[Any]] = {}
    for name in (OURS, *job.others):
        import_engine(name, job.threads)
    for name in (OURS, *job.others):
        try:
            run = _open(name, job)
            first, cold = _time_run(run)
            # The first run is often much slower than the next: Keras traces in it.
            warm[name] = cold if cold > _FAR_TOO_LONG * job.seconds else _time_run(run)[1]
            results[name], runs[name], outputs[name] = {}, run, first
        except Exception as error:
            if name == OURS:
                raise
            results[name] = {"error": f"{type(error).__name__}: {_one_line(error)}"}
    for name, values in outputs.items():
        if name != OURS:
            error_size = difference(outputs[OURS], values)
            results[name] |= {"difference": error_size, "agrees": error_size <= job.tolerance}
    outputs.clear()
    for name, times in _time_runs(job, runs, warm).items():
        median = statistics.median(times)
        results[name] |= {"best": min(times), "median": median, "runs": len(times)}
    ours = results[OURS]
    for name in runs:
        if name != OURS:
            for ratio, key in (("ratio", "best"), ("ratio_median", "median")):
                results[name][ratio] = ours[key] / results[name][key]
    return results


def _open(name: str, job: Job) -> Run:
    feeds, threads = job.feeds, job.threads
    return open_engine(name, job.model, feeds, threads, job.keras_file, job.parts, job.options)


def _time_runs(
    job: Job, runs: Mapping[str, Run], warm: Mapping[str, float]
) -> dict[str, list[float]]:
    """The seconds of each run by engine: in turn with one thread, in phases with more."""
    samples = {name: [seconds] for name, seconds in warm.items() if seconds > job.seconds}
    active = [name for name in runs if name not in samples]
    samples |= {name: [] for name in active}
    if job.threads > 1:
        for _ in range(_PHASES):
            for name in active:
                time.sleep(min(_PAUSE, 10 * job.seconds))
                end = time.perf_counter() + job.seconds / _PHASES
                while time.perf_counter() < end:
                    samples[name].append(_time_run(runs[name])[1])
        return samples
    spent = dict.fromkeys(active, 0.0)
    while active:
        for name in active:
            end = time.perf_counter() + _TURN
            while True:
                samples[name].append(_time_run(runs[name])[1])
                spent[name] += samples[name][-1]
                if time.perf_counter() >= end:
                    break
        active = [name for name in active if spent[name] < job.seconds]
    return samples


def _time_run(run: Run) -> tuple[list[Any], float]:
    start = time.perf_counter()
    outputs = run()
    return outputs, time.perf_counter() - start


def difference(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The largest difference of outputs, relative to the largest finite value of each output;
    infinite if types, shapes, texts, or the positions of NaN and infinities differ."""
    if len(ours) != len(theirs):
        return math.inf
    return max((_value_difference(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)


def _value_difference(a: Any, b: Any) -> float:
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
    largest = float(np.abs(a[finite] - b[finite]).max(initial=0))
    return largest / float(np.abs(b[finite]).max(initial=0) or 1)


def _measure_engine(job: Job, name: str) -> dict[str, Any]:
    """Load, first run and memory of one engine, in a process of its own."""
    import_engine(name, job.threads)
    if name != "keras":  # exclude what the first run of any model loads
        _warm_up(name, job)
    _trim()
    before = _read_memory("VmRSS")
    start = time.perf_counter()
    run = _open(name, job)
    load = time.perf_counter() - start
    _trim()
    has_peak = _reset_peak()
    _, first = _time_run(run)
    end = time.perf_counter() + min(job.seconds, 1.0)
    while time.perf_counter() < end:
        run()
    result: dict[str, Any] = {"load": load, "first": first}
    if has_peak and before is not None and (peak := _read_memory("VmHWM")) is not None:
        total = peak - before
        result |= {"memory_total": total, "memory": total - _count_weights(job.model)}
    return result


def _warm_up(name: str, job: Job) -> None:
    small = str(Path(__file__).parent / "_demo" / "digits.onnx")
    open_engine(name, small, {"image": np.zeros((1, 8, 8, 1), np.float32)}, job.threads)()


def _count_weights(path: str) -> int:
    """Bytes of a model's weights, including those that ConstantOfShape fills at run time."""
    graph = read_model(path).graph
    stored = {name: t for name, t in graph.initializers.items() if isinstance(t, Tensor)}
    total = sum(tensor.array.nbytes for tensor in stored.values())
    for node in graph.nodes:
        if node.is_one_of("ConstantOfShape") and node.inputs[0] in stored:
            total += 4 * int(np.prod(stored[node.inputs[0]].array))  # mostly float32
    return total


def _read_memory(key: str) -> int | None:
    """Memory of this process, current (VmRSS) or peak (VmHWM); ``None`` except on Linux."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    return None


def _reset_peak() -> bool:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def _trim() -> None:
    """Return freed memory to the system; otherwise a run could reuse it and measure too little."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _main(task: str, job_file: str, result_file: str) -> None:
    job = pickle.loads(Path(job_file).read_bytes())
    try:
        result = _compare_engines(job) if task == "turns" else _measure_engine(job, task)
    except OnnxWalkError as error:
        result = {"failure": _one_line(error)}
    except Exception as error:
        result = {"failure": f"{job.model}: {type(error).__name__}: {_one_line(error)}"}
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    # The pickled Job is that of the imported module, not of __main__.
    from onnxwalk.interpreter.cli import _measure

    _measure._main(*sys.argv[1:])
