"""The bound plans that a session keeps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from onnxwalk.interpreter.budget import Budget, current_budget, stop_request, use_budget
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime import fallback
from onnxwalk.interpreter.runtime.batch_axis import axes_to_split
from onnxwalk.interpreter.runtime.bind import Changing, ShapeChanged, Shapes
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.interpreter.runtime.lane import Lane
from onnxwalk.interpreter.runtime.walk import execute
from onnxwalk.ops.shared.numpy_state import computing

#: the most that a session keeps for other shapes than those of the last run: bytes, and shapes
_MOST_IDLE, _MOST_SHAPES = 1 << 26, 64
#: the most shapes of which something is remembered: plans that are useless, shapes seen once, axes
_MOST_REMEMBERED = 1000


#: the shape, dtype and rank of an input; in an open plan, the shape is ``None`` if it changes
Input: TypeAlias = "tuple[tuple[int, ...] | None, Any, int]"


class OpenKey(NamedTuple):
    """The signature of an open plan: the ``id`` of its plan, and its inputs."""

    plan: int
    inputs: tuple[Input, ...]


class BoundPlans:
    """The bound plans of a session that no run is using, by the signature of their feeds."""

    def __init__(self, limits: Limits | None = None) -> None:
        """``limits``: of each ``run``; ``call`` and ``bind`` use the current budget."""
        self._limits = limits
        self._idle: dict[Hashable, list[Bound]] = {}
        self._changing: dict[int, Changing] = {}
        #: by the ``id`` of a plan: its inputs in the newest run that found no plan for its shapes;
        #: the shapes of all its values when it was last bound
        self._inputs: dict[int, list[Input]] = {}
        self._shapes: dict[int, Shapes] = {}
        self._useless: set[OpenKey] = set()  # open plans with little that is bound once
        self._axes: dict[Hashable, list[int] | None] = {}
        self._seen: set[Hashable] = set()

    def run(self, key: Hashable, feeds: Mapping[str, Any]) -> list[Any] | None:
        """The outputs, owned by the caller, of a plan that was bound for feeds of this signature;
        ``None`` if there is none, or if it fails: a walk may succeed, or has the better message."""
        bound = self._take(key)
        if bound is None:
            return None
        arguments = [feeds[name] for name in bound.names]
        limits = self._limits
        if limits is None or not (
            bound.is_guarded or limits.max_seconds is not None or stop_request() is not None
        ):
            with computing():
                return self._run(key, bound, arguments)
        foreign = [*arguments, *bound.space.memory]
        budget = Budget(limits, foreign=foreign, held=self.nbytes + bound.nbytes)
        with computing(), use_budget(budget):
            return self._run(key, bound, arguments)

    @property
    def nbytes(self) -> int:
        """The memory of all idle plans."""
        return sum(b.nbytes for bounds in list(self._idle.values()) for b in list(bounds))

    def clear(self) -> None:
        """Forget all plans."""
        self._idle.clear()

    def call(self, plan: Plan, arguments: Sequence[Any], grows: bool = False) -> list[Any]:
        """A subgraph's outputs. A loop may call it with new shapes each time, so it is bound when
        shapes occur for the second time; if it ``grows``, an open plan serves it from the third
        call on."""
        key = _types_of(arguments)
        if key is not None:
            bound = self._take(key)
            if bound is None:
                if grows or key in self._seen:
                    bind = self.run_new if grows else self.bind
                    try:
                        return bind(key, plan, (), arguments)
                    except Exception as error:  # the walk below has the message
                        fallback.note(error)
                if len(self._seen) >= _MOST_REMEMBERED:
                    self._seen.clear()
                self._seen.add(key)
            else:
                results = self._run(key, bound, arguments)
                if results is not None:
                    return results
        return execute(plan, arguments)

    def begin_lane(self, arguments: Sequence[Any], changing: int, carried: int) -> Lane | None:
        """A lane for calls like this one, see ``Lane.begin``; ``None`` if there is no plan for
        it."""
        key = _types_of(arguments)
        bound = None if key is None else self._take(key)
        if bound is None:
            return None
        lane = Lane.begin(bound, arguments, changing, carried)
        if lane is None:
            self._idle.setdefault(key, []).append(bound)
        return lane

    def end_lane(self, lane: Lane, arguments: Sequence[Any]) -> None:
        """Take back the plan of a lane that was begun with such arguments."""
        lane.end()
        self._idle.setdefault(_types_of(arguments), []).append(lane.bound)

    def _run(self, key: Hashable, bound: Bound, arguments: Sequence[Any]) -> list[Any] | None:
        """The outputs; ``None`` if the plan fails."""
        try:
            bound.run(arguments)
            results = bound.outputs()
        except ShapeChanged as change:
            known = self._changing.get(id(bound.plan), frozenset())
            self._changing[id(bound.plan)] = known | {change.result}
            return None
        except LimitError as error:
            if error.of_memory:  # of which the plan itself holds much
                return None
            raise
        except Exception as error:
            fallback.note(error)
            return None
        self._idle.setdefault(key, []).append(bound)
        return results

    def run_new(
        self, key: Hashable, plan: Plan, names: Sequence[str], arguments: Sequence[Any]
    ) -> list[Any]:
        """The outputs, owned by the caller, for feeds of a signature that no plan is bound for.

        Inputs that have another shape than in the run before may have yet another one in the next:
        an open plan serves them all, unless most of its steps depend on them. Raises the errors of
        operators.
        """
        inputs: list[Input] = [(x.shape, x.dtype, x.ndim) for x in arguments]
        before, self._inputs[id(plan)] = self._inputs.get(id(plan)), inputs
        shapes = self._shapes.get(id(plan))
        if before is None or shapes is None or before == inputs:
            return self.bind(key, plan, names, arguments)
        if [x[1:] for x in before] != [x[1:] for x in inputs]:
            return self.bind(key, plan, names, arguments)
        open_key = OpenKey(
            id(plan),
            tuple(
                now if now == old else (None, *now[1:])
                for now, old in zip(inputs, before, strict=True)
            ),
        )
        if open_key in self._useless:
            return self.bind(key, plan, names, arguments)
        bound = self._take(open_key)
        results = None if bound is None else self._run(open_key, bound, arguments)
        if results is not None:
            return results
        # The shapes may be those of another thread's run: then other inputs have changed since.
        for slot, (shape, *_), (now, *_) in zip(plan.inputs, open_key.inputs, inputs, strict=True):
            if (shape is None) == (now == shapes[slot]):
                return self.bind(key, plan, names, arguments)
        return self.bind(open_key, plan, names, arguments, shapes)

    def _take(self, key: Hashable) -> Bound | None:
        try:
            return self._idle[key].pop()
        except (KeyError, IndexError):
            return None

    def bind(
        self,
        key: Hashable,
        plan: Plan,
        names: Sequence[str],
        arguments: Sequence[Any],
        before: Shapes | None = None,
    ) -> list[Any]:
        """The outputs, owned by the caller, of a plan that is bound now, and kept for feeds of this
        signature; of an open plan if there are shapes from ``before``. Raises the errors of
        operators."""
        if (budget := current_budget()) is not None and budget.is_large(self.nbytes):
            budget.give(self.nbytes)
            self.clear()
        bound = Bound(plan, arguments, self._changing.get(id(plan), frozenset()), before)
        bound.names = tuple(names)
        self._shapes[id(plan)] = bound.shapes
        try:
            results = bound.outputs()
        except LimitError:
            if budget is not None:
                budget.give(bound.nbytes)
            raise
        if before is not None and not bound.is_mostly_bound and isinstance(key, OpenKey):
            if len(self._useless) >= _MOST_REMEMBERED:
                self._useless.clear()
            self._useless.add(key)
            return results
        # The newest shapes come last. It must remain the same list: from a copy, another thread
        # could take a plan that is in use already.
        idle = self._idle.pop(key, [])
        idle.append(bound)
        self._idle[key] = idle
        self._forget(key)
        return results

    def axes_to_split(self, key: Hashable) -> list[int] | None:
        """The batch axis of each output if it pays to split the batch; ``None`` if samples aren't
        independent, or if no plan is bound for this signature yet."""
        if key not in self._axes:
            try:
                bound = self._idle[key][-1]
            except (KeyError, IndexError):  # other threads may take it at any moment
                return None
            if len(self._axes) >= _MOST_REMEMBERED:
                self._axes = {}  # another thread may read the old one
            self._axes[key] = axes = axes_to_split(bound)
            return axes
        return self._axes.get(key)

    def _forget(self, key: Hashable) -> None:
        """Drop plans for other shapes if they hold much memory."""
        held = self.nbytes
        for other in list(self._idle):
            if (held <= _MOST_IDLE and len(self._idle) <= _MOST_SHAPES) or other == key:
                break
            held -= sum(b.nbytes for b in self._idle.pop(other, ()))


def _types_of(arguments: Sequence[Any]) -> Hashable | None:
    """The key of the bound plan of a subgraph; ``None`` for values other than arrays of numbers."""
    key = tuple(
        (x.shape, x.dtype) if type(x) is np.ndarray and not x.dtype.hasobject else None
        for x in arguments
    )
    return None if None in key else key


def signature(output_names: Sequence[str] | None, feeds: Any) -> Hashable | None:
    """The key of a bound plan: the outputs, and the name, shape and dtype of each feed. ``None``
    for feeds that aren't all arrays of numbers."""
    if not isinstance(feeds, dict) or not isinstance(output_names, list | tuple | None):
        return None
    parts: list[Any] = [None if output_names is None else tuple(output_names)]
    for name, value in feeds.items():
        if type(value) is not np.ndarray or value.dtype.kind not in "fiubcV":
            return None
        parts += (name, value.shape, value.dtype)
    try:
        hash(key := tuple(parts))
    except TypeError:
        return None
    return key
