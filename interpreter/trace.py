"""The values in between: a run, node by node."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from interpreter.execute import walk
from interpreter.model import Node
from interpreter.plan import NOTHING, Plan
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

    def __init__(self, plan: Plan, arguments: Sequence[Any]) -> None:
        self._plan, self._arguments = plan, arguments
        self._names = {slot: name for name, slot in plan.names.items()}

    def __len__(self) -> int:
        """How many nodes are computed."""
        return len(self._plan.steps)

    def __iter__(self) -> Iterator[Event]:
        """Raises OperatorError naming the node when an operator refuses its inputs."""
        steps = walk(self._plan, self._arguments)
        while True:
            # NumPy's state belongs to the caller between two events.
            with computing():
                start = time.perf_counter()
                try:
                    step, given, found = next(steps)
                except StopIteration:
                    return
                seconds = time.perf_counter() - start
            names, node = self._names, step.node
            event = Event(
                node,
                {
                    names.get(slot, ""): value
                    for slot, value in zip(step.inputs, given, strict=True)
                    if slot != NOTHING
                },
                {name: v for name, v in zip(node.outputs, found, strict=False) if name},
                seconds,
            )
            del given, found
            yield event
            del event
