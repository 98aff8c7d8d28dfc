"""The iterations of a loop's body in turn, with one bound plan.

What a run does beside its calls (looking up the plan, loading what doesn't change, counting memory)
is done once, at the beginning, and the results of an iteration go straight to where the next one
reads them, and to the memory in which the elements of all iterations are stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import Budget, current_budget
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.runtime import fallback
from onnxwalk.interpreter.runtime.bound import Bound

#: the most iterations at a time, and the bytes of their elements
_MOST_AT_ONCE, _MOST_BYTES = 1024, 1 << 20

#: copies to make before or after an iteration: (to, from)
_Copies = list[tuple[np.ndarray, np.ndarray]]


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
        self._budget = budget
        self._places = [place for place, same in places if same is None]
        self._same = [(place, same) for place, same in places if same is not None]
        self._carried, self._elements = results[:carried], results[carried:]
        #: bytes of the elements of an iteration
        self._growth = sum(x.nbytes for x in self._elements)
        self._taken = 2 * sum(x.nbytes for x in self._carried)
        if budget is not None:
            budget.take(self._taken)

    @staticmethod
    def begin(bound: Bound, arguments: Sequence[Any], changing: int, carried: int) -> Lane | None:
        """A lane for runs of which only the first ``changing`` arguments change, whose first
        ``carried`` outputs only the next run reads. ``None`` if this plan has none, since it uses
        them in the caller's memory, or if time is limited. Raises LimitError."""
        budget = current_budget()
        if budget is not None and budget.is_timed:
            return None
        arrays = bound.hold(arguments, changing)
        return None if arrays is None else Lane(bound, *arrays, carried, budget)

    def run(
        self,
        number: int | None,
        states: Sequence[Any],
        rows: Sequence[Any],
        count: int,
        goes_on: bool,
    ) -> tuple[int, tuple[np.ndarray, ...], list[np.ndarray]] | None:
        """Up to ``count`` iterations: how many there were, the states after them, and each element
        stacked. The inputs of an iteration are its number, ``number`` for the first (``None``: no
        input), the states, and the next row of each of ``rows``; with ``goes_on`` the first state
        says whether there is another one. ``None`` for values of other types, and if a call fails:
        nothing has changed then. Raises LimitError."""
        first = number is not None
        of_states = self._places[first : first + len(states)]
        of_rows = self._places[first + len(states) :]
        given = [*states, *(x[0, ...] for x in rows)]
        if len(given) != len(self._places) - first or not all(
            map(_alike, given, self._places[first:])
        ):
            return None
        if not all(map(_alike, self._carried, of_states)):
            return None
        count = min(count, _MOST_AT_ONCE, max(1, _MOST_BYTES // max(1, self._growth)))
        if self._budget is not None:
            count = min(count, self._budget.iterations_left)
        if count < 1:
            return None
        if self._budget is not None:
            self._budget.take(self._growth * count)
            self._taken += self._growth * count
        stacks = [np.empty((count, *x.shape), x.dtype) for x in self._elements]
        for place, x in zip(of_states, states, strict=True):
            np.copyto(place, x)
        done = 0
        calls, feedback = self.bound.calls, _feedback(of_states, self._carried)
        counter = self._places[0] if number is not None else None
        scanned = list(zip(of_rows, rows, strict=True))
        kept = list(zip(stacks, self._elements, strict=True))
        condition: Callable[[], Any] | None = self._carried[0].item if goes_on else None
        try:
            for done in range(1, count + 1):
                if counter is not None and number is not None:
                    counter[...] = number + done - 1
                for place, x in scanned:
                    place[...] = x[done - 1]
                for place, x in self._same:
                    place[...] = x
                for function, operands in calls:
                    function(*operands)
                for stack, x in kept:
                    stack[done - 1] = x
                for place, x in feedback:
                    place[...] = x
                if condition is not None and not condition():
                    break
        except LimitError as error:
            if error.of_memory:
                return None
            raise
        except Exception as error:  # a walk has the message, or succeeds
            fallback.note(error)
            return None
        if self._budget is not None:
            self._budget.count_iterations(done)
        return done, tuple([x.copy() for x in of_states]), [stack[:done] for stack in stacks]

    def end(self) -> None:
        """Give back the plan, and the memory that was counted."""
        self.bound.release()
        if self._budget is not None:
            self._budget.give(self._taken)


def _alike(x: Any, place: np.ndarray) -> bool:
    return type(x) is np.ndarray and x.shape == place.shape and x.dtype == place.dtype


def _feedback(places: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> _Copies:
    """The copies from results to the places where the next iteration reads them, by way of other
    memory where a result lies in a place that is written first."""
    by_way: _Copies = []
    into: _Copies = []
    for k, (place, result) in enumerate(zip(places, results, strict=True)):
        if place is result:
            continue
        others = [*places[:k], *places[k + 1 :]]
        if any(np.may_share_memory(result, other) for other in others):
            kept = np.empty_like(result)
            by_way.append((kept, result))
            result = kept
        into.append((place, result))
    return [*by_way, *into]
