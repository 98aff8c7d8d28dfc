"""The values in between: a run, node by node."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from interpreter.budget import Budget, within
from interpreter.execute import walk
from interpreter.limits import Limits
from interpreter.model import Node
from interpreter.plan import NOTHING, Plan, Step
from ops.fast.calls import computing


class Event(NamedTuple):
    """A node that has been computed.

    ``inputs`` and ``outputs`` are its values by name: arrays, lists for sequences, ``None`` for
    empty optionals. They are the run's own: copy what is to be changed.
    """

    node: Node
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    seconds: float


class Trace:
    """What a run computes: each iteration over it is a run of its own, which goes on only as far
    as it is asked, and lets go every value that no later node reads."""

    def __init__(self, plan: Plan, arguments: Sequence[Any], limits: Limits | None = None) -> None:
        """Of ``limits`` all but the time are kept: that is the reader's, too."""
        self.plan, self._arguments = plan, arguments
        self._limits = None if limits is None else replace(limits, max_seconds=None)
        self._names = {slot: name for name, slot in plan.names.items()}

    def __len__(self) -> int:
        """How many nodes are computed."""
        return len(self.plan.steps)

    def _repr_html_(self) -> str:
        """Its nodes, for a notebook. It is a run like any other iteration."""
        from interpreter.notebook import of_trace  # of use in notebooks only

        return of_trace(self)

    def __iter__(self) -> Iterator[Event]:
        """Raises OperatorError naming the node when an operator refuses its inputs."""
        names = self._names
        for step, given, found, seconds in self.steps():
            slots = zip(step.inputs, given, strict=True)
            inputs = {names.get(slot, ""): v for slot, v in slots if slot != NOTHING}
            outputs = {n: v for n, v in zip(step.node.outputs, found, strict=False) if n}
            del given, found, slots
            yield Event(step.node, inputs, outputs, seconds)
            del inputs, outputs

    def steps(self) -> Iterator[tuple[Step, list[Any], Sequence[Any], float]]:
        """The plan's steps, the values they were given and gave, and the seconds they took."""
        limits = self._limits
        budget = None if limits is None else Budget(limits, foreign=self._arguments)
        steps = walk(self.plan, self._arguments)
        while True:
            # NumPy's state belongs to the caller between two steps.
            with computing(), within(budget):
                start = time.perf_counter()
                try:
                    step, given, found = next(steps)
                except StopIteration:
                    return
                seconds = time.perf_counter() - start
            yield step, given, found, seconds
            del given, found
