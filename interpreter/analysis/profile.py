"""The time and memory of a run, node by node."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.display import type_text
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.trace import InnerStep, timed_inner_steps, timed_steps
from onnxwalk.interpreter.session import Session
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.numpy_state import computing

#: walks through subgraphs, each of which takes longer than a run
_INNER_RUNS = 3


@dataclass(frozen=True)
class NodeProfile:
    """One node of the plan: of the file, or one that replaces several of them."""

    node: Node
    seconds: float  # the median of the runs
    calls: int  # of NumPy functions; 0: nothing is computed in a run
    flops: int
    bytes_moved: int
    outputs: Mapping[str, str]  # types by name: "float32[1, 64]"


@dataclass(frozen=True)
class LiveMemory:
    """The bytes of the values that are alive after a node, and the largest of these by name."""

    node: Node
    bytes: int
    largest: Mapping[str, int]


@dataclass(frozen=True)
class InnerProfile:
    """One node of a subgraph: ``times`` that it is computed in a run, and all of these together.

    ``path``: the nodes and graphs around it, as "loop/body". ``share``: of the time of the
    outermost node around it, in a run that walks through it. The times of a node with subgraphs of
    its own include theirs.
    """

    node: Node
    path: str
    times: int
    seconds: float
    share: float
    flops: int
    bytes_moved: int
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Profile:
    """Measurements of ``runs`` runs; ``seconds`` is the median of complete runs."""

    nodes: list[NodeProfile]
    seconds: float
    runs: int
    memory: list[LiveMemory]  # after each node
    #: seconds from the start of the last run to the start of each node
    starts: list[float]
    durations: list[float] = field(repr=False)
    #: the nodes of subgraphs, in the order in which they are first computed
    inside: list[InnerProfile] = field(default_factory=list)

    @property
    def peak(self) -> LiveMemory | None:
        return max(self.memory, key=lambda memory: memory.bytes, default=None)


def profile(session: Session, feeds: Mapping[str, Any], runs: int) -> Profile:
    """Measure the time of each node over some runs, after a warm-up.

    As in ``session.run``, a bound plan is measured if these feeds can be bound, otherwise (strings
    and sequences) a walk. Raises what ``session.run`` raises.
    """
    session.run(None, feeds)
    plan, values = session._runner.prepare(None, feeds)
    inside = _profile_inside(plan, values, session.limits, min(runs, _INNER_RUNS))
    return replace(_profile_outside(session, feeds, runs), inside=inside)


def _profile_outside(session: Session, feeds: Mapping[str, Any], runs: int) -> Profile:
    binding = session._runner.bind(feeds)
    if binding is None:
        return _profile_walk(*session._runner.prepare(None, feeds), session.limits, runs)
    bound, arguments = binding
    plan, values = bound.plan, bound.values
    marks = []
    with computing():
        for _ in range(runs):
            marks.append(bound.run_with_times(arguments))
            bound.outputs()
    calls = [r.stop - r.start for r in bound.ranges]
    operands = [
        ([values[s] for s in step.inputs], [values[s] for s in step.outputs if s != NOTHING])
        for step in plan.steps
    ]
    return _summarize(plan, marks, calls, operands)


def _profile_inside(
    plan: Plan, arguments: list[Any], limits: Limits | None, runs: int
) -> list[InnerProfile]:
    """The nodes of subgraphs, from runs that walk through them; nothing if there are none."""
    if not any(step.bodies for step in plan.steps):
        return []
    marks: list[dict[tuple[str, int], float]] = []
    around: dict[int, list[float]] = {}
    found: dict[tuple[str, int], InnerProfile] = {}
    for number in range(runs):
        seconds: dict[tuple[str, int], float] = {}
        for event in timed_inner_steps(plan, arguments, limits):
            if not isinstance(event, InnerStep):
                around.setdefault(id(event[0].node), []).append(event[1])
                continue
            path = "/".join(f"{place.node.label}/{place.graph}" for place in event.path)
            key = path, id(event.step.node)
            seconds[key] = seconds.get(key, 0.0) + event.seconds
            if not number:
                found[key] = _add_call(found.get(key), path, event)
            del event
        marks.append(seconds)
    outermost = {key: _outermost(plan, key[0]) for key in found}
    whole = {node: statistics.median(times) for node, times in around.items()}
    inside = []
    for key, each in found.items():
        median = statistics.median(times.get(key, 0.0) for times in marks)
        share = median / (whole.get(outermost[key], 0.0) or 1e-12)
        inside.append(replace(each, seconds=median, share=share))
    return inside


def _outermost(plan: Plan, path: str) -> int:
    """The node of the plan that a path begins with."""
    nodes = (s.node for s in plan.steps if s.bodies and path.startswith(f"{s.node.label}/"))
    return id(max(nodes, key=lambda node: len(node.label)))


def _add_call(known: InnerProfile | None, path: str, event: InnerStep) -> InnerProfile:
    """The profile of a node of a subgraph with one more call, as yet without times."""
    step = event.step
    inputs = _node_inputs(step, event.inputs, event.names)
    outputs = [v for s, v in zip(step.outputs, event.outputs, strict=False) if s != NOTHING]
    flops = step.operator.flops(inputs, outputs, step.node.attributes)
    moved = bytes_moved(inputs, outputs)
    names = [name for name in step.node.outputs if name]
    types = {n: type_text(value) for n, value in zip(names, outputs, strict=False)}
    if known is None:
        return InnerProfile(step.node, path, 1, 0.0, 0.0, flops, moved, types)
    return replace(
        known,
        times=known.times + 1,
        flops=known.flops + flops,
        bytes_moved=known.bytes_moved + moved,
        outputs=types,
    )


def _profile_walk(plan: Plan, arguments: list[Any], limits: Limits | None, runs: int) -> Profile:
    marks = []
    for _ in range(runs):
        times = [0.0]
        for *_, seconds in timed_steps(plan, arguments, limits):
            times.append(times[-1] + seconds)
        marks.append(times)
    operands = []
    for step, inputs, outputs, _ in timed_steps(plan, arguments, limits):
        outputs = [v for s, v in zip(step.outputs, outputs, strict=False) if s != NOTHING]
        operands.append(([*map(_stand_in, inputs)], [*map(_stand_in, outputs)]))
    return _summarize(plan, marks, [1] * len(plan.steps), operands)


def _summarize(
    plan: Plan,
    marks: list[list[float]],
    calls: list[int],
    operands: list[tuple[list[Any], list[Any]]],
) -> Profile:
    """``marks``: the times between the steps in each run; ``operands``: inputs and outputs of each
    step."""
    durations = np.diff(np.array(marks), axis=1)
    medians = np.median(durations, 0).tolist() if plan.steps else []
    names = {slot: name for name, slot in plan.names.items()}
    nodes = []
    for step, seconds, count, (values, outputs) in zip(
        plan.steps, medians, calls, operands, strict=True
    ):
        inputs = _node_inputs(step, values, names)
        types = {
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
                types,
            )
        )
    return Profile(
        nodes,
        statistics.median(times[-1] - times[0] for times in marks),
        len(marks),
        list(_live_memory(plan, operands, names)),
        [mark - marks[-1][0] for mark in marks[-1][:-1]],
        durations[-1].tolist() if plan.steps else [],
    )


def bytes_moved(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Bytes that are read and written if each input and output is accessed once."""
    return sum(getattr(value, "nbytes", 0) for value in (*inputs, *outputs))


def _node_inputs(step: Step, values: list[Any], names: Mapping[int, str]) -> list[Any]:
    """The inputs of the node, including the constants that the prepared step contains."""
    inputs = {names.get(slot, ""): value for slot, value in zip(step.inputs, values, strict=False)}
    for name, shape, dtype in step.absorbed:
        inputs[name] = np.broadcast_to(np.zeros((), dtype), shape)
    return [inputs.get(name) for name in step.node.inputs]


def _live_memory(
    plan: Plan, operands: list[tuple[list[Any], list[Any]]], names: Mapping[int, str]
) -> Iterator[LiveMemory]:
    """The values that are alive after each step, without weights. Views count like arrays."""
    alive: dict[int, Any] = {}
    for step, (inputs, outputs) in zip(plan.steps, operands, strict=True):
        for slot, value in zip(step.inputs, inputs, strict=False):
            if slot in plan.inputs:
                alive[slot] = value
        slots = [slot for slot in step.outputs if slot != NOTHING]
        alive |= dict(zip(slots, outputs, strict=False))
        sizes: dict[str, int] = {}
        for slot, value in alive.items():
            if isinstance(value, np.ndarray) and plan.template[slot] is None:
                sizes[names.get(slot, "")] = value.nbytes
        total = sum(sizes.values())
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
        yield LiveMemory(step.node, total, dict(largest))
        for slot in step.release:
            alive.pop(slot, None)


def _stand_in(value: Any) -> Any:
    """An array of the same shape and dtype that needs no memory; other values themselves."""
    if not isinstance(value, np.ndarray):
        return value
    return np.broadcast_to(np.zeros((), value.dtype), value.shape)


def measure_ceiling() -> tuple[float, float]:
    """The highest speeds of this machine with the threads of BLAS: operations per second in a
    float32 product of 768³, and bytes per second in a copy of 32 MB."""
    a = np.random.default_rng(0).random((768, 768), np.float32)
    c = np.empty_like(a)
    source = np.zeros(1 << 23, np.float32)
    target = np.ones_like(source)
    gemm = _best(lambda: products.matmul(a, a, c))
    copy = _best(lambda: np.copyto(target, source))
    return 2 * 768**3 / gemm, 2 * source.nbytes / copy


def _best(call: Any, times: int = 7) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best
