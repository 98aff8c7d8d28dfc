"""Binds a plan: each step is bound to the arrays that will hold its values.

Steps that can't be bound are called in every run, and their results are copied to their arrays. If
the shape of such a result depends on data and changes, ``ShapeChanged`` is raised and the plan is
bound again, now with that result in a new array each time.

In a plan for inputs of which some have other shapes in every run, the steps that depend on these
shapes are bound anew in every run (``Rebound``), so that results are the same, to the bit, as those
of a plan for these shapes alone. The others are bound once, and so are those whose operators bind
what doesn't depend on these shapes and take the rest as it comes (``MovingBind``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.budget import current_budget
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.runtime.call import call, name_error
from onnxwalk.interpreter.runtime.zero_copy import Region, is_open
from onnxwalk.ops.contract.space import Arena, Space, memory_order

#: the shape of the array in each slot; ``None`` where there is none
Shapes: TypeAlias = "list[tuple[int, ...] | None]"
#: results that change their shapes: the ``id`` of the step and the position among its outputs
Changing: TypeAlias = frozenset[tuple[int, int]]
#: by slot: zeros (top, left, bottom, right) around a value
Margins: TypeAlias = dict[int, tuple[int, int, int, int]]


class ShapeChanged(Exception):
    """A result of a step has another shape than when the plan was bound."""

    def __init__(self, step: int, position: int) -> None:
        super().__init__(step, position)
        self.result = step, position


class Scope:
    """The values of one graph, the model's or a subgraph, while its plan is bound."""

    def __init__(
        self, space: Space, plan: Plan, changing: Changing, before: Shapes | None = None
    ) -> None:
        """``before``: the shapes in an earlier run, for a plan of inputs that change theirs."""
        self.space = space
        self.plan = plan
        self.changing = changing
        self.before = before
        self.moving: set[int] = set()  # slots with other shapes, or constants that depend on these
        self.rebound: Rebound | None = None
        self.values = plan.template.copy()
        self.known = {slot for slot, value in enumerate(plan.template) if value is not None}
        for slot in self.known:
            if isinstance(self.values[slot], np.ndarray):
                space.mark_constant(self.values[slot])
        self.fixed: set[int] = set()  # slots whose array is the same in every run
        self._owned: set[int] = set()  # of these, those whose memory this graph releases
        self._kept = {NOTHING, *plan.outputs}
        self.borrowed: dict[int, Region] = {}  # the memory of inputs that should be borrowed
        self.lends: set[int] = set()  # slots whose memory the caller may get
        self.new: set[int] = set()  # slots whose array is a new one in every run
        self.work: list[int] = []  # of each step, in nanoseconds
        self._hidden: list[Any] = []  # values of calls that can't be redirected

    def bind(self) -> list[slice]:
        """Bind all steps. Returns the range of each one's calls."""
        margins = _margins(self.plan)
        ranges = []
        if self.moving:
            self.rebound = Rebound(self, margins)
        for step in self.plan.steps:
            first = len(self.space.calls)
            if self.rebound is None or self.moving.isdisjoint(step.inputs):
                self._bind(step, margins)
            elif not self._bind_moving(step, self.rebound):
                self._bind_anew(step, self.rebound)
            ranges.append(slice(first, len(self.space.calls)))
            if not all(is_open(call) for call in self.space.calls[first:]):
                self._hide((*step.inputs, *step.outputs))
        self._hide(self.plan.outputs)  # an input that is an output, or a view of it, is copied
        return ranges

    def _hide(self, slots: Sequence[int]) -> None:
        """Note that calls use these values which can't be redirected to other memory: where that is
        an input's, the plan keeps memory for it."""
        for value in [self.values[slot] for slot in slots]:
            for slot, region in list(self.borrowed.items()):
                if region.touches(value):
                    del self.borrowed[slot]
                    self.space.keep(self.values[slot])
            self._hidden.append(value)

    def lendable_outputs(self) -> list[int]:
        """The slots of the outputs whose memory the caller can get: contiguous, not shared with
        other outputs, and only used by calls that can be redirected."""
        slots = []
        for region in map(Region, self.space.output_memory):
            inside = [slot for slot in self.plan.outputs if region.touches(self.values[slot])]
            hidden = [value for value in self._hidden if region.touches(value)]
            if len(inside) == len(hidden) == 1 and self.values[inside[0]].flags.c_contiguous:
                slots += inside
        return slots

    def _bind(self, step: Step, margins: Margins) -> None:
        arguments = [self.values[slot] for slot in step.inputs]
        self.work.append(_check_cost(step, arguments))
        known = all(slot == NOTHING or slot in self.known for slot in step.inputs)
        branch = self._branch(step)
        if branch is not None:
            self._bind_branch(step, *branch)
        elif known and not step.bodies and "rng" not in step.operator.reserved:
            self._compute_once(step, arguments)
            return
        elif not self._bind_calls(step, arguments, margins):
            self._call_every_time(step, arguments)
        self._release(step)

    def _release(self, step: Step) -> None:
        for slot in step.release:
            if slot in self._owned and slot not in self._kept:
                self.space.release(self.values[slot])

    def _bind_moving(self, step: Step, rebound: Rebound) -> bool:
        """Bind a step to those of its inputs that keep their shapes. Returns whether its operator
        does that."""
        if step.bind_moving is None or step.bodies or not _are_there(step, self.values):
            return False
        moves = [slot in self.moving for slot in step.inputs]
        for slot, does_move in zip(step.inputs, moves, strict=True):
            if not (does_move or slot == NOTHING or slot in self.known or slot in self.fixed):
                return False
        first = len(self.space.calls)
        arguments = [self.values[slot] for slot in step.inputs]
        work = _check_cost(step, arguments)
        used_outputs = tuple(slot != NOTHING for slot in step.outputs)
        self.space.begin((), (0, 0, 0, 0), used_outputs)
        run = step.bind_moving(self.space, moves, *arguments)
        self.space.end()
        results = None if run is None else run(*arguments)
        if results is None:
            del self.space.calls[first:]
            return False
        for slot, result in zip(step.outputs, results, strict=False):
            if slot == NOTHING:
                continue
            if self.space.arena.contains(result):
                self._place(slot, result)
                rebound.places[slot] = result
            else:
                self.moving.add(slot)
                self.new.add(slot)
        _take_new(rebound, step, arguments, results)
        self.work.append(work)
        self.space.calls.append((run_moving, (rebound, step, run)))
        self._release(step)
        return True

    def _bind_anew(self, step: Step, rebound: Rebound) -> None:
        """Bind a step in every run. What has the same shape as before, and isn't a constant, is
        copied to memory of the plan, where steps that are bound once read it."""
        rebound.scope.bind_step(step)
        self.work.append(rebound.scope.work.pop())
        for position, slot in enumerate(step.outputs):
            if slot == NOTHING:
                continue
            value = self.values[slot]
            changes = (id(step), position) in self.changing or self.has_moved(slot, value)
            if changes or slot in rebound.scope.known or not _is_plain(value):
                self.moving.add(slot)
            else:
                self.store(slot, value)
                rebound.places[slot] = self.values[slot]
        self.space.calls.append((bind_step_again, (rebound, step)))
        self._release(step)

    def _bind_calls(self, step: Step, arguments: list[Any], margins: Margins) -> bool:
        """Record the calls of the step's binder. Returns whether it has one that accepts."""
        bindable = all(s in self.known or s in self.fixed for s in step.inputs if s != NOTHING)
        if step.bind is None or not bindable:
            return False
        if any(isinstance(x, np.ndarray) and not x.size for x in arguments):
            return False  # no gain, and formulas of blocks and strides may fail
        expiring = [self.values[slot] for slot in step.release if slot in self._owned]
        margin = margins.get(step.outputs[0] if step.outputs else NOTHING, (0, 0, 0, 0))
        used_outputs = tuple(slot != NOTHING for slot in step.outputs)
        is_output = not self.lends.isdisjoint(step.outputs)
        self.space.begin(expiring, margin, used_outputs, is_output)
        results = step.bind(self.space, *arguments)
        self.space.end()
        if results is None:
            return False
        results = results if isinstance(results, tuple) else (results,)
        if (budget := current_budget()) is not None:
            try:
                budget.check_sizes(results)
            except LimitError as error:
                raise name_error(step, arguments, error) from None
        for slot, result in zip(step.outputs, results, strict=False):
            self._place(slot, result)
        return True

    # ---------------------------------------------------------------------------- subgraphs

    def _branch(self, step: Step) -> tuple[Plan, list[int]] | None:
        """The branch that a node takes in every run, and the slots of the values it captures, if
        the condition is known: if it depends on shapes only."""
        branch_of = step.operator.subgraphs.branch
        if branch_of is None or not step.bodies or step.inputs[0] not in self.known:
            return None
        condition = self.values[step.inputs[0]]
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            return None
        branch, position = branch_of(condition.item()), 1
        for name, (plan, count) in step.bodies.items():
            if name == branch:
                return plan, list(step.inputs[position : position + count])
            position += count
        return None

    def _bind_branch(self, step: Step, plan: Plan, outer: list[int]) -> None:
        """Bind the steps of a subgraph as part of this graph."""
        inner = Scope(self.space, plan, self.changing)
        for slot, source in zip(plan.inputs, outer, strict=True):
            inner.values[slot] = self.values[source]
            if source in self.known:
                inner.known.add(slot)
            elif source in self.fixed:
                inner.fixed.add(slot)
            else:
                self.space.calls.append((_forward, (self.values, source, inner.values, slot)))
        inner.bind()
        for slot, source in zip(step.outputs, plan.outputs, strict=False):
            if slot == NOTHING:
                continue
            self.values[slot] = inner.values[source]
            if source in inner.known:
                self.known.add(slot)
            elif source in inner.fixed:
                self._place(slot, inner.values[source])
                if source in inner._owned:
                    self.space.release(inner.values[source])
            else:
                self.space.calls.append((_forward, (inner.values, source, self.values, slot)))

    # ------------------------------------------------------------ steps that aren't bound

    def _compute_once(self, step: Step, arguments: list[Any]) -> None:
        for slot, result in zip(step.outputs, call(step, arguments), strict=False):
            if slot != NOTHING:
                self.values[slot] = _own(result, self.space.arena)
                self.known.add(slot)
                if isinstance(self.values[slot], np.ndarray):
                    self.space.mark_constant(self.values[slot])

    def _call_every_time(self, step: Step, arguments: list[Any]) -> None:
        results = zip(step.outputs, call(step, arguments), strict=False)
        for position, (slot, result) in enumerate(results):
            if slot != NOTHING:
                self.store(slot, result, (id(step), position) in self.changing)
        are_fixed = all(map(self._is_fixed_array, step.inputs, arguments))
        if are_fixed and "out" in step.operator.reserved and step.outputs[0] in self.fixed:
            write = partial(step.call, out=self.values[step.outputs[0]])
            self.space.calls.append((write, tuple(arguments)))
            return
        self.space.calls.append((call_step, (step, self.values, self.fixed, self.space.arena)))

    def _is_fixed_array(self, slot: int, value: Any) -> bool:
        return (slot in self.known or slot in self.fixed) and _is_plain(value)

    def borrow(self, slot: int, argument: np.ndarray) -> None:
        """Hold an input outside of the plan's memory, until it is known how it is used."""
        self.values[slot] = argument.copy()
        self.borrowed[slot] = Region(self.values[slot])
        self.fixed.add(slot)

    def has_moved(self, slot: int, value: Any) -> bool:
        """Whether a value has another shape than in the run ``before``."""
        return self.before is not None and self.before[slot] != getattr(value, "shape", None)

    def store(self, slot: int, value: Any, changing: bool = False) -> None:
        """Copy a value to the plan's memory; keep it as it is if it isn't a plain array."""
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if changing or not _is_plain(value):
            self.values[slot] = _own(value, self.space.arena)
            return
        array = self.space.array(value.shape, value.dtype, memory_order(value))
        np.copyto(array, value)
        self._place(slot, array)

    def _place(self, slot: int, array: np.ndarray) -> None:
        if slot == NOTHING:
            return
        self.values[slot] = array
        if self.space.is_constant(array):
            self.known.add(slot)
            return
        self.fixed.add(slot)
        self._owned.add(slot)
        self.space.hold(array)


class Rebound:
    """The steps of a plan that are bound anew in every run."""

    # It doesn't refer to the outer scope, whose calls refer to it: see ``call_step``.
    def __init__(self, outer: Scope, margins: Margins) -> None:
        self.plan, self.changing, self.margins = outer.plan, outer.changing, margins
        self.values, self.known, self.fixed = outer.values, outer.known, outer.fixed
        self.moving, self.arena = outer.moving, outer.space.arena
        #: by slot: memory of the plan to which a result is copied
        self.places: dict[int, np.ndarray] = {}

        self._scope: _Anew | None = None

    @property
    def scope(self) -> _Anew:
        """Of this run."""
        if self._scope is None:
            budget = current_budget()
            self._scope = _Anew(self, Space(budget.fill if budget is not None else None))
        return self._scope

    def end(self) -> None:
        """Call after a run: frees its memory."""
        self._scope = None


class _Anew(Scope):
    """A scope for the steps that are bound anew, in one run."""

    def __init__(self, rebound: Rebound, space: Space) -> None:
        super().__init__(space, rebound.plan, rebound.changing)
        self.values, self.known = rebound.values, set()
        self._rebound = rebound

    def bind_step(self, step: Step) -> None:
        """Compute the outputs of a step. None of them is in memory that other steps reuse."""
        outer = self._rebound
        reads_plan = False
        for slot in step.inputs:
            value = self.values[slot]
            if slot not in outer.moving:
                if slot in outer.known and slot not in self.known:
                    self.known.add(slot)
                    if isinstance(value, np.ndarray):
                        self.space.mark_constant(value)
                elif slot in outer.fixed:
                    self.fixed.add(slot)
                    reads_plan = True
            elif slot not in self.known and _is_plain(value):
                self.fixed.add(slot)
        self._bind(step, outer.margins)
        self.space.calls.clear()
        if reads_plan:
            for slot in step.outputs:
                if slot != NOTHING:
                    self.values[slot] = _own(self.values[slot], outer.arena)

    def store(self, slot: int, value: Any, changing: bool = False) -> None:
        self.values[slot] = _own(value, self.space.arena)


def bind_step_again(rebound: Rebound, step: Step) -> None:
    """Bind a step to the shapes that its inputs have in this run."""
    rebound.scope.bind_step(step)
    for position, slot in enumerate(step.outputs):
        if slot in rebound.places:
            place, result = rebound.places[slot], rebound.values[slot]
            if result.shape != place.shape or result.dtype != place.dtype:
                raise ShapeChanged(id(step), position)
            np.copyto(place, result)
            rebound.values[slot] = place


def run_moving(
    rebound: Rebound, step: Step, run: Callable[..., tuple[np.ndarray, ...] | None]
) -> None:
    """A step that is bound to those of its inputs that keep their shapes, in a later run."""
    values = rebound.values
    arguments = [values[slot] for slot in step.inputs]
    _check_cost(step, arguments)
    results = run(*arguments) if _are_there(step, values) else None
    if results is None:
        bind_step_again(rebound, step)
        return
    _take_new(rebound, step, arguments, results)


def _are_there(step: Step, values: Sequence[Any]) -> bool:
    """Whether all inputs of a step are arrays with elements."""
    return all(
        slot == NOTHING or (_is_plain(values[slot]) and values[slot].size > 0)
        for slot in step.inputs
    )


def _check_cost(step: Step, arguments: list[Any]) -> int:
    """The nanoseconds that a step may take. Raises LimitError if its cost is more than is left."""
    budget = current_budget()
    if budget is None:
        return 0
    cost = budget.step_cost(step, arguments)
    work = 0 if cost is None else cost.work
    try:
        budget.tick(work)
        if cost is not None:
            budget.check_possible(cost.memory)
    except LimitError as error:
        raise name_error(step, arguments, error) from None
    return work


def _take_new(
    rebound: Rebound, step: Step, arguments: list[Any], results: Sequence[np.ndarray]
) -> None:
    """Keep the results that are new arrays, and count their memory. Raises LimitError."""
    new = [
        (slot, result)
        for slot, result in zip(step.outputs, results, strict=False)
        if slot in rebound.moving
    ]
    for slot, result in new:
        rebound.values[slot] = result
    if (budget := current_budget()) is not None:
        try:
            budget.check_results([result for _, result in new])
        except LimitError as error:
            raise name_error(step, arguments, error) from None


def _is_plain(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def call_step(step: Step, values: list[Any], fixed: set[int], arena: Arena) -> None:
    """A step that isn't bound, in a later run. (Not a method, as a plan that refers to itself would
    keep its memory until Python's garbage collection.)"""
    results = call(step, [values[slot] for slot in step.inputs])
    for position, (slot, result) in enumerate(zip(step.outputs, results, strict=False)):
        if slot in fixed:
            place = values[slot]
            if result.shape != place.shape or result.dtype != place.dtype:
                raise ShapeChanged(id(step), position)
            np.copyto(place, result)
        elif slot != NOTHING:
            values[slot] = _own(result, arena)


def _own(value: Any, arena: Arena) -> Any:
    """The value, copied if it is in the plan's memory, where the next call may overwrite it."""
    if isinstance(value, list):
        return [_own(item, arena) for item in value]
    if isinstance(value, np.ndarray) and arena.contains(value):
        return value.copy("K")
    return np.asarray(value) if isinstance(value, np.generic) else value


def _forward(source: list[Any], slot: int, target: list[Any], place: int) -> None:
    """Pass a value that is a new object in every run into or out of a subgraph."""
    target[place] = source[slot]


def _margins(plan: Plan) -> Margins:
    """The zeros around each value for which all of its readers ask.

    A ``bind`` may have an attribute ``margin``: (top, left, bottom, right) around its first input.
    """
    requests: dict[int, list[tuple[int, int, int, int]]] = {}
    for step in plan.steps:
        for position, slot in enumerate(step.inputs):
            margin = getattr(step.bind, "margin", None) if position == 0 else None
            requests.setdefault(slot, []).append(margin or (0, 0, 0, 0))
    return {
        slot: tuple(max(sides) for sides in zip(*margins, strict=True))  # type: ignore[misc]
        for slot, margins in requests.items()
        if all(any(margin) for margin in margins)
    }
