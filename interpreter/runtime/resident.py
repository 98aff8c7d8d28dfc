"""Runs that read some inputs where they lie: weights that are trained.

The arrays stay the same from run to run while their contents change, so that a step of training
neither copies the weights nor binds its plan again. Results are left in the plan's memory.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import Budget, stop_request, use_budget
from onnxwalk.interpreter.errors import LimitError, RunStopped
from onnxwalk.interpreter.ir.plan import Plan, Step
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime import fallback
from onnxwalk.interpreter.runtime.bind import Changing, ShapeChanged
from onnxwalk.interpreter.runtime.bound import Bound, rehearse
from onnxwalk.interpreter.runtime.walk import execute, walk
from onnxwalk.ops.contract.packing import Packing
from onnxwalk.ops.shared.numpy_state import computing

#: for how many shapes of the arguments a bound plan is kept
_MOST_SHAPES = 4


class ResidentPlan:
    """The runs of one plan, one at a time."""

    def __init__(
        self,
        plan: Plan,
        resident: Mapping[int, np.ndarray],
        *,
        executor: str,
        limits: Limits | None,
        rng: np.random.Generator,
    ) -> None:
        """``resident``: by slot, the arrays of the inputs that aren't arguments of a run. ``rng``:
        what the plan draws from."""
        self._rng = rng
        self._plan, self._resident = plan, resident
        self._is_bound, self._limits = executor == "bound", limits
        self._kept: dict[Hashable, Bound] = {}
        self._changing: Changing = frozenset()

    @property
    def nbytes(self) -> int:
        """The memory of the bound plans that are kept."""
        return sum(bound.nbytes for bound in self._kept.values())

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """The outputs for the inputs that aren't resident. They may be in memory of the plan: they
        are valid until the next run. Raises as ``Session.run``."""
        try:
            results = self._results(arguments)
        except BaseException:
            fallback.forget()
            raise
        if fallback.noted:
            fallback.report("training")
        return results

    def _results(self, arguments: Sequence[Any]) -> list[Any]:
        key = _types_of(arguments) if self._is_bound else None
        bound = None if key is None else self._kept.get(key)
        with computing():
            if bound is not None:
                with use_budget(self._budget(arguments) if self._is_watched(bound) else None):
                    if self._run(bound, arguments):
                        return self._outputs(bound)
                del self._kept[key]
            with use_budget(self._budget(arguments)):
                if key is not None and (bound := self._bind(arguments)) is not None:
                    self._kept[key] = bound
                    while len(self._kept) > _MOST_SHAPES:
                        del self._kept[next(iter(self._kept))]
                    return self._outputs(bound)
                return execute(self._plan, self._all(arguments))

    def walk(self, arguments: Sequence[Any]) -> Iterator[tuple[Step, list[Any], Sequence[Any]]]:
        """The same run step by step, each with its inputs and outputs."""
        with computing():
            yield from walk(self._plan, self._all(arguments))

    def _all(self, arguments: Sequence[Any]) -> list[Any]:
        given = iter(arguments)
        resident = self._resident
        return [resident[s] if s in resident else next(given) for s in self._plan.inputs]

    def _run(self, bound: Bound, arguments: Sequence[Any]) -> bool:
        """Whether the run succeeds; if not, a walk may, or has the better message."""
        try:
            bound.run(arguments)
        except ShapeChanged as change:
            self._changing |= {change.result}
        except RunStopped:
            raise
        except LimitError as error:
            if not error.of_memory:
                raise
        except Exception as error:
            fallback.note(error)
            return False
        else:
            return True
        return False

    def _bind(self, arguments: Sequence[Any]) -> Bound | None:
        packing = self._rehearse(arguments)
        try:
            return Bound(
                self._plan, arguments, self._changing, resident=self._resident, packing=packing
            )
        except RunStopped:
            raise
        except Exception as error:  # a walk has the message, or succeeds
            fallback.note(error)
            return None

    def _rehearse(self, arguments: Sequence[Any]) -> Packing | None:
        state = copy.deepcopy(self._rng.bit_generator.state)
        try:
            with use_budget(self._budget(arguments)):
                return rehearse(self._plan, arguments, self._changing, self._resident)
        finally:
            self._rng.bit_generator.state = state

    def _outputs(self, bound: Bound) -> list[Any]:
        results = [bound.values[slot] for slot in self._plan.outputs]
        bound.release()
        return results

    def _is_watched(self, bound: Bound) -> bool:
        limits = self._limits
        return limits is not None and (
            bound.is_guarded or limits.max_seconds is not None or stop_request() is not None
        )

    def _budget(self, arguments: Sequence[Any]) -> Budget | None:
        if self._limits is None:
            return None
        foreign = [*arguments, *self._resident.values()]
        for bound in self._kept.values():
            foreign += bound.space.memory
        return Budget(self._limits, foreign=foreign, held=self.nbytes)


def _types_of(arguments: Sequence[Any]) -> Hashable | None:
    """The key of a bound plan; ``None`` for values other than arrays of numbers."""
    if any(type(x) is not np.ndarray or x.dtype.hasobject for x in arguments):
        return None
    return tuple((x.shape, x.dtype) for x in arguments)
