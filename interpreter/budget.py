"""What is left of the limits while a model is loaded, or while one run of it goes on.

A budget is at hand for whatever is called meanwhile (``current``), since subgraphs, loops, plans
that are bound and constants that are folded are far apart, but use up the same. Without limits
there is none.

Memory is counted by arrays: each that a step gives is counted until NumPy lets it go, wherever it
is kept (a list, a loop's state), and what a step will need at most (``ops.contract.cost``) must
fit into what is left before it is called.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.limits import Limits, in_bytes
from onnxwalk.ops.contract.cost import Cost, arrays_in, default_cost

if TYPE_CHECKING:
    from onnxwalk.interpreter.ir.plan import Step

#: bytes of an array's object, and of what keeps it
_OBJECT = 250
#: nanoseconds that it takes to count a string
_PER_STRING = 300
#: bytes of a limit that are left for Python itself: modules, frames, messages
_SPARE = 48 << 20
#: elements of up to three inputs from which on a step is asked what it needs: with fewer, nothing
#: that broadcasts gets large
_WORTH_ASKING = 256

_current: ContextVar[Budget | None] = ContextVar("budget", default=None)

#: the budget of what goes on, ``None`` without limits
current = _current.get


@contextlib.contextmanager
def within(budget: Budget | None) -> Iterator[None]:
    """What is called meanwhile uses up this budget."""
    before = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(before)


def tick() -> None:
    """Raise LimitError if the time is up."""
    budget = _current.get()
    if budget is not None:
        budget.tick()


class Budget:
    """What is left of some limits. ``foreign``: arrays whose memory was there before."""

    def __init__(
        self,
        limits: Limits,
        *,
        foreign: Iterable[Any] = (),
        held: int = 0,
        parts: int = 1,
        begun: float | None = None,
    ) -> None:
        """``held``: bytes that are in use already. ``parts``: how many share the memory. ``begun``:
        when the time began, on ``time.monotonic``, if not now."""
        self.limits = limits
        self._end: float | None = None
        if limits.max_seconds is not None:
            self._end = (time.monotonic() if begun is None else begun) + limits.max_seconds
        self._parts = parts
        self._spare = min((limits.max_memory or 0) // parts // 16, _SPARE)
        self._used = held
        #: the most bytes that were in use or asked for at once, and the nanoseconds of all steps
        self.peak = 0
        self.work = 0
        self._iterations = 0
        self._nodes = 0
        #: what arrays are counted, by the id of the one that owns the memory: bytes, and what
        #: keeps the id from being another's
        self._counted: dict[int, tuple[int, Any]] = {
            id(owner(x)): (0, x) for x in arrays_in(foreign)
        }

    # ---------------------------------------------------------------------------------- time

    @property
    def is_timed(self) -> bool:
        return self._end is not None

    def extend(self, seconds: float) -> None:
        """So much time more: it was somebody else's."""
        if self._end is not None:
            self._end += seconds

    def tick(self, work: int = 0) -> None:
        """Raise LimitError if the time is up, or isn't enough for so many nanoseconds."""
        if self._end is None:
            return
        left = self._end - time.monotonic()
        if left < 0:
            raise LimitError(f"the time is up: max_seconds is {self.limits.max_seconds:g}")
        if work * 1e-9 > left:
            raise LimitError(
                f"takes up to {work * 1e-9:.3g} s, {left:.2g} s are left: "
                f"max_seconds is {self.limits.max_seconds:g}"
            )

    # -------------------------------------------------------------------------------- memory

    def is_much(self, nbytes: int) -> bool:
        """Whether so much is better let go than kept for another time."""
        return self.limits.max_memory is not None and 4 * nbytes > self.limits.max_memory

    def take(self, nbytes: int) -> None:
        """Use memory that isn't given back. Raises LimitError before it is there."""
        self.reserve(nbytes)
        self._used += nbytes

    def fill(self, nbytes: int) -> None:
        """As ``take``, of memory that will be written to, which takes time as well."""
        self.tick(nbytes)
        self.take(nbytes)

    def give(self, nbytes: int) -> None:
        """Give back what was taken."""
        self._used -= nbytes

    def reserve(self, nbytes: int) -> None:
        """Raise LimitError unless so much memory is left."""
        self.peak = max(self.peak, self._used + nbytes)
        most = self.limits.max_memory
        if most is not None and self._used + nbytes > most // self._parts - self._spare:
            asked = f"needs up to {in_bytes(nbytes)}, " if nbytes else ""
            raise LimitError(
                f"{asked}{in_bytes(self._used)} are in use: max_memory is {in_bytes(most)}",
                of_memory=True,
            )

    def hopeless(self, nbytes: int) -> None:
        """Raise LimitError if so much memory isn't there even if nothing else is in use."""
        most = self.limits.max_memory
        if most is not None and nbytes > most // self._parts:
            raise LimitError(f"needs up to {in_bytes(nbytes)}: max_memory is {in_bytes(most)}")

    def hold(self, values: Iterable[Any]) -> None:
        """Count these arrays, and those in sequences, for as long as anything keeps them. Raises
        LimitError if that is too much."""
        for array in arrays_in(values):
            kept = owner(array)
            key = id(kept)
            if key in self._counted or not kept.flags.writeable:  # the caller's, or a constant
                continue
            nbytes = kept.nbytes + strings_in(array) + _OBJECT
            self._counted[key] = nbytes, weakref.ref(kept, partial(self._gone, key))
            self._used += nbytes
        self.reserve(0)

    def _gone(self, key: int, reference: object) -> None:
        nbytes, _ = self._counted.pop(key)
        self._used -= nbytes

    # --------------------------------------------------------------------------------- steps

    def before(self, step: Step, arguments: Sequence[Any]) -> None:
        """Raise LimitError if a step needs more than is left."""
        if self._end is not None:
            self.tick()
        cost = self.cost(step, arguments)
        if cost is not None:
            self.work += cost.work
            self.reserve(cost.memory)
            self.tick(cost.work)

    @staticmethod
    def cost(step: Step, arguments: Sequence[Any]) -> Cost | None:
        """What a step takes at most; ``None`` if that is next to nothing."""
        if step.cost is None and len(arguments) <= 3:
            sizes = [x.size if isinstance(x, np.ndarray) else 0 for x in arguments]
            if sum(sizes) <= _WORTH_ASKING and list not in map(type, arguments):
                return None
        memory, work = (step.cost or default_cost)(*arguments)
        if any(x.dtype.kind == "O" for x in arrays_in(arguments)):
            work += _PER_STRING * memory // 8  # their bytes will be counted
        return Cost(memory, work)

    def after(self, results: Sequence[Any]) -> None:
        """Count what a step gave. Raises LimitError for a tensor that is too large."""
        self.hold(results)
        largest, longest = self.limits.max_tensor_bytes, self.limits.max_string_bytes
        for array in arrays_in(results):
            if largest is not None and array.nbytes > largest:
                raise LimitError(
                    f"gives {in_bytes(array.nbytes)}: max_tensor_bytes is {in_bytes(largest)}"
                )
            if longest is not None and (total := strings_in(array)) > longest:
                raise LimitError(
                    f"gives strings of {in_bytes(total)}: max_string_bytes is {in_bytes(longest)}"
                )

    def iteration(self) -> None:
        """A body is run. Raises LimitError if that is once too often, or the time is up."""
        self.tick()
        self._iterations += 1
        most = self.limits.max_loop_iterations
        if most is not None and self._iterations > most:
            raise LimitError(f"more iterations than max_loop_iterations allows: {most:,}")

    # --------------------------------------------------------------------------------- graphs

    def node(self) -> None:
        """One node more. Raises LimitError if that is one too many."""
        self._nodes += 1
        most = self.limits.max_nodes
        if most is not None and self._nodes > most:
            raise LimitError(f"more nodes than max_nodes allows: {most:,}")
        if not self._nodes & 255:
            self.tick()

    def nesting(self, depth: int, what: str) -> None:
        """Raise LimitError if something nests too deep."""
        most = self.limits.max_nesting
        if most is not None and depth > most:
            raise LimitError(f"{what} nest deeper than max_nesting allows: {most}")


def copied(array: np.ndarray) -> np.ndarray:
    """A copy, for the caller to have. Raises LimitError before it is there: a view may stand for
    much more than it takes."""
    budget = _current.get()
    if budget is not None:
        try:
            budget.fill(array.nbytes)
        except LimitError as error:
            message = f"an output, {array.dtype} {array.shape}: {error}"
            raise LimitError(message, of_memory=error.of_memory) from None
    return array.copy()


def strings_in(array: np.ndarray) -> int:
    """The bytes of the strings in an array, which may have one of them many times."""
    if array.dtype.kind != "O":
        return 0
    once = [slice(None) if step else slice(1) for step in array.strides]
    place: tuple[Any, ...] = (*once, ...)  # or what is of rank 0 would be no array
    return sum(
        {id(text): len(text) for text in array[place].flat if isinstance(text, str)}.values()
    )


def owner(array: np.ndarray) -> Any:
    """The array that owns the memory which this one is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
