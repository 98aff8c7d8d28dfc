"""Where a run spends its time and its memory, node by node."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxwalk.interpreter.display import type_text
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.trace import timed_steps
from onnxwalk.interpreter.session import Session
from onnxwalk.ops.shared.numpy_state import computing


@dataclass(frozen=True)
class NodeProfile:
    """One node of the plan: as the file has it, or what the rewrites made of several."""

    node: Node
    seconds: float  # the median of the runs
    calls: int  # of NumPy's functions; 0: nothing is left to do in a run
    operations: int
    bytes_moved: int
    outputs: Mapping[str, str]  # the values by name: "float32[1, 64]"


@dataclass(frozen=True)
class Holding:
    """Values that are alive after a node: ``holders`` are the largest, with their bytes."""

    node: Node
    bytes: int
    holders: Mapping[str, int]


@dataclass(frozen=True)
class Profile:
    """What was measured over ``runs``; ``seconds`` is the median of whole runs."""

    nodes: list[NodeProfile]
    seconds: float
    runs: int
    memory: list[Holding]  # after each node
    #: of the last run: when each node began, in seconds from its start
    starts: list[float]
    durations: list[float] = field(repr=False)

    @property
    def peak(self) -> Holding | None:
        return max(self.memory, key=lambda holding: holding.bytes, default=None)


def profile(session: Session, feeds: Mapping[str, Any], runs: int) -> Profile:
    """Time each node over some runs, after one that is not counted.

    A plan that is bound to these shapes is measured as such: it is what ``session.run`` does.
    Otherwise, for strings and sequences, it is the walk. Raises what ``session.run`` raises.
    """
    session.run(None, feeds)
    found = session._runner.bind(feeds)
    if found is None:
        return _of_walk(*session._runner.prepare(None, feeds), session.limits, runs)
    bound, arguments = found
    plan, values = bound.plan, bound.values
    marks = []
    with computing():
        for _ in range(runs):
            marks.append(bound.run_with_times(arguments))
            bound.outputs()
    calls = [r.stop - r.start for r in bound.ranges]
    given = [
        ([values[s] for s in step.inputs], [values[s] for s in step.outputs if s != NOTHING])
        for step in plan.steps
    ]
    return _profile(plan, marks, calls, given)


def _of_walk(plan: Plan, arguments: list[Any], limits: Limits | None, runs: int) -> Profile:
    marks = []
    for _ in range(runs):
        times = [0.0]
        for *_, seconds in timed_steps(plan, arguments, limits):
            times.append(times[-1] + seconds)
        marks.append(times)
    given = []
    for step, inputs, outputs, _ in timed_steps(plan, arguments, limits):
        outputs = [v for s, v in zip(step.outputs, outputs, strict=False) if s != NOTHING]
        given.append(([_shape_of(v) for v in inputs], [_shape_of(v) for v in outputs]))
    return _profile(plan, marks, [1] * len(plan.steps), given)


def _profile(
    plan: Plan,
    marks: list[list[float]],
    calls: list[int],
    given: list[tuple[list[Any], list[Any]]],
) -> Profile:
    durations = np.diff(np.array(marks), axis=1)
    medians = np.median(durations, 0).tolist() if plan.steps else []
    names = {slot: name for name, slot in plan.names.items()}
    nodes = []
    for step, seconds, count, (values, outputs) in zip(
        plan.steps, medians, calls, given, strict=True
    ):
        inputs = _inputs(step, values, names)
        shown = {
            names.get(slot, ""): type_text(value)
            for slot, value in zip([s for s in step.outputs if s != NOTHING], outputs, strict=False)
        }
        nodes.append(
            NodeProfile(
                step.node,
                seconds,
                count,
                step.operator.flops(inputs, outputs, step.node.attributes),
                bytes_moved(inputs, outputs),
                shown,
            )
        )
    return Profile(
        nodes,
        statistics.median(times[-1] - times[0] for times in marks),
        len(marks),
        list(_holdings(plan, given, names)),
        [mark - marks[-1][0] for mark in marks[-1][:-1]],
        durations[-1].tolist() if plan.steps else [],
    )


def bytes_moved(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """What is read and written at least: every input and output once."""
    return sum(getattr(value, "nbytes", 0) for value in (*inputs, *outputs))


def _inputs(step: Step, given: list[Any], names: Mapping[int, str]) -> list[Any]:
    """The inputs as the node has them, with those that the step has taken in."""
    found = {names.get(slot, ""): value for slot, value in zip(step.inputs, given, strict=False)}
    for name, shape, dtype in step.absorbed:
        found[name] = np.broadcast_to(np.zeros((), dtype), shape)
    return [found.get(name) for name in step.node.inputs]


def _holdings(
    plan: Plan, given: list[tuple[list[Any], list[Any]]], names: Mapping[int, str]
) -> Iterator[Holding]:
    """What is alive after each step, weights apart. A view counts with what it is a view of."""
    alive: dict[int, Any] = {}
    for step, (inputs, outputs) in zip(plan.steps, given, strict=True):
        for slot, value in zip(step.inputs, inputs, strict=False):
            if slot in plan.inputs:
                alive[slot] = value
        made = [slot for slot in step.outputs if slot != NOTHING]
        alive |= dict(zip(made, outputs, strict=False))
        sizes: dict[str, int] = {}
        for slot, value in alive.items():
            if isinstance(value, np.ndarray) and plan.template[slot] is None:
                sizes[names.get(slot, "")] = value.nbytes
        total = sum(sizes.values())
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
        yield Holding(step.node, total, dict(largest))
        for slot in step.release:
            alive.pop(slot, None)


def _shape_of(value: Any) -> Any:
    """What tells an array's shape and type, without its memory."""
    if not isinstance(value, np.ndarray):
        return value
    return np.broadcast_to(np.zeros((), value.dtype), value.shape)


def ceiling() -> tuple[float, float]:
    """What this machine can do at most now, on the threads that BLAS has: operations a second in a
    float32 product of 768³, and bytes a second in a copy of 32 MB."""
    a = np.random.default_rng(0).random((768, 768), np.float32)
    c = np.empty_like(a)
    source = np.zeros(1 << 23, np.float32)
    target = np.ones_like(source)
    gemm = _best(lambda: np.matmul(a, a, c))
    copy = _best(lambda: np.copyto(target, source))
    return 2 * 768**3 / gemm, 2 * source.nbytes / copy


def _best(call: Any, times: int = 7) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best
