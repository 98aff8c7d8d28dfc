"""Subgraphs as the functions that operators call to run them (If, Loop, BeamSearch …)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current_budget
from onnxwalk.interpreter.errors import LimitError, OnnxWalkError
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.runtime.cache import BoundPlans
from onnxwalk.interpreter.runtime.call import StepIterator
from onnxwalk.interpreter.runtime.lane import Lane
from onnxwalk.interpreter.runtime.walk import execute, walk
from onnxwalk.ops.contract.graphs import Calls, Subgraphs
from onnxwalk.ops.shared.values import zero

#: how many lanes a body begins: where types change, each ends soon
_MOST_LANES = 3


class Body:
    """A subgraph as a function of positional inputs that returns a tuple of outputs."""

    def __init__(
        self,
        plan: Plan,
        captured_values: Sequence[Any],
        bound: BoundPlans | None = None,
        carried: int | None = None,
        at_once: bool = True,
        grows: bool = False,
    ) -> None:
        """``carried``: of a loop, how many outputs are inputs of the next iteration; ``at_once``:
        whether several iterations may be run at once; ``grows``: whether inputs
        have another shape in each call."""
        self._plan = plan
        self._captured = captured_values
        self._bound = bound
        self._carried = carried
        self._grows = grows
        self._lane: Lane | None = None
        self._lanes_left = _MOST_LANES if at_once and carried is not None else 0

    def walk(self, inputs: Sequence[Any], inside: Callable[..., StepIterator]) -> StepIterator:
        """As a call, but step by step."""
        self._count_iteration()
        results = yield from walk(self._plan, [*inputs, *self._captured], inside)
        return self._counted(results)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The declared ``name`` and ``type`` of each input."""
        return self._plan.declared_inputs

    @property
    def output_types(self) -> tuple[Any, ...]:
        """The declared type of each output (``dtype`` and ``shape``); ``None`` if undeclared."""
        return self._plan.output_types

    def attempt(self, *inputs: Any) -> tuple[Any, ...] | None:
        """The outputs for these inputs, computed only to see their types; ``None`` if that fails,
        also with one zero along each empty axis of what the body reads (an element of nothing).

        Raises LimitError.
        """
        given = [*inputs, *self._captured]
        for arguments in (given, [_not_empty(x) for x in given]):
            self._count_iteration()
            try:
                return tuple(execute(self._plan, arguments))
            except LimitError:
                raise
            except OnnxWalkError:
                continue
        return None

    @staticmethod
    def reserve(nbytes: int) -> None:
        """Check that memory for the operator's collected results is left, and the time to fill it.
        Raises LimitError."""
        if (budget := current_budget()) is not None:
            budget.tick(nbytes)
            budget.reserve(nbytes)

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        expected = len(self._plan.inputs) - len(self._captured)
        if len(inputs) != expected:
            raise ValueError(f"the subgraph has {expected} inputs, but got {len(inputs)}")
        self._count_iteration()
        arguments = [*inputs, *self._captured]
        if self._bound is None:
            return self._counted(execute(self._plan, arguments))
        return self._counted(self._bound.call(self._plan, arguments, self._grows))

    def run_ahead(
        self,
        number: int | None,
        states: Sequence[Any],
        rows: Sequence[Any],
        count: int,
        goes_on: bool,
    ) -> tuple[int, tuple[Any, ...], list[np.ndarray]] | None:
        """Some of the next iterations at once: see ``Lane.run``. ``None`` if the next one must be
        called. Raises LimitError."""
        if self._bound is None or self._carried is None:
            return None
        if self._lane is None:
            if self._lanes_left == 0:
                return None
            counter = [] if number is None else [np.array(number, np.int64)]
            inputs = [*counter, *states, *(x[0, ...] for x in rows)]
            self._arguments = [*inputs, *self._captured]
            self._lane = self._bound.begin_lane(self._arguments, len(inputs), self._carried)
            if self._lane is None:
                return None
            self._lanes_left -= 1
        found = self._lane.run(number, states, rows, count, goes_on)
        if found is None:
            self.end()
        return found

    def end(self) -> None:
        """Call after the last call."""
        if self._lane is not None and self._bound is not None:
            self._bound.end_lane(self._lane, self._arguments)
            self._lane = None

    def _count_iteration(self) -> None:
        if self._carried is not None and (budget := current_budget()) is not None:
            budget.count_iterations()

    @staticmethod
    def _counted(results: Sequence[Any]) -> tuple[Any, ...]:
        """The results, after counting their memory."""
        if (budget := current_budget()) is not None:
            budget.hold(results)
        return tuple(results)


def _not_empty(x: Any) -> Any:
    """An empty array with zeros along its empty axes, one along each; other values unchanged."""
    if not isinstance(x, np.ndarray) or x.size:
        return x
    return np.full([max(n, 1) for n in x.shape], zero(x.dtype), x.dtype)


def add_bodies(
    function: partial[Any],
    n_inputs: int,
    bodies: dict[str, tuple[Plan, list[str]]],
    bind: bool,
    subgraphs: Subgraphs,
) -> Callable[..., Any]:
    """A function of a node's inputs followed by the values that its subgraphs capture. Its
    attribute ``calls``, if any, is that of ``Step``."""
    parts = []
    position = n_inputs
    for name, (plan, names) in bodies.items():
        outer = slice(position, position + len(names))
        given = len(plan.inputs) - len(names)
        count = None if subgraphs.branch else 0  # outputs that are inputs of the next iteration
        if subgraphs.carried is not None:
            count = subgraphs.carried(given, **function.keywords)
        parts.append((name, plan, outer, BoundPlans() if bind else None, count))
        position = outer.stop

    def graphs(values: Sequence[Any], at_once: bool) -> dict[str, Body]:
        return {
            name: Body(plan, values[outer], bound, count, at_once, subgraphs.grows)
            for name, plan, outer, bound, count in parts
        }

    def call(*values: Any) -> Any:
        found = graphs(values, True)
        try:
            return function(*values[:n_inputs], **found)
        finally:
            for body in found.values():
                body.end()

    generator = getattr(function.func, "calls", None)
    if generator is not None:

        def calls(*values: Any) -> tuple[dict[str, Body], Calls[Any]]:
            found = graphs(values, False)  # each call is shown
            return found, generator(*values[:n_inputs], **function.keywords, **found)

        call.__dict__["calls"] = calls
    return call
