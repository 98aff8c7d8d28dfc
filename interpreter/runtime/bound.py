"""A plan bound to the shapes of its inputs: planned memory, views, and a list of calls.

Most of NumPy's overhead depends on shapes alone: new memory, page faults, views, blocks, the choice
of an algorithm. So the first run with new shapes walks the plan step by step and *binds* each
operator to the arrays that will hold its values (``ops.contract.space``); later runs with the same
shapes only copy the inputs in and make the calls. Large inputs and outputs aren't even copied
(``interpreter.runtime.zero_copy``).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import Budget, copy_output, current_budget
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.ir.plan import Plan, Step
from onnxwalk.interpreter.runtime.bind import (
    Changing,
    Scope,
    Shapes,
    bind_step_again,
    call_step,
    run_moving,
)
from onnxwalk.interpreter.runtime.call import name_error
from onnxwalk.interpreter.runtime.zero_copy import Region, borrow, can_be_borrowed
from onnxwalk.ops.contract.packing import Packing, pack
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.shared.numpy_state import computing

#: the most nanoseconds of work between two checks of the time
_UNCHECKED = 1_000_000


def _bind(
    plan: Plan,
    space: Space,
    arguments: Sequence[Any],
    changing: Changing,
    before: Shapes | None,
    resident: Mapping[int, np.ndarray] | None,
) -> tuple[Scope, list[slice]]:
    scope = Scope(space, plan, changing, before)
    for slot, array in (resident or {}).items():
        scope.values[slot] = array
        scope.fixed.add(slot)
    slots = [slot for slot in plan.inputs if slot not in (resident or ())]
    for slot, argument in zip(slots, arguments, strict=True):
        is_open = scope.has_moved(slot, argument)
        if is_open:
            scope.moving.add(slot)
        if can_be_borrowed(argument) and not is_open:
            scope.borrow(slot, argument)
        else:
            scope.store(slot, argument, is_open)
    if resident is None:
        scope.lends = {s for s in plan.outputs if s not in plan.inputs}
    return scope, scope.bind()


def rehearse(
    plan: Plan, arguments: Sequence[Any], changing: Changing, resident: Mapping[int, np.ndarray]
) -> Packing | None:
    """Where the memory of a bound plan lies best; ``None`` if that can't be told: a step that isn't
    bound is called, with whatever numbers there are, and may raise."""
    budget = current_budget()
    space = Space(budget.fill if budget is not None else None, is_rehearsal=True)
    try:
        _bind(plan, space, arguments, changing, None, resident)
    except Exception:
        return None
    return pack(space.arena.uses)


class Bound:
    """A plan for inputs of certain shapes. One run at a time, as all use the same memory."""

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[Any],
        changing: Changing = frozenset(),
        before: Shapes | None = None,
        resident: Mapping[int, np.ndarray] | None = None,
        packing: Packing | None = None,
    ) -> None:
        """Bind by running: afterwards ``outputs()`` returns the results of this run.

        ``changing``: the results that are known to change their shapes. ``before``: the ``shapes``
        of an earlier run with others, for an open plan. ``resident``: by slot, inputs that are the
        same arrays in every run, with other contents, and are read where they lie: the arguments
        are those of the other inputs, and the outputs are left in the plan's memory. ``packing``:
        of the memory, from ``rehearse``.
        """
        self.plan = plan
        self.names: tuple[str, ...] = ()  # of the arguments
        self._arguments = [slot for slot in plan.inputs if slot not in (resident or ())]
        budget = current_budget()
        space = Space(budget.fill if budget is not None else None, packing)
        try:
            #: the range of each step's calls
            scope, self.ranges = _bind(plan, space, arguments, changing, before, resident)
        except Exception:
            if budget is not None:
                budget.give(space.nbytes)
            raise
        space.arena.reserve = None  # or the plan would keep the budget, and with it the feeds
        #: the nanoseconds that each step may take; 0 without limits
        self.work = scope.work
        self.space, self.calls, self.values = scope.space, scope.space.calls, scope.values
        #: of the values in each slot
        self.shapes: Shapes = [getattr(value, "shape", None) for value in self.values]
        lent = scope.lendable_outputs()
        arrays = {
            s: self.values[s] for s in (*plan.inputs, *lent) if s in scope.borrowed or s in lent
        }
        #: the slots whose memory is the caller's, each with its index in ``_memories``
        self._places, self._patches = borrow(arrays, self.calls, self._touching(arrays.values()))
        self._memories = [self.values[slot] for slot in self._places]
        self._lent = [
            (s, self.values[s].shape, self.values[s].dtype) for s in lent if s in self._places
        ]
        self._keep_shapes([Region(memory) for memory in self._memories])
        functions = [function for function, _ in self.calls]
        #: whether it has steps that check the budget
        self.is_guarded = not {call_step, bind_step_again, run_moving}.isdisjoint(functions)
        #: whether no more than a third of the steps are bound anew in every run
        self.is_mostly_bound = 3 * functions.count(bind_step_again) <= len(plan.steps)
        self._rebound, self._moving = scope.rebound, scope.moving
        read = {slot for step in plan.steps for slot in step.inputs}
        #: outputs that are new arrays in every run, and nothing else's
        self._new = {s for s in scope.new - read if plan.outputs.count(s) == 1}
        #: slots whose array is the plan's own, and the same in every run
        self._lasting = (scope.known | scope.fixed) - set(self._places) - self._elsewhere
        #: each input's slot, whether its array is the same in every run, and its index as above
        self._inputs = [(s, s in scope.fixed, self._places.get(s)) for s in self._arguments]

    @property
    def nbytes(self) -> int:
        return self.space.nbytes

    def run(self, arguments: Sequence[Any]) -> None:
        """Compute; the arguments have the types and shapes that this was bound for."""
        budget = current_budget()
        if budget is not None and budget.is_timed:
            self._run_timed(arguments, budget)
            return
        self._load(arguments)
        for function, operands in self.calls:
            function(*operands)

    def _run_timed(self, arguments: Sequence[Any], budget: Budget) -> None:
        """As ``run``, with checks of the time left."""
        self._load(arguments)
        for step, calls, work in self._step_groups:
            try:
                budget.tick(work)
            except LimitError as error:
                raise name_error(step, [self.values[slot] for slot in step.inputs], error) from None
            for function, operands in self.calls[calls]:
                function(*operands)

    @functools.cached_property
    def _step_groups(self) -> list[tuple[Step, slice, int]]:
        """Groups of steps that take little time: the first step, their calls, and their work."""
        groups: list[tuple[Step, slice, int]] = []
        for step, calls, work in zip(self.plan.steps, self.ranges, self.work, strict=True):
            if groups and groups[-1][2] + work <= _UNCHECKED:
                first, before, until = groups[-1]
                groups[-1] = first, slice(before.start, calls.stop), until + work
            else:
                groups.append((step, calls, work))
        return groups

    def run_with_times(self, arguments: Sequence[Any]) -> list[float]:
        """As ``run``; returns ``time.perf_counter()`` before the first step and after each."""
        self._load(arguments)
        times = [time.perf_counter()]
        for calls in self.ranges:
            for function, operands in self.calls[calls]:
                function(*operands)
            times.append(time.perf_counter())
        return times

    def steps(self, arguments: Sequence[Any]) -> Iterator[tuple[Step, list[Any]]]:
        """As ``run``, step by step: each with its outputs, which later steps may overwrite.
        ``None`` stands for a value that is only a view of memory that the caller gets."""
        self._load(arguments)
        for step, calls in zip(self.plan.steps, self.ranges, strict=True):
            with computing():
                for function, operands in self.calls[calls]:
                    function(*operands)
            yield step, [self._value(slot) for slot in step.outputs]

    def _value(self, slot: int) -> Any:
        if slot in self._places:
            return self._memories[self._places[slot]]
        return None if slot in self._elsewhere else self.values[slot]

    def _load(self, arguments: Sequence[Any]) -> None:
        values, calls = self.values, self.calls
        memories: list[Any] = [None] * len(self._places)
        for (slot, fixed, place), argument in zip(self._inputs, arguments, strict=True):
            if place is not None:
                memories[place] = np.asarray(argument, order="C")  # of rank 0, too
            elif fixed:
                np.copyto(values[slot], argument)
            else:
                values[slot] = argument
        for slot, shape, dtype in self._lent:
            memories[self._places[slot]] = np.empty(shape, dtype)
        self._patches.point(calls, memories)
        self._memories = memories

    def outputs(self) -> list[Any]:
        """The outputs of the last run, owned by the caller. Call it once after each run, as it
        releases the memory of inputs and outputs."""
        places, memories = self._places, self._memories
        results = [
            memories[places[slot]]
            if slot in places
            else self.values[slot]
            if slot in self._new
            else _copy(self.values[slot])
            for slot in self.plan.outputs
        ]
        self.release()
        return results

    def release(self) -> None:
        """Release the memory of inputs and outputs."""
        self._memories = []
        self._patches.forget(self.calls)
        if self._rebound is not None:
            self._rebound.end()
            for slot in self._moving:
                self.values[slot] = None

    def hold(
        self, arguments: Sequence[Any], changing: int
    ) -> tuple[list[tuple[np.ndarray, np.ndarray | None]], list[np.ndarray]] | None:
        """Load arguments for several runs, in which only the first ``changing`` change, until
        ``release``. Pairs of an array to copy to before each run and what is copied (``None``: such
        an argument), and the arrays that will hold the outputs. ``None`` if some of them are in the
        caller's memory, or other objects in each run."""
        inputs = self._inputs[:changing]
        slots = {*(slot for slot, *_ in inputs), *self.plan.outputs}
        if not slots <= self._lasting:
            return None
        self._load(arguments)
        places: list[tuple[np.ndarray, np.ndarray | None]]
        places = [(self.values[slot], None) for slot, *_ in inputs]
        for (slot, fixed, place), argument in zip(
            self._inputs[changing:], arguments[changing:], strict=True
        ):
            # steps may write over memory of the arena whose value no later step reads
            if fixed and place is None and self.space.arena.contains(self.values[slot]):
                places.append((self.values[slot], argument))
        return places, [self.values[slot] for slot in self.plan.outputs]

    def _touching(self, arrays: Iterable[np.ndarray]) -> list[int]:
        """The calls of the steps that have one of these arrays as an input or output."""
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
        """Keep only the shapes of values in the caller's memory."""
        self.space.output_memory = [
            m for m in self.space.output_memory if not any(r.touches(m) for r in regions)
        ]
        self._elsewhere: set[int] = set()
        for slot, value in enumerate(self.values):
            if any(region.touches(value) for region in regions):
                self._elsewhere.add(slot)
                self.values[slot] = np.broadcast_to(np.zeros((), value.dtype), value.shape)


def _copy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return copy_output(value)
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return dict(value) if isinstance(value, dict) else value
