"""A plan bound to the shapes of its inputs: memory is planned, views are made, calls are listed.

Most of what NumPy costs beyond arithmetic is decided by shapes alone: fresh memory, page faults,
views, blocks, the choice of a formulation. So the first run with new shapes walks the plan step by
step and *binds* each operator to the arrays that will hold its values (``ops.contract.space``); a
run with the same shapes then only copies its inputs in and makes the calls. Large inputs and
outputs are not even copied (``interpreter.runtime.zero_copy``).

Steps that can't be bound are called as they are, and what they give is copied to its place. When
its shape depends on data and turns out to be another one, ``Stale`` is raised and the plan is bound
again, without counting on that step any more.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import Budget, copied, current
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.runtime.walk import located
from onnxwalk.interpreter.runtime.zero_copy import Region, borrow, can_be_borrowed, is_open
from onnxwalk.ops.contract.space import Arena, Space, memory_order
from onnxwalk.ops.shared.numpy_state import computing

#: nanoseconds of work between two looks at the clock
_UNWATCHED = 1_000_000

Margins = dict[int, tuple[int, int, int, int]]


class Stale(Exception):
    """The result of a step (its ``id``) has another shape than when the plan was bound."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class _Hidden(Exception):
    """A call that can't be pointed at other memory touches the input of a ``slot``."""

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.slot = slot


class Bound:
    """A plan for inputs of certain shapes. One run at a time: it owns the memory of its values."""

    def __init__(self, plan: Plan, arguments: Sequence[Any], changing: frozenset[int]) -> None:
        """Bind by running: afterwards ``outputs()`` gives what this run computed.

        ``changing`` are the steps (their ``id``) whose results are known to change their shapes.
        """
        self.plan = plan
        self.names: tuple[str, ...] = ()  # of the arguments
        borrowed = {s for s, x in zip(plan.inputs, arguments, strict=True) if can_be_borrowed(x)}
        while True:
            try:
                scope = self._bind(arguments, changing, borrowed)
                break
            except _Hidden as hidden:
                borrowed.remove(hidden.slot)
        self.space, self.calls, self.values = scope.space, scope.space.calls, scope.values
        lent = scope.lent()
        arrays = {s: self.values[s] for s in (*plan.inputs, *lent) if s in borrowed or s in lent}
        #: the slots whose memory is the caller's, each with its place among ``_memories``
        self._places, self._borrowed = borrow(arrays, self.calls, self._touching(arrays.values()))
        self._memories = [self.values[slot] for slot in self._places]
        self._lent = [
            (s, self.values[s].shape, self.values[s].dtype) for s in lent if s in self._places
        ]
        self._keep_shapes([Region(memory) for memory in self._memories])
        #: whether it has steps that ask what the limits leave
        self.is_guarded = any(function is _call_step for function, _ in self.calls)
        #: each input's slot, whether its array is the same in every run, and its place
        self._inputs = [(s, s in scope.fixed, self._places.get(s)) for s in plan.inputs]

    def _bind(
        self, arguments: Sequence[Any], changing: frozenset[int], borrowed: set[int]
    ) -> _Scope:
        budget = current()
        space = Space(budget.fill if budget is not None else None)
        scope = _Scope(space, self.plan, changing)
        for slot, argument in zip(self.plan.inputs, arguments, strict=True):
            if slot in borrowed:
                scope.borrow(slot, argument)
            else:
                scope.store(slot, argument)
        scope.lends = {s for s in self.plan.outputs if s not in self.plan.inputs}
        try:
            #: for each step, which of the calls are its own
            self.ranges = scope.bind()
        except Exception:
            if budget is not None:
                budget.give(space.nbytes)
            raise
        space.arena.reserve = None  # or the plan would keep the budget, and that the feeds
        #: for each step, the nanoseconds that it may take; of none without limits
        self.work = scope.work
        return scope

    @property
    def nbytes(self) -> int:
        return self.space.nbytes

    def run(self, arguments: Sequence[Any]) -> None:
        """Compute; the arguments are of the types and shapes that this was bound for."""
        budget = current()
        if budget is not None and budget.is_timed:
            self._run_timed(arguments, budget)
            return
        self._take(arguments)
        for function, operands in self.calls:
            function(*operands)

    def _run_timed(self, arguments: Sequence[Any], budget: Budget) -> None:
        """As ``run``; what is done between two looks at the clock must fit into the time left."""
        self._take(arguments)
        for step, calls, work in self._stretches:
            try:
                budget.tick(work)
            except LimitError as error:
                raise located(step, [self.values[slot] for slot in step.inputs], error) from None
            for function, operands in self.calls[calls]:
                function(*operands)

    @functools.cached_property
    def _stretches(self) -> list[tuple[Step, slice, int]]:
        """Steps that together take little time: the first of them, their calls, and how long."""
        found: list[tuple[Step, slice, int]] = []
        for step, calls, work in zip(self.plan.steps, self.ranges, self.work, strict=True):
            if found and found[-1][2] + work <= _UNWATCHED:
                first, before, until = found[-1]
                found[-1] = first, slice(before.start, calls.stop), until + work
            else:
                found.append((step, calls, work))
        return found

    def run_marked(self, arguments: Sequence[Any]) -> list[float]:
        """As ``run``; gives what ``time.perf_counter`` was before the first step and after each."""
        self._take(arguments)
        marks = [time.perf_counter()]
        for calls in self.ranges:
            for function, operands in self.calls[calls]:
                function(*operands)
            marks.append(time.perf_counter())
        return marks

    def steps(self, arguments: Sequence[Any]) -> Iterator[tuple[Step, list[Any]]]:
        """As ``run``, step by step: each with its outputs, which later steps may overwrite.
        ``None`` stands for what is only a view of memory that the caller gets."""
        self._take(arguments)
        for step, calls in zip(self.plan.steps, self.ranges, strict=True):
            with computing():
                for function, operands in self.calls[calls]:
                    function(*operands)
            yield step, [self._found(slot) for slot in step.outputs]

    def _found(self, slot: int) -> Any:
        if slot in self._places:
            return self._memories[self._places[slot]]
        return None if slot in self._elsewhere else self.values[slot]

    def _take(self, arguments: Sequence[Any]) -> None:
        values, calls = self.values, self.calls
        memories: list[Any] = [None] * len(self._places)
        for (slot, fixed, place), argument in zip(self._inputs, arguments, strict=True):
            if place is not None:
                memories[place] = np.ascontiguousarray(argument)
            elif fixed:
                np.copyto(values[slot], argument)
            else:
                values[slot] = argument
        for slot, shape, dtype in self._lent:
            memories[self._places[slot]] = np.empty(shape, dtype)
        self._borrowed.point(calls, memories)
        self._memories = memories

    def outputs(self) -> list[Any]:
        """The outputs of the last run, as the caller's own. To be asked for once after each run:
        the memory of inputs and outputs is then let go."""
        places, memories = self._places, self._memories
        results = [
            memories[places[slot]] if slot in places else _copied(self.values[slot])
            for slot in self.plan.outputs
        ]
        self._memories = []
        self._borrowed.forget(self.calls)
        return results

    def _touching(self, arrays: Iterable[np.ndarray]) -> list[int]:
        """The calls of the steps that one of these arrays is an input or output of."""
        regions = [Region(array) for array in arrays]
        if not regions:
            return []
        touched = {
            slot
            for slot, value in enumerate(self.values)
            if any(region.touches(value) for region in regions)
        }
        return [
            call
            for step, calls in zip(self.plan.steps, self.ranges, strict=True)
            if not touched.isdisjoint((*step.inputs, *step.outputs))
            for call in range(calls.start, calls.stop)
        ]

    def _keep_shapes(self, regions: Sequence[Region]) -> None:
        """Of values that lie in the caller's memory only the shapes are kept."""
        self.space.lent = [m for m in self.space.lent if not any(r.touches(m) for r in regions)]
        self._elsewhere: set[int] = set()
        for slot, value in enumerate(self.values):
            if any(region.touches(value) for region in regions):
                self._elsewhere.add(slot)
                self.values[slot] = np.broadcast_to(np.zeros((), value.dtype), value.shape)


class _Scope:
    """The values of one graph while its plan is bound: of the whole, or of a subgraph in it."""

    def __init__(self, space: Space, plan: Plan, changing: frozenset[int]) -> None:
        self.space = space
        self.plan = plan
        self.changing = changing
        self.values = plan.template.copy()
        self.known = {slot for slot, value in enumerate(plan.template) if value is not None}
        for slot in self.known:
            if isinstance(self.values[slot], np.ndarray):
                space.constant(self.values[slot])
        self.fixed: set[int] = set()  # slots whose array is the same in every run
        self._owned: set[int] = set()  # of these, those whose memory this graph lets go
        self._kept = {NOTHING, *plan.outputs}
        self.borrowed: dict[int, Region] = {}  # the memory of inputs that are to be borrowed
        self.lends: set[int] = set()  # slots whose memory the caller may have
        self.work: list[int] = []  # of each step, in nanoseconds
        self._hidden: list[Any] = []  # values that calls touch which aren't open

    def bind(self) -> list[slice]:
        """Bind all steps. Gives for each of them which of the calls are its own."""
        margins = _margins(self.plan)
        ranges = []
        for step in self.plan.steps:
            first = len(self.space.calls)
            self._bind(step, margins)
            ranges.append(slice(first, len(self.space.calls)))
            if not all(is_open(call) for call in self.space.calls[first:]):
                self._hide((*step.inputs, *step.outputs))
        self._hide(self.plan.outputs)  # an input that is an output, or a view of it, is copied
        return ranges

    def _hide(self, slots: Sequence[int]) -> None:
        """These values are touched in ways that allow no other memory for them."""
        for value in [self.values[slot] for slot in slots]:
            for slot, region in self.borrowed.items():
                if region.touches(value):
                    raise _Hidden(slot)
            self._hidden.append(value)

    def lent(self) -> list[int]:
        """The outputs whose memory is to be the caller's: all of its own, and open to change."""
        slots = []
        for region in map(Region, self.space.lent):
            inside = [slot for slot in self.plan.outputs if region.touches(self.values[slot])]
            hidden = [value for value in self._hidden if region.touches(value)]
            if len(inside) == len(hidden) == 1 and self.values[inside[0]].flags.c_contiguous:
                slots += inside
        return slots

    def _bind(self, step: Step, margins: Margins) -> None:
        arguments = [self.values[slot] for slot in step.inputs]
        budget = current()
        need = None if budget is None else budget.need(step, arguments)
        self.work.append(0 if need is None else need.work)
        if budget is not None:
            try:
                budget.tick(self.work[-1])
                if need is not None:
                    budget.hopeless(need.memory)
            except LimitError as error:
                raise located(step, arguments, error) from None
        known = all(slot == NOTHING or slot in self.known for slot in step.inputs)
        branch = self._branch(step)
        if branch is not None:
            self._bind_branch(step, *branch)
        elif known and not step.bodies and "rng" not in step.operator.reserved:
            self._compute_once(step, arguments)
            return
        elif not self._bind_calls(step, arguments, margins):
            self._call_every_time(step, arguments)
        for slot in step.release:
            if slot in self._owned and slot not in self._kept:
                self.space.release(self.values[slot])

    def _bind_calls(self, step: Step, arguments: list[Any], margins: Margins) -> bool:
        """Have the operator bind itself, if it can."""
        bindable = all(s in self.known or s in self.fixed for s in step.inputs if s != NOTHING)
        if step.bind is None or not bindable:
            return False
        if any(isinstance(x, np.ndarray) and not x.size for x in arguments):
            return False  # there is nothing to gain, and formulas of blocks and strides to break
        dying = [self.values[slot] for slot in step.release if slot in self._owned]
        margin = margins.get(step.outputs[0] if step.outputs else NOTHING, (0, 0, 0, 0))
        wanted = tuple(slot != NOTHING for slot in step.outputs)
        lending = not self.lends.isdisjoint(step.outputs)
        self.space.begin(dying, margin, wanted, lending)
        results = step.bind(self.space, *arguments)
        self.space.end()
        if results is None:
            return False
        results = results if isinstance(results, tuple) else (results,)
        for slot, result in zip(step.outputs, results, strict=False):
            self._place(slot, result)
        return True

    # ---------------------------------------------------------------------------- subgraphs

    def _branch(self, step: Step) -> tuple[Plan, list[int]] | None:
        """The branch that a node takes in every run, and the slots of what it takes from outside:
        where the condition is known, which it is if it is a matter of shapes."""
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
        """Bind the steps of a subgraph as if they stood here."""
        inner = _Scope(self.space, plan, self.changing)
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
        for slot, result in zip(step.outputs, _results(step, arguments), strict=False):
            if slot != NOTHING:
                self.values[slot] = _own(result, self.space.arena)
                self.known.add(slot)
                if isinstance(self.values[slot], np.ndarray):
                    self.space.constant(self.values[slot])

    def _call_every_time(self, step: Step, arguments: list[Any]) -> None:
        for slot, result in zip(step.outputs, _results(step, arguments), strict=False):
            if slot != NOTHING:
                self.store(slot, result, id(step) in self.changing)
        self.space.calls.append((_call_step, (step, self.values, self.fixed, self.space.arena)))

    def borrow(self, slot: int, argument: np.ndarray) -> None:
        """A place for an input outside of the plan's memory, until it is known how it is used."""
        self.values[slot] = argument.copy()
        self.borrowed[slot] = Region(self.values[slot])
        self.fixed.add(slot)

    def store(self, slot: int, value: Any, changing: bool = False) -> None:
        """Keep a value in memory of the plan's own, or as it is if it is no plain array."""
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if changing or not isinstance(value, np.ndarray) or value.dtype.hasobject:
            self.values[slot] = _own(value, self.space.arena)
            return
        array = self.space.array(value.shape, value.dtype, memory_order(value))
        np.copyto(array, value)
        self._place(slot, array)

    def _place(self, slot: int, array: np.ndarray) -> None:
        if slot == NOTHING:
            return
        self.values[slot] = array
        if self.space.known(array):
            self.known.add(slot)
            return
        self.fixed.add(slot)
        self._owned.add(slot)
        self.space.hold(array)


def _results(step: Step, arguments: list[Any]) -> tuple[Any, ...]:
    """What a step that isn't bound gives. Raises LimitError if it needs more than is left."""
    budget = current()
    try:
        if budget is not None:
            budget.before(step, arguments)
        results = step.call(*arguments)
        if type(results) is not tuple:
            results = (results,)
        if len(results) < len(step.outputs):
            raise ValueError(f"{len(results)} outputs came, the node names {len(step.outputs)}")
        if budget is not None:
            budget.after(results)
    except LimitError as error:
        raise located(step, arguments, error) from None
    return results


def _call_step(step: Step, values: list[Any], fixed: set[int], arena: Arena) -> None:
    """A step that isn't bound, in a later run. (No method: a plan that refers to itself would keep
    its memory until Python looks for such.)"""
    results = _results(step, [values[slot] for slot in step.inputs])
    for slot, result in zip(step.outputs, results, strict=False):
        if slot in fixed:
            place = values[slot]
            if result.shape != place.shape or result.dtype != place.dtype:
                raise Stale(id(step))
            np.copyto(place, result)
        elif slot != NOTHING:
            values[slot] = _own(result, arena)


def _own(value: Any, arena: Arena) -> Any:
    """A value that is not in the plan's memory, where the next call may overwrite it."""
    if isinstance(value, list):
        return [_own(item, arena) for item in value]
    if isinstance(value, np.ndarray) and arena.holds(value):
        return value.copy()
    return np.asarray(value) if isinstance(value, np.generic) else value


def _forward(source: list[Any], slot: int, target: list[Any], place: int) -> None:
    """A value that is another object in every run, in or out of a subgraph."""
    target[place] = source[slot]


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
        return copied(value)
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return dict(value) if isinstance(value, dict) else value
