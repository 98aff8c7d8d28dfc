"""Traces: a run node by node, with all intermediate values."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from onnxwalk.interpreter.budget import Budget, use_budget
from onnxwalk.interpreter.display import as_html, as_text, count_operators, join_lines, type_text
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.call import StepIterator
from onnxwalk.interpreter.runtime.walk import walk
from onnxwalk.ops import Operator
from onnxwalk.ops.shared.numpy_state import computing

#: the default number of iterations of each If, Loop and Scan that are shown or written
ITERATIONS = 3

#: the most nodes that a notebook shows
_MOST_NODES = 200

#: each step with its inputs and outputs, and the seconds that it took
Steps: TypeAlias = Iterator[tuple[Step, list[Any], Sequence[Any], float]]


class Place(NamedTuple):
    """A place inside a node: the name of its graph ("body", "then_branch"), and the number of the
    iteration, from 0."""

    node: Node
    operator: Operator
    graph: str
    iteration: int

    def __str__(self) -> str:
        number = "" if self.operator.subgraphs.branch else f"[{self.iteration}]"
        return f"{self.node.label}/{self.graph}{number}"


class Event(NamedTuple):
    """A node that has been computed.

    ``inputs`` and ``outputs`` are its values by name: arrays, lists for sequences, ``None`` for
    empty optionals. They belong to the run: copy them before changing them. ``path``: for a node of
    a subgraph, the places around it, the outermost first. ``seconds`` include the node's subgraphs;
    ``runs`` has the number of iterations of each.
    """

    node: Node
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    seconds: float
    operator: Operator
    path: tuple[Place, ...] = ()
    runs: Mapping[str, int] = {}

    def named(self, name: str) -> str:
        """The full name of a value or node of this event's graph: "loop/body[3]/name"."""
        return "/".join([*map(str, self.path), name])

    @property
    def name(self) -> str:
        """The full name of the node, or of its first output if it has none."""
        return self.named(self.node.label)

    def cut(self, iterations: float) -> dict[str, int]:
        """The number of runs of each of its graphs that was run more often than ``iterations``."""
        return {f"{self.name}/{g}": n for g, n in self.runs.items() if n > iterations}

    def __repr__(self) -> str:
        rows = [
            (kind, join_lines(f"{name}: {type_text(value)}" for name, value in values.items()))
            for kind, values in (("inputs", self.inputs), ("outputs", self.outputs))
        ]
        rows.append(("seconds", f"{self.seconds:.3g}"))
        return as_text(f"Event: node '{self.name}', {self.operator}", rows)


class Trace:
    """An iterable of events. Each iteration over it is a new run, which computes only as far as it
    is read, and frees values that no later node reads."""

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[Any],
        limits: Limits | None = None,
        iterations: float = 0,
    ) -> None:
        """The time that the reader spends doesn't count for ``limits``."""
        self._plan, self._arguments = plan, arguments
        self._limits = limits
        self._iterations = iterations
        self._names: dict[int, dict[int, str]] = {}  # of each plan, by its id: slot -> name

    def __len__(self) -> int:
        """The number of nodes, without those of subgraphs."""
        return len(self._plan.steps)

    def __repr__(self) -> str:
        return as_text(
            f"Trace: {len(self):,} nodes",
            [("operators", count_operators(step.node.op_type for step in self._plan.steps))],
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """A table of the nodes with outputs and times, as HTML for a page; it runs the model. A
        notebook shows it for a trace at the end of a cell."""
        rows: list[Sequence[str]] = []
        for event in itertools.islice(self, _MOST_NODES):
            values = [
                (f"{event.named(n)}: {type_text(v)}", *_statistics(v))
                for n, v in event.outputs.items()
            ]
            columns = ["\n".join(cells) for cells in zip(*values, strict=True)] or [""] * 4
            rows.append((event.node.op_type, *columns, f"{event.seconds * 1e3:.3f} ms"))
        columns = ["operator", "outputs", "min", "mean", "max", "time"]
        table = as_html(f"Trace: {len(self):,} nodes", columns, rows)
        left = len(self) - len(rows)
        return table + (f"<p>… and {left:,} more nodes</p>" if left > 0 else "")

    def __iter__(self) -> Iterator[Event]:
        """Raises OperatorError naming the node if an operator rejects its inputs."""
        run = _Run(self._plan, self._arguments, self._limits, self._iterations)
        for step, given, found, seconds in run.steps():
            names = self._names_of(run.plans[-1])
            slots = zip(step.inputs, given, strict=True)
            inputs = {names.get(slot, ""): _array(v) for slot, v in slots if slot != NOTHING}
            outputs = {n: _array(v) for n, v in zip(step.node.outputs, found, strict=False) if n}
            del given, found, slots
            path, runs = tuple(run.path), run.runs
            yield Event(step.node, inputs, outputs, seconds, step.operator, path, runs)
            del inputs, outputs

    def _names_of(self, plan: Plan) -> dict[int, str]:
        if id(plan) not in self._names:
            self._names[id(plan)] = {slot: name for name, slot in plan.names.items()}
        return self._names[id(plan)]


def timed_steps(plan: Plan, arguments: Sequence[Any], limits: Limits | None) -> Steps:
    """A run step by step. Raises as the iteration of a Trace."""
    return _Run(plan, arguments, limits, 0).steps()


class InnerStep(NamedTuple):
    """A step of a subgraph; ``path``: the nodes around it with their graphs, ``names`` of slots."""

    path: tuple[Place, ...]
    names: Mapping[int, str]
    step: Step
    inputs: list[Any]
    outputs: Sequence[Any]
    seconds: float


def timed_inner_steps(
    plan: Plan, arguments: Sequence[Any], limits: Limits | None
) -> Iterator[InnerStep | tuple[Step, float]]:
    """A run in which the subgraphs of If, Loop and Scan are walked through, in all iterations:
    their steps, each time that one is called, and after them the step around them with its seconds.
    Raises as the iteration of a Trace."""
    run = _Run(plan, arguments, limits, math.inf)
    names: dict[int, dict[int, str]] = {}
    for step, inputs, outputs, seconds in run.steps():
        if run.path:
            inner = run.plans[-1]
            found = names.setdefault(id(inner), {s: name for name, s in inner.names.items()})
            yield InnerStep(tuple(run.path), found, step, inputs, outputs, seconds)
        elif step.bodies:
            yield step, seconds


def _statistics(value: Any) -> Sequence[str]:
    """Minimum, mean and maximum of an array of real numbers, as text."""
    if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind in "OUSTc":
        return "", "", ""
    wide = value.astype(np.float64)
    with np.errstate(all="ignore"):
        return tuple(f"{v:.4g}" for v in (wide.min(), wide.mean(), wide.max()))


def _array(value: Any) -> Any:
    """The value; NumPy scalars as arrays of rank 0."""
    return np.asarray(value) if isinstance(value, np.generic) else value


class _Run:
    """One run, and the place of its last step."""

    def __init__(
        self, plan: Plan, arguments: Sequence[Any], limits: Limits | None, iterations: float
    ) -> None:
        self.plans = [plan]  # of the graph, of the subgraph in it, …
        self.path: list[Place] = []
        self.runs: dict[str, int] = {}  # of the graphs of the last step
        self._arguments, self._iterations = arguments, iterations
        self._budget = None if limits is None else Budget(limits, foreign=arguments)
        self._clock = _Clock()
        self._entered: list[float] = []  # the start of each step that is being walked through
        self._last = 0.0  # the end of the last step, or the start of one that is walked through

    def steps(self) -> Steps:
        """The steps of the plan and, as far as they are traced, of its subgraphs."""
        inside = self._inside if self._iterations else None
        steps = walk(self.plans[0], self._arguments, inside)
        while True:
            # NumPy's state and the time between two steps belong to the caller.
            with computing(), use_budget(self._budget), self._clock:
                try:
                    step, given, found = next(steps)
                except StopIteration:
                    return
            walked = self._iterations > 0 and step.calls is not None
            began = self._entered.pop() if walked else self._last
            self._last = self._clock.seconds
            if not walked:
                self.runs = {}
            paused = time.monotonic()
            yield step, given, found, self._last - began
            if self._budget is not None:
                self._budget.extend(time.monotonic() - paused)
            del given, found

    def _inside(self, step: Step, given: list[Any]) -> StepIterator:
        """The steps of the subgraphs of a step, in the first iterations of each."""
        assert step.calls is not None
        self._last = self._clock.now()
        self._entered.append(self._last)
        bodies, calls = step.calls(*given)
        names = {id(body): name for name, body in bodies.items()}
        runs: Counter[str] = Counter()
        outputs: Any = None
        while True:
            try:
                body, inputs = calls.send(outputs)
            except StopIteration as end:
                self.runs = dict(runs)
                return end.value
            name = names[id(body)]
            if runs[name] < self._iterations:
                self.path.append(Place(step.node, step.operator, name, runs[name]))
                self.plans.append(step.bodies[name][0])
                outputs = yield from body.walk(inputs, self._inside)
                self.plans.pop()
                self.path.pop()
            else:
                outputs = body(*inputs)
            runs[name] += 1


class _Clock:
    """Counts the seconds inside its ``with`` blocks."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds = self.now()

    def now(self) -> float:
        """The seconds up to now, inside a ``with`` block."""
        return self.seconds + time.perf_counter() - self._start
