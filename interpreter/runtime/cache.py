"""The bound plans that a session keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import Budget, current_budget, stop_request, use_budget
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.batch_axis import sample_axes
from onnxwalk.interpreter.runtime.bind import ShapeChanged
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.interpreter.runtime.walk import execute
from onnxwalk.ops.shared.numpy_state import computing

#: the most that a session keeps for other shapes than those of the last run: bytes, and shapes
_MOST_IDLE, _MOST_SHAPES = 1 << 26, 64


class BoundPlans:
    """The bound plans of a session that no run is using, by the signature of their feeds."""

    def __init__(self, limits: Limits | None = None) -> None:
        """``limits``: of each ``run``; ``call`` and ``bind`` use the current budget."""
        self._limits = limits
        self._idle: dict[Hashable, list[Bound]] = {}
        self._changing: dict[int, frozenset[int]] = {}
        self._axes: dict[Hashable, list[int] | None] = {}
        self._seen: set[Hashable] = set()

    def run(self, key: Hashable, feeds: Mapping[str, Any]) -> list[Any] | None:
        """The outputs, owned by the caller, of a plan that was bound for feeds of this signature;
        ``None`` if there is none, or if it fails: a walk may succeed, or has the better message."""
        try:
            bound = self._idle[key].pop()
        except (KeyError, IndexError):
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

    def call(self, plan: Plan, arguments: Sequence[Any]) -> list[Any]:
        """A subgraph's outputs. A loop may call it with new shapes each time, so it is bound when
        shapes occur for the second time."""
        key = tuple(
            (x.shape, x.dtype) if type(x) is np.ndarray and not x.dtype.hasobject else None
            for x in arguments
        )
        if None not in key:
            try:
                bound = self._idle[key].pop()
            except (KeyError, IndexError):
                if key in self._seen:
                    with contextlib.suppress(Exception):  # the walk below has the message
                        return self.bind(key, plan, (), arguments)
                self._seen.add(key)
            else:
                results = self._run(key, bound, arguments)
                if results is not None:
                    return results
        return execute(plan, arguments)

    def _run(self, key: Hashable, bound: Bound, arguments: Sequence[Any]) -> list[Any] | None:
        """The outputs; ``None`` if the plan fails."""
        try:
            bound.run(arguments)
            results = bound.outputs()
        except ShapeChanged as change:
            known = self._changing.get(id(bound.plan), frozenset())
            self._changing[id(bound.plan)] = known | {change.step}
            return None
        except LimitError as error:
            if error.of_memory:  # of which the plan itself holds much
                return None
            raise
        except Exception:
            return None
        self._idle.setdefault(key, []).append(bound)
        return results

    def bind(
        self, key: Hashable, plan: Plan, names: Sequence[str], arguments: Sequence[Any]
    ) -> list[Any]:
        """The outputs, owned by the caller, of a plan that is bound now, and kept for feeds of this
        signature. Raises the errors of operators."""
        if (budget := current_budget()) is not None and budget.is_large(self.nbytes):
            budget.give(self.nbytes)
            self.clear()
        bound = Bound(plan, arguments, self._changing.get(id(plan), frozenset()))
        bound.names = tuple(names)
        try:
            results = bound.outputs()
        except LimitError:
            if budget is not None:
                budget.give(bound.nbytes)
            raise
        # The newest shapes come last. It must remain the same list: from a copy, another thread
        # could take a plan that is in use already.
        idle = self._idle.pop(key, [])
        idle.append(bound)
        self._idle[key] = idle
        self._forget(key)
        return results

    def sample_axes(self, key: Hashable) -> list[int] | None:
        """The batch axis of each output if samples are independent; ``None`` if they aren't, or if
        no plan is bound for this signature yet."""
        if key not in self._axes:
            try:
                bound = self._idle[key][-1]
            except (KeyError, IndexError):  # other threads may take it at any moment
                return None
            self._axes[key] = sample_axes(bound)
        return self._axes[key]

    def _forget(self, key: Hashable) -> None:
        """Drop plans for other shapes if they hold much memory."""
        held = self.nbytes
        for other in list(self._idle):
            if (held <= _MOST_IDLE and len(self._idle) <= _MOST_SHAPES) or other == key:
                break
            held -= sum(b.nbytes for b in self._idle.pop(other, ()))


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
