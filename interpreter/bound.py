"""A plan bound to the shapes of its inputs: memory is planned, views are made, calls are listed.

Most of what NumPy costs beyond arithmetic is decided by shapes alone: fresh memory, page faults,
views, blocks, the choice of a formulation. So the first run with new shapes walks the plan step by
step and *binds* each operator to the arrays that will hold its values (``ops.space``); a run with
the same shapes then only copies its inputs in and makes the calls.

Steps that can't be bound are called as they are, and what they give is copied to its place. When
its shape depends on data and turns out to be another one, ``Stale`` is raised and the plan is bound
again, without counting on that step any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from interpreter.plan import NOTHING, Plan, Step
from ops.space import Space, memory_order

Margins = dict[int, tuple[int, int, int, int]]


class Stale(Exception):
    """The result of ``step`` (its number) has another shape than when the plan was bound."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class Bound:
    """A plan for inputs of certain shapes. One run at a time: it owns the memory of its values."""

    def __init__(self, plan: Plan, arguments: Sequence[Any], changing: frozenset[int]) -> None:
        """Bind by running: afterwards ``outputs()`` gives what this run computed.

        ``changing`` are the steps whose results are known to change their shapes.
        """
        self.plan = plan
        self.names: tuple[str, ...] = ()  # of the arguments
        self.space = Space()
        self.values = plan.template.copy()
        self._fixed: set[int] = set()  # slots whose array is the same in every run
        self._known = {slot for slot, value in enumerate(plan.template) if value is not None}
        for slot in self._known:
            if isinstance(self.values[slot], np.ndarray):
                self.space.constant(self.values[slot])
        self._kept = {NOTHING, *plan.outputs}
        for slot, argument in zip(plan.inputs, arguments, strict=True):
            self._store(slot, argument)
        self._inputs = [(slot, slot in self._fixed) for slot in plan.inputs]
        margins = _margins(plan)
        #: for each step, which of the calls are its own
        self.ranges: list[slice] = []
        for number, step in enumerate(plan.steps):
            first = len(self.space.calls)
            self._bind(number, step, margins, number in changing)
            self.ranges.append(slice(first, len(self.space.calls)))
        self.calls = self.space.calls

    @property
    def nbytes(self) -> int:
        return self.space.arena.nbytes

    def run(self, arguments: Sequence[Any]) -> None:
        """Compute; the arguments are of the types and shapes that this was bound for."""
        values = self.values
        for (slot, fixed), argument in zip(self._inputs, arguments, strict=True):
            if fixed:
                np.copyto(values[slot], argument)
            else:
                values[slot] = argument
        for function, operands in self.calls:
            function(*operands)

    def outputs(self) -> list[Any]:
        """The outputs of the last run, as the caller's own."""
        return [_copied(self.values[slot]) for slot in self.plan.outputs]

    # ------------------------------------------------------------------------------- binding

    def _bind(self, number: int, step: Step, margins: Margins, changing: bool) -> None:
        arguments = [self.values[slot] for slot in step.inputs]
        if (
            all(s == NOTHING or s in self._known for s in step.inputs)
            and "rng" not in step.operator.reserved
        ):
            self._compute_once(step, arguments)
            return
        results = None
        if step.bind and all(s in self._known or s in self._fixed for s in step.inputs if s):
            dying = [self.values[slot] for slot in step.release if slot in self._fixed]
            margin = margins.get(step.outputs[0], (0, 0, 0, 0))
            self.space.begin(dying, margin, tuple(slot != NOTHING for slot in step.outputs))
            results = step.bind(self.space, *arguments)
            self.space.end()
        if results is not None:
            results = results if isinstance(results, tuple) else (results,)
            for slot, result in zip(step.outputs, results, strict=False):
                self._place(slot, result)
        else:
            self._call_every_time(number, step, arguments, changing)
        self._release(step)

    def _compute_once(self, step: Step, arguments: list[Any]) -> None:
        results = step.call(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        for slot, result in zip(step.outputs, results, strict=False):
            if slot != NOTHING:
                self.values[slot] = self._own(result)
                self._known.add(slot)
                if isinstance(result, np.ndarray):
                    self.space.constant(self.values[slot])

    def _call_every_time(
        self, number: int, step: Step, arguments: list[Any], changing: bool
    ) -> None:
        results = step.call(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        if len(results) < len(step.outputs):
            raise ValueError(f"{len(results)} outputs came, the node names {len(step.outputs)}")
        targets = []
        for slot, result in zip(step.outputs, results, strict=False):
            if slot == NOTHING:
                continue
            self._store(slot, result, changing)
            targets.append(slot)
        self.space.calls.append((self._call, (number, step)))

    def _call(self, number: int, step: Step) -> None:
        """A step that isn't bound, in a later run."""
        values = self.values
        results = step.call(*[values[slot] for slot in step.inputs])
        if type(results) is not tuple:
            results = (results,)
        for slot, result in zip(step.outputs, results, strict=False):
            if slot in self._fixed:
                place = values[slot]
                if result.shape != place.shape or result.dtype != place.dtype:
                    raise Stale(number)
                np.copyto(place, result)
            elif slot != NOTHING:
                values[slot] = self._own(result)

    def _store(self, slot: int, value: Any, changing: bool = False) -> None:
        """Keep a value in memory of the plan's own, or as it is if it is no plain array."""
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if changing or not isinstance(value, np.ndarray) or value.dtype.hasobject:
            self.values[slot] = self._own(value)
            return
        array = self.space.array(value.shape, value.dtype, memory_order(value))
        np.copyto(array, value)
        self._place(slot, array)

    def _place(self, slot: int, array: np.ndarray) -> None:
        if slot == NOTHING:
            return
        self.values[slot] = array
        if self.space.known(array):
            self._known.add(slot)
            return
        self._fixed.add(slot)
        self.space.hold(array)

    def _release(self, step: Step) -> None:
        for slot in step.release:
            if slot in self._fixed and slot not in self._kept:
                self.space.release(self.values[slot])

    def _own(self, value: Any) -> Any:
        """A value that is not in the plan's memory, where the next call may overwrite it."""
        if isinstance(value, list):
            return [self._own(item) for item in value]
        if isinstance(value, np.ndarray) and self.space.arena.holds(value):
            return value.copy()
        return value


def _margins(plan: Plan) -> Margins:
    """The zeros that the readers of each value would like around it, if they all do.

    A ``bind`` may have an attribute ``margin``: (top, left, bottom, right) around its first input.
    """
    wanted: dict[int, list[tuple[int, int, int, int]]] = {}
    for step in plan.steps:
        for position, slot in enumerate(step.inputs):
            margin = getattr(step.bind, "margin", None) if position == 0 else None
            wanted.setdefault(slot, []).append(margin or (0, 0, 0, 0))
    return {
        slot: tuple(max(sides) for sides in zip(*margins, strict=True))  # type: ignore[misc]
        for slot, margins in wanted.items()
        if all(any(margin) for margin in margins)
    }


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return dict(value) if isinstance(value, dict) else value
