"""Subgraphs as the functions that operators call to run them (If, Loop, Scan)."""

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
from onnxwalk.interpreter.runtime.walk import execute, walk
from onnxwalk.ops.contract.graphs import Calls
from onnxwalk.ops.shared.values import zero


class Body:
    """A subgraph as a function of positional inputs that returns a tuple of outputs."""

    def __init__(
        self,
        plan: Plan,
        captured_values: Sequence[Any],
        bound: BoundPlans | None = None,
        loops: bool = False,
    ) -> None:
        self._plan = plan
        self._captured = captured_values
        self._bound = bound
        self._loops = loops

    def walk(self, inputs: Sequence[Any], inside: Callable[..., StepIterator]) -> StepIterator:
        """As a call, but step by step."""
        self._count_iteration()
        results = yield from walk(self._plan, [*inputs, *self._captured], inside)
        return self._counted(results)

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
        run = execute if self._bound is None else self._bound.call
        return self._counted(run(self._plan, [*inputs, *self._captured]))

    def _count_iteration(self) -> None:
        if self._loops and (budget := current_budget()) is not None:
            budget.count_iteration()

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
    loops: bool,
) -> Callable[..., Any]:
    """A function of a node's inputs followed by the values that its subgraphs capture. Its
    attribute ``calls``, if any, is that of ``Step``."""
    parts = []
    position = n_inputs
    for name, (plan, names) in bodies.items():
        outer = slice(position, position + len(names))
        parts.append((name, plan, outer, BoundPlans() if bind else None))
        position = outer.stop

    def graphs(values: Sequence[Any]) -> dict[str, Body]:
        return {name: Body(plan, values[outer], bound, loops) for name, plan, outer, bound in parts}

    def call(*values: Any) -> Any:
        return function(*values[:n_inputs], **graphs(values))

    generator = getattr(function.func, "calls", None)
    if generator is not None:

        def calls(*values: Any) -> tuple[dict[str, Body], Calls[Any]]:
            found = graphs(values)
            return found, generator(*values[:n_inputs], **function.keywords, **found)

        call.__dict__["calls"] = calls
    return call
