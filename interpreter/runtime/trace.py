"""The values in between: a run, node by node."""

from __future__ import annotations

import itertools
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

#: of each If, Loop and Scan, the iterations that are shown or written where nothing is said
ITERATIONS = 3

#: nodes that a notebook shows
_MOST_NODES = 200

#: each step with its inputs and outputs, and the seconds that it took
Steps: TypeAlias = Iterator[tuple[Step, list[Any], Sequence[Any], float]]


class Place(NamedTuple):
    """Inside of a node: which of its graphs ("body", "then_branch"), and for which time, from 0
    on, it is run."""

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
    empty optionals. They are the run's own: copy what is to be changed. ``path`` says where a
    node within others is, from the outermost; ``seconds`` of a node include those of what is
    inside, and ``runs`` says how often each of its graphs was run.
    """

    node: Node
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    seconds: float
    operator: Operator
    path: tuple[Place, ...] = ()
    runs: Mapping[str, int] = {}

    def named(self, name: str) -> str:
        """A value's or node's name with where it is: "loop/body[3]/name"; names within graphs are
        only theirs."""
        return "/".join([*map(str, self.path), name])

    @property
    def name(self) -> str:
        """The node's name, or its first output's, with where it is."""
        return self.named(self.node.label)

    def cut(self, iterations: float) -> dict[str, int]:
        """How often those of its graphs were run that were run more often than this, by name."""
        return {f"{self.name}/{g}": n for g, n in self.runs.items() if n > iterations}

    def __repr__(self) -> str:
        rows = [
            (kind, join_lines(f"{name}: {type_text(value)}" for name, value in values.items()))
            for kind, values in (("inputs", self.inputs), ("outputs", self.outputs))
        ]
        rows.append(("seconds", f"{self.seconds:.3g}"))
        return as_text(f"Event: node '{self.name}', {self.operator}", rows)


class Trace:
    """What a run computes: each iteration over it is a run of its own, which goes on only as far
    as it is asked, and lets go every value that no later node reads."""

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[Any],
        limits: Limits | None = None,
        iterations: float = 0,
    ) -> None:
        """Of the time of ``limits``, what the reader takes doesn't count."""
        self._plan, self._arguments = plan, arguments
        self._limits = limits
        self._iterations = iterations
        self._names: dict[int, dict[int, str]] = {}  # of each plan, by its id: slot -> name

    def __len__(self) -> int:
        """How many nodes are computed, without those inside of others."""
        return len(self._plan.steps)

    def __repr__(self) -> str:
        return as_text(
            f"Trace: {len(self):,} nodes",
            [("operators", count_operators(step.node.op_type for step in self._plan.steps))],
        )

    def _repr_html_(self) -> str:
        """Its nodes with their outputs and times. It is a run like any other iteration."""
        rows: list[Sequence[str]] = []
        for event in itertools.islice(self, _MOST_NODES):
            values = [
                (f"{event.named(n)}: {type_text(v)}", *_range(v)) for n, v in event.outputs.items()
            ]
            columns = ["\n".join(cells) for cells in zip(*values, strict=True)] or [""] * 4
            rows.append((event.node.op_type, *columns, f"{event.seconds * 1e3:.3f} ms"))
        columns = ["operator", "outputs", "min", "mean", "max", "time"]
        table = as_html(f"Trace: {len(self):,} nodes", columns, rows)
        left = len(self) - len(rows)
        return table + (f"<p>… and {left:,} nodes more</p>" if left > 0 else "")

    def __iter__(self) -> Iterator[Event]:
        """Raises OperatorError naming the node when an operator refuses its inputs."""
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
    """A run, step by step. Raises as the iteration of a trace."""
    return _Run(plan, arguments, limits, 0).steps()


def _range(value: Any) -> Sequence[str]:
    """The least, the mean and the most of an array of real numbers."""
    if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind in "OUSTc":
        return "", "", ""
    wide = value.astype(np.float64)
    with np.errstate(all="ignore"):
        return tuple(f"{v:.4g}" for v in (wide.min(), wide.mean(), wide.max()))


def _array(value: Any) -> Any:
    """A value as the events have it: NumPy's scalars are arrays of rank 0."""
    return np.asarray(value) if isinstance(value, np.generic) else value


class _Run:
    """One run, and where in it the last step was."""

    def __init__(
        self, plan: Plan, arguments: Sequence[Any], limits: Limits | None, iterations: float
    ) -> None:
        self.plans = [plan]  # that of the graph, that of the graph within, …
        self.path: list[Place] = []
        self.runs: dict[str, int] = {}  # of the graphs of the last step
        self._arguments, self._iterations = arguments, iterations
        self._budget = None if limits is None else Budget(limits, foreign=arguments)
        self._clock = _Clock()
        self._entered: list[float] = []  # when each step that is being walked through began
        self._last = 0.0  # when the last step ended, or one that is walked through began

    def steps(self) -> Steps:
        """The plan's steps; those inside of others too, as in the events."""
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
        """The steps inside of a step that runs graphs, of the first iterations of each."""
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
    """Seconds, counted while it is entered."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds = self.now()

    def now(self) -> float:
        """The seconds up to now, asked while they are counted."""
        return self.seconds + time.perf_counter() - self._start
