"""The memory of a step of training, in a process of its own:

    python -m tests.programs.benchmarks.training_memory ENGINE MODEL BATCH.npz

prints one line of JSON. ``step``: the peak of three steps beyond what the process has after a step
of one sample, which imports what is needed and touches weights and optimizer. ``process``: the peak
of the whole process. Of onnxwalk also what a step can't do without: ``kept``, the computed values
that the way back reads of the way forward, and ``alive``, the most bytes of values that are alive
at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._measure import _read_memory, _reset_peak, _trim


def measured(engine: str, model: Path, batch: Path) -> dict[str, int]:
    """The result of a process of its own."""
    command = [sys.executable, "-m", __spec__.name, engine, str(model), str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(engine: str, model: str, batch: str) -> dict[str, int]:
    with np.load(batch) as arrays:
        x, y = arrays["x"], arrays["y"]
    step, more = (_onnxwalk if engine == "onnxwalk" else _keras)(model)
    step(x[:1], y[:1])
    _trim()
    before = _read_memory("VmRSS")
    highest = _read_memory("VmHWM")
    if before is None or highest is None or not _reset_peak():
        raise SystemExit("the peak of a process can be measured on Linux only")
    for _ in range(3):
        step(x, y)
    peak = _read_memory("VmHWM")
    assert peak is not None
    return {"step": peak - before, "process": max(peak, highest), **more(x, y)}


def _onnxwalk(model: str) -> tuple[Callable[..., Any], Callable[..., dict[str, int]]]:
    import onnxwalk

    trainer = onnxwalk.training.Trainer(model, loss="sparse_categorical_crossentropy", seed=0)

    def more(x: np.ndarray, y: np.ndarray) -> dict[str, int]:
        bound = list(trainer._network._backward._kept.values())[-1]
        return values_of(bound)

    return trainer.train_on_batch, more


def _keras(model: str) -> tuple[Callable[..., Any], Callable[..., dict[str, int]]]:
    import keras

    network = keras.saving.load_model(model)
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    return network.train_on_batch, lambda x, y: {}


def values_of(bound: Any) -> dict[str, int]:
    """Bytes of the values of a bound step that the way back keeps, and that are alive at once.

    Views of one memory count once, and so does a result that replaces an input."""
    plan, values, arena = bound.plan, bound.values, bound.space.arena

    def ranges(slots: Iterable[int]) -> list[tuple[int, int]]:
        arrays = [values[slot] for slot in slots if isinstance(values[slot], np.ndarray)]
        return [np.lib.array_utils.byte_bounds(x) for x in arrays if arena.contains(x)]

    forward: set[int] = set()
    read: set[int] = set()
    for step in plan.steps:
        if step.node.op_type == "ShapeAndType":
            continue
        if step.node.domain.startswith("onnxwalk.gradient"):
            read.update(forward.intersection(step.inputs))
        else:
            forward.update(step.outputs)
    alive: set[int] = set()
    most = 0
    for step in plan.steps:
        alive.update(step.outputs)
        most = max(most, _total(ranges(alive)))
        alive.difference_update(set(step.release) - set(plan.outputs))
    return {"kept": _total(ranges(read)), "alive": most}


def _total(ranges: Iterable[tuple[int, int]]) -> int:
    """The bytes in any of these ranges."""
    total, until = 0, 0
    for start, stop in sorted(ranges):
        total += max(0, stop - max(start, until))
        until = max(until, stop)
    return total


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
