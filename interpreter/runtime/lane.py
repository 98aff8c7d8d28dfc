"""The calls of a loop's body in turn, with one bound plan.

What a run does beside its calls (looking up the plan, loading what doesn't change, counting memory)
is done once, at the beginning: an iteration copies its inputs in, makes the calls and copies the
outputs out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import Budget, current_budget
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.runtime.bound import Bound


class Lane:
    """Takes a bound plan, which no other run may use before ``end``."""

    def __init__(
        self,
        bound: Bound,
        places: Sequence[tuple[np.ndarray, np.ndarray | None]],
        results: Sequence[np.ndarray],
        carried: int,
        budget: Budget | None,
    ) -> None:
        self.bound = bound
        self._results, self._budget = results, budget
        self._places = [place for place, same in places if same is None]
        self._same = [(place, same) for place, same in places if same is not None]
        self._kinds = [(place.shape, place.dtype) for place in self._places]
        #: bytes that stay after an iteration; those of the others are counted once
        self._growth = sum(x.nbytes for x in results[carried:])
        self._taken = 2 * sum(x.nbytes for x in results[:carried])
        if budget is not None:
            budget.take(self._taken)

    @staticmethod
    def begin(bound: Bound, arguments: Sequence[Any], changing: int, carried: int) -> Lane | None:
        """A lane for calls of which only the first ``changing`` arguments change, whose first
        ``carried`` outputs only the next call reads. ``None`` if this plan has none, since it uses
        them in the caller's memory, or if time is limited. Raises LimitError."""
        budget = current_budget()
        if budget is not None and budget.is_timed:
            return None
        arrays = bound.hold(arguments, changing)
        return None if arrays is None else Lane(bound, *arrays, carried, budget)

    def run(self, arguments: Sequence[Any]) -> tuple[np.ndarray, ...] | None:
        """The outputs, owned by the caller; ``None`` for arguments of other types, and if a call
        fails. Raises LimitError."""
        for x, (shape, dtype) in zip(arguments, self._kinds, strict=True):
            if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype:
                return None
        if self._budget is not None:
            self._budget.take(self._growth)
            self._taken += self._growth
        for place, x in zip(self._places, arguments, strict=True):
            np.copyto(place, x)
        for place, x in self._same:
            np.copyto(place, x)
        try:
            for function, operands in self.bound.calls:
                function(*operands)
        except LimitError as error:
            if error.of_memory:
                return None
            raise
        except Exception:  # a walk has the message, or succeeds
            return None
        return tuple([x.copy() for x in self._results])

    def end(self) -> None:
        """Give back the plan, and the memory that was counted."""
        self.bound.release()
        if self._budget is not None:
            self._budget.give(self._taken)
