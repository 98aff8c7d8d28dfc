"""Memory that a bound plan works on in one run only: large inputs and outputs are not copied.

The calls of a bound plan name the very arrays they work on. An input is the caller's array, another
one in every run, and an output becomes the caller's. To copy them from and to memory of the plan's
own costs as much as an elementwise operator, so calls that touch them are pointed at the new arrays
before each run instead. That takes calls that hide nothing: functions whose operands are all there
is to them, as NumPy's own. Steps with other calls keep the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.budget import tick
from onnxwalk.ops.contract.space import Space

Call = tuple[Callable[..., Any], tuple[Any, ...]]
Patch = Callable[[Sequence[np.ndarray]], Any]

#: what is copied while a view is made: an array with more views than that is rather copied
BYTES_PER_VIEW = 1 << 14
_DISPATCHER = type(np.copyto)


class Region:
    """The memory of an array, and which arrays lie in it."""

    __slots__ = ("start", "stop")

    def __init__(self, array: np.ndarray) -> None:
        self.start, self.stop = np.lib.array_utils.byte_bounds(array)

    def touches(self, value: Any) -> bool:
        return (
            isinstance(value, np.ndarray)
            and value.size > 0
            and self.start <= value.__array_interface__["data"][0] < self.stop
        )


class View(NamedTuple):
    """Where an array lies in one of several memories that are to be replaced."""

    memory: int
    whole: bool  # it is the very array that is replaced
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    strides: tuple[int, ...]

    def on(self, memories: Sequence[np.ndarray]) -> np.ndarray:
        memory = memories[self.memory]
        if self.whole:
            return memory
        return np.ndarray(self.shape, self.dtype, memory, self.offset, self.strides)


class Borrowed:
    """The calls to point at other arrays in the place of these.

    ``arrays`` must be C-contiguous, and the calls that touch them open (``is_open``).
    """

    def __init__(
        self, arrays: Sequence[np.ndarray], calls: Sequence[Call], places: Iterable[int]
    ) -> None:
        """``places``: which calls to look at; no others touch the arrays."""
        self._arrays = [(Region(array), array.shape, array.strides) for array in arrays]
        #: for each array how many views have to be made in a run
        self.views = [0] * len(arrays)
        self._patches = []
        for place in places:
            tick()
            if (patch := self._patch(*calls[place])) is not None:
                self._patches.append((place, patch))

    def point(self, calls: list[Any], memories: Sequence[np.ndarray]) -> None:
        """Have the calls work on other arrays: C-contiguous, of the same shapes and types."""
        for index, patch in self._patches:
            calls[index] = patch(memories)

    def forget(self, calls: list[Any]) -> None:
        """Let the memory go: the calls can't be made until they are pointed at other arrays."""
        for index, _ in self._patches:
            calls[index] = None

    def _patch(self, function: Callable[..., Any], operands: tuple[Any, ...]) -> Patch | None:
        """What makes a call anew for other memory; ``None`` if it touches none of it."""
        make = self._function(function)
        found = [self._place(x) for x in operands]
        if make is None and not _any_view(found):
            return None

        def patched(memories: Sequence[np.ndarray]) -> Call:
            return (
                function if make is None else make(memories),
                tuple([x.on(memories) if type(x) is View else x for x in found]),
            )

        return patched

    def _function(self, function: Callable[..., Any]) -> Patch | None:
        """For a function that itself holds an array: what makes it anew."""
        if isinstance(function, partial):
            inner = function.func
            held = {name: self._place(x) for name, x in function.keywords.items()}
            if not _any_view(held.values()):
                return None
            return lambda memories: partial(
                inner,
                **{name: x.on(memories) if type(x) is View else x for name, x in held.items()},
            )
        owner = self._place(getattr(function, "__self__", None))
        if type(owner) is not View:
            return None
        name = function.__name__
        return lambda memories: getattr(owner.on(memories), name)

    def _place(self, x: Any) -> Any:
        """Where an array lies in the memories; whatever else it is, as it is."""
        for memory, (region, shape, strides) in enumerate(self._arrays):
            if region.touches(x):
                offset = x.__array_interface__["data"][0] - region.start
                whole = offset == 0 and x.shape == shape and x.strides == strides
                self.views[memory] += not whole
                return View(memory, whole, x.shape, x.dtype, offset, x.strides)
        return x


def _any_view(values: Iterable[Any]) -> bool:
    return any(type(x) is View for x in values)


def borrow(
    arrays: Mapping[int, np.ndarray], calls: Sequence[Call], places: Sequence[int]
) -> tuple[dict[int, int], Borrowed]:
    """Of these arrays by slot those that are worth borrowing: their slots, each with its place in
    what ``Borrowed.point`` takes. ``places``: which calls to look at."""
    all_of_them = Borrowed(list(arrays.values()), calls, places)
    slots = [
        slot
        for (slot, array), views in zip(arrays.items(), all_of_them.views, strict=True)
        if views * BYTES_PER_VIEW <= array.nbytes
    ]
    kept = [arrays[slot] for slot in slots]
    borrowed = all_of_them if len(kept) == len(arrays) else Borrowed(kept, calls, places)
    return {slot: place for place, slot in enumerate(slots)}, borrowed


def can_be_borrowed(x: Any) -> bool:
    """Whether a run may work on an input where the caller has it."""
    return (
        isinstance(x, np.ndarray)
        and x.nbytes >= Space.zero_copy_bytes
        and x.flags.c_contiguous
        and x.flags.aligned
        and x.dtype.kind in "biuf"
        and x.dtype.isnative
    )


def is_open(call: Call) -> bool:
    """Whether the arrays that a call touches are all among its operands: so it is for NumPy's own
    functions, with ``partial`` around them or as an array's own, and for Python's without a
    closure; not for what has a state."""
    function, operands = call
    if isinstance(function, partial):
        if function.args:
            return False
        function = function.func
    if isinstance(function, FunctionType):
        stateless = function.__closure__ is None
    else:
        stateless = isinstance(function, np.ufunc | BuiltinFunctionType | _DISPATCHER)
    return stateless and not any(
        isinstance(x, list)
        or (isinstance(x, tuple) and any(isinstance(part, np.ndarray) for part in x))
        for x in operands
    )
