"""The values in between: a run, node by node."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.budget import Budget, within
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.walk import Walked, walk
from onnxwalk.ops import Operator
from onnxwalk.ops.shared.numpy_state import computing

#: of each If, Loop and Scan, the iterations that are shown or written where nothing is said
ITERATIONS = 3


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
    empty optionals. They are the run's own: copy what is to be changed. ``path`` tells of a node
    within others where it is, from the outermost; ``seconds`` of a node include those of what is
    inside, and ``runs`` tells how often each of its graphs was run.
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
        self.plan, self._arguments = plan, arguments
        self._limits = limits
        self._iterations = iterations
        self._names: dict[int, dict[int, str]] = {}  # of each plan, by its id: slot -> name

    def __len__(self) -> int:
        """How many nodes are computed, without those inside of others."""
        return len(self.plan.steps)

    def _repr_html_(self) -> str:
        """Its nodes, for a notebook. It is a run like any other iteration."""
        from onnxwalk.interpreter.analysis.notebook import of_trace  # of use in notebooks only

        return of_trace(self)

    def __iter__(self) -> Iterator[Event]:
        """Raises OperatorError naming the node when an operator refuses its inputs."""
        run = self._run()
        for step, given, found, seconds in run.steps(self._arguments):
            names = self._names_of(run.plans[-1])
            slots = zip(step.inputs, given, strict=True)
            inputs = {names.get(slot, ""): _array(v) for slot, v in slots if slot != NOTHING}
            outputs = {n: _array(v) for n, v in zip(step.node.outputs, found, strict=False) if n}
            del given, found, slots
            path, runs = tuple(run.path), run.runs
            yield Event(step.node, inputs, outputs, seconds, step.operator, path, runs)
            del inputs, outputs

    def steps(self) -> Iterator[tuple[Step, list[Any], Sequence[Any], float]]:
        """The plan's steps, the values they were given and gave, and the seconds they took; those
        inside of others too, as in the events."""
        return self._run().steps(self._arguments)

    def _run(self) -> _Run:
        limits = self._limits
        budget = None if limits is None else Budget(limits, foreign=self._arguments)
        return _Run(self.plan, self._iterations, budget)

    def _names_of(self, plan: Plan) -> dict[int, str]:
        if id(plan) not in self._names:
            self._names[id(plan)] = {slot: name for name, slot in plan.names.items()}
        return self._names[id(plan)]


def _array(value: Any) -> Any:
    """A value as the events have it: NumPy's scalars are arrays of rank 0."""
    return np.asarray(value) if isinstance(value, np.generic) else value


class _Run:
    """One run, and where in it the last step was."""

    def __init__(self, plan: Plan, iterations: float, budget: Budget | None) -> None:
        self.plans = [plan]  # that of the graph, that of the graph within, …
        self.path: list[Place] = []
        self.runs: dict[str, int] = {}  # of the graphs of the last step
        self._iterations, self._budget = iterations, budget
        self._clock = _Clock()
        self._entered: list[float] = []  # when each step that is being walked through began
        self._last = 0.0  # when the last step ended, or one that is walked through began

    def steps(
        self, arguments: Sequence[Any]
    ) -> Iterator[tuple[Step, list[Any], Sequence[Any], float]]:
        """As ``Trace.steps``."""
        steps = walk(self.plans[0], arguments, self._inside if self._iterations else None)
        while True:
            # NumPy's state and the time between two steps belong to the caller.
            with computing(), within(self._budget), self._clock:
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

    def _inside(self, step: Step, given: list[Any]) -> Walked:
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
