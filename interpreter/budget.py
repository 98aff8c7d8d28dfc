"""What is left of the limits during one load or one run of a model.

The budget is a context variable (``current_budget``), because distant parts of the code share it:
subgraphs, loops, binding, constant folding. Without limits it is ``None``.

Memory is counted by arrays: each output of a step counts until NumPy frees it, wherever it is kept
(a list, a loop's state). Before a step is called, its cost (``ops.contract.cost``) must fit into
what is left.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxwalk.interpreter.errors import LimitError, RunStopped
from onnxwalk.interpreter.limits import Limits, format_bytes
from onnxwalk.ops.contract.cost import Cost, arrays_in, default_cost

if TYPE_CHECKING:
    from onnxwalk.interpreter.ir.plan import Step

#: bytes of an array object and its entry in the budget
_OBJECT = 250
#: nanoseconds to count the bytes of a string
_PER_STRING = 300
#: bytes of a limit reserved for Python itself: modules, frames, messages
_SPARE = 48 << 20
#: steps with up to three inputs of fewer elements cost next to nothing, even if they broadcast
_WORTH_ASKING = 256

#: whether arrays are freed with their last reference; PyPy frees them when it collects
_FREES_AT_ONCE = sys.implementation.name == "cpython"
#: how often PyPy has to collect until an array that is no longer used, and what it holds, is gone
_COLLECTIONS = 4

_current: ContextVar[Budget | None] = ContextVar("budget", default=None)
_should_stop: ContextVar[Callable[[], bool] | None] = ContextVar("should_stop", default=None)

#: the budget in force; ``None`` without limits
current_budget = _current.get


@contextlib.contextmanager
def use_budget(budget: Budget | None) -> Iterator[None]:
    """Have everything inside of the ``with`` block use this budget."""
    before = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(before)


#: what says whether runs are to end; ``None`` if nothing does
stop_request = _should_stop.get


@contextlib.contextmanager
def stopping_when(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Have runs with limits, inside of the ``with`` block, ask this between steps, and raise
    RunStopped when it says so."""
    before = _should_stop.set(should_stop)
    try:
        yield
    finally:
        _should_stop.reset(before)


def tick() -> None:
    """Raise LimitError if the time limit is reached or the run is to end."""
    budget = _current.get()
    if budget is not None:
        budget.tick()


def take(nbytes: int) -> None:
    """Use memory that isn't given back. Raises LimitError if not so much is left."""
    budget = _current.get()
    if budget is not None:
        budget.take(nbytes)


class Budget:
    """What is left of some limits."""

    def __init__(
        self,
        limits: Limits,
        *,
        foreign: Iterable[Any] = (),
        held: int = 0,
        parts: int = 1,
        begun: float | None = None,
    ) -> None:
        """``foreign``: arrays that don't count, as the caller's feeds. ``held``: bytes in use
        already. ``parts``: how many budgets share the memory. ``begun``: the start on
        ``time.monotonic``, if not now."""
        self.limits = limits
        self._end: float | None = None
        if limits.max_seconds is not None:
            self._end = (time.monotonic() if begun is None else begun) + limits.max_seconds
        self._should_stop = stop_request()
        self._parts = parts
        self._spare = min((limits.max_memory or 0) // parts // 16, _SPARE)
        self._used = held
        #: the most bytes in use or requested at once, and the nanoseconds of all steps
        self.peak = 0
        self.work = 0
        self._iterations = 0
        self._nodes = 0
        #: the arrays that are counted, by the id of the memory's owner: bytes, and a reference that
        #: notices when the id becomes free
        self._counted: dict[int, tuple[int, Any]] = {
            id(memory_owner(x)): (0, x) for x in arrays_in(foreign)
        }

    # ---------------------------------------------------------------------------------- time

    @property
    def is_timed(self) -> bool:
        """Whether ``tick`` may raise."""
        return self._end is not None or self._should_stop is not None

    def extend(self, seconds: float) -> None:
        """Allow more time, for what the caller spent between two steps."""
        if self._end is not None:
            self._end += seconds

    def tick(self, work: int = 0) -> None:
        """Raise LimitError if fewer nanoseconds than ``work`` are left, or if the run is to end."""
        if self._should_stop is not None and self._should_stop():
            raise RunStopped
        if self._end is None:
            return
        left = self._end - time.monotonic()
        if left < 0:
            raise LimitError(f"time limit reached: max_seconds is {self.limits.max_seconds:g}")
        if work * 1e-9 > left:
            raise LimitError(
                f"may take {work * 1e-9:.3g} s, but {left:.2g} s are left: "
                f"max_seconds is {self.limits.max_seconds:g}"
            )

    # -------------------------------------------------------------------------------- memory

    def is_large(self, nbytes: int) -> bool:
        """Whether memory of this size should be freed rather than kept for later runs."""
        return self.limits.max_memory is not None and 4 * nbytes > self.limits.max_memory

    def take(self, nbytes: int) -> None:
        """Use memory until ``give``. Raises LimitError if not so much is left."""
        self.reserve(nbytes)
        self._used += nbytes

    def fill(self, nbytes: int) -> None:
        """As ``take``, for memory that will be written to, which costs time as well."""
        self.tick(nbytes)
        self.take(nbytes)

    def give(self, nbytes: int) -> None:
        """Give back memory."""
        self._used -= nbytes

    def reserve(self, nbytes: int) -> None:
        """Raise LimitError if not so much memory is left."""
        self.peak = max(self.peak, self._used + nbytes)
        most = self.limits.max_memory
        if most is None:
            return
        usable = most // self._parts - self._spare
        for _ in range(0 if _FREES_AT_ONCE else _COLLECTIONS):
            if self._used + nbytes > usable:
                gc.collect()
        if self._used + nbytes > usable:
            request = f"needs up to {format_bytes(nbytes)}, " if nbytes else ""
            used = f"{format_bytes(self._used)} in use, {format_bytes(self._spare)} kept for Python"
            raise LimitError(f"{request}{used}: max_memory is {format_bytes(most)}", of_memory=True)

    def check_possible(self, nbytes: int) -> None:
        """Raise LimitError if the limit is lower than that even with nothing else in use."""
        most = self.limits.max_memory
        if most is not None and nbytes > most // self._parts:
            raise LimitError(
                f"needs up to {format_bytes(nbytes)}: max_memory is {format_bytes(most)}"
            )

    def hold(self, values: Iterable[Any]) -> None:
        """Count these arrays, and those in sequences, until they are freed. Raises LimitError if
        they exceed the limit."""
        for array in arrays_in(values):
            owner = memory_owner(array)
            key = id(owner)
            if key in self._counted or not owner.flags.writeable:  # the caller's, or a constant
                continue
            nbytes = owner.nbytes + count_string_bytes(array) + _OBJECT
            self._counted[key] = nbytes, weakref.ref(owner, partial(self._forget, key))
            self._used += nbytes
        self.reserve(0)

    def _forget(self, key: int, reference: object) -> None:
        nbytes, _ = self._counted.pop(key)
        self._used -= nbytes

    # --------------------------------------------------------------------------------- steps

    def check_step(self, step: Step, arguments: Sequence[Any]) -> None:
        """Raise LimitError if the cost of a step is more than what is left."""
        if self.is_timed:
            self.tick()
        cost = self.step_cost(step, arguments)
        if cost is not None:
            self.work += cost.work
            self.reserve(cost.memory)
            self.tick(cost.work)

    @staticmethod
    def step_cost(step: Step, arguments: Sequence[Any]) -> Cost | None:
        """The cost of a step; ``None`` if it is next to nothing."""
        if step.cost is None and len(arguments) <= 3:
            sizes = [x.size if isinstance(x, np.ndarray) else 0 for x in arguments]
            if sum(sizes) <= _WORTH_ASKING and list not in map(type, arguments):
                return None
        memory, work = (step.cost or default_cost)(*arguments)
        if any(x.dtype.kind == "O" for x in arrays_in(arguments)):
            work += _PER_STRING * memory // 8  # their bytes will be counted
        return Cost(memory, work)

    def check_results(self, results: Sequence[Any]) -> None:
        """Count the outputs of a step. Raises LimitError for a tensor that is too large."""
        self.hold(results)
        self.check_sizes(results)
        longest = self.limits.max_string_bytes
        for array in arrays_in(results):
            if longest is not None and (total := count_string_bytes(array)) > longest:
                size, most = format_bytes(total), format_bytes(longest)
                raise LimitError(f"output with strings of {size}: max_string_bytes is {most}")

    def check_sizes(self, results: Sequence[Any]) -> None:
        """Raise LimitError for a tensor that is too large."""
        largest = self.limits.max_tensor_bytes
        if largest is None:
            return
        for array in arrays_in(results):
            if array.nbytes > largest:
                size = format_bytes(array.nbytes)
                raise LimitError(f"output of {size}: max_tensor_bytes is {format_bytes(largest)}")

    @property
    def iterations_left(self) -> int:
        """How many more runs of loops' bodies are allowed."""
        most = self.limits.max_loop_iterations
        return sys.maxsize if most is None else most - self._iterations

    def count_iterations(self, count: int = 1) -> None:
        """Count runs of a loop's body. Raises LimitError."""
        self.tick()
        self._iterations += count
        most = self.limits.max_loop_iterations
        if most is not None and self._iterations > most:
            raise LimitError(f"more iterations than max_loop_iterations allows: {most:,}")

    # --------------------------------------------------------------------------------- graphs

    def count_node(self) -> None:
        """Count a node. Raises LimitError."""
        self._nodes += 1
        most = self.limits.max_nodes
        if most is not None and self._nodes > most:
            raise LimitError(f"more nodes than max_nodes allows: {most:,}")
        if self._nodes % 256 == 0:
            self.tick()

    def check_nesting(self, depth: int, what: str) -> None:
        """Raise LimitError if something (``what``, for the message) is nested too deeply."""
        most = self.limits.max_nesting
        if most is not None and depth > most:
            raise LimitError(f"{what} nest deeper than max_nesting allows: {most}")


def memory_limit_for(nbytes: int) -> int:
    """The lowest ``max_memory`` under which so much can be used."""
    return nbytes + min(nbytes // 15 + 1, _SPARE)


def copy_output(array: np.ndarray) -> np.ndarray:
    """A copy of an output for the caller. Raises LimitError instead if it would be too large: a
    view may show much more than the memory behind it."""
    budget = _current.get()
    if budget is not None:
        try:
            budget.fill(array.nbytes)
        except LimitError as error:
            message = f"copy of output {array.dtype} {array.shape}: {error}"
            raise LimitError(message, of_memory=error.of_memory) from None
    return array.copy()


def count_string_bytes(array: np.ndarray) -> int:
    """The bytes of the distinct strings in an array."""
    if array.dtype.kind != "O":
        return 0
    once = [slice(None) if step else slice(1) for step in array.strides]
    index: tuple[Any, ...] = (*once, ...)  # with the ellipsis rank 0 remains an array
    strings = array[index].flat
    return sum({id(text): len(text) for text in strings if isinstance(text, str)}.values())


def memory_owner(array: np.ndarray) -> Any:
    """The array that owns the memory behind a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
