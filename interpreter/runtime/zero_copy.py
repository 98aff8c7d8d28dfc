"""Zero-copy: large inputs and outputs stay in the caller's memory.

The calls of a bound plan refer to arrays. An input is an array of the caller's, a new one in every
run, and an output becomes one. Copying them from and to the plan's memory costs as much as an
elementwise operator, so the calls that use them are redirected to the new arrays before each run.
That works for calls without hidden state: functions of their operands alone, as NumPy's own. Steps
with other calls use a copy.
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

#: the bytes that can be copied in the time of creating a view; arrays with more views are copied
BYTES_PER_VIEW = 1 << 14
_DISPATCHER = type(np.copyto)


class Region:
    """The address range of an array."""

    __slots__ = ("start", "stop")

    def __init__(self, array: np.ndarray) -> None:
        self.start, self.stop = np.lib.array_utils.byte_bounds(array)

    def touches(self, value: Any) -> bool:
        """Whether the value is an array in this memory."""
        return (
            isinstance(value, np.ndarray)
            and value.size > 0
            and self.start <= value.__array_interface__["data"][0] < self.stop
        )


class View(NamedTuple):
    """The place of an array in one of several memories that will be replaced."""

    memory: int
    is_same: bool  # it is the very array that is replaced
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    strides: tuple[int, ...]

    def on(self, memories: Sequence[np.ndarray]) -> np.ndarray:
        memory = memories[self.memory]
        if self.is_same:
            return memory
        return np.ndarray(self.shape, self.dtype, memory, self.offset, self.strides)


class CallPatches:
    """Redirects the calls that use some arrays to other arrays.

    ``arrays`` must be C-contiguous, and the calls that use them open (``is_open``).
    """

    def __init__(
        self, arrays: Sequence[np.ndarray], calls: Sequence[Call], places: Iterable[int]
    ) -> None:
        """``places``: the indices of the calls that may use the arrays."""
        self._arrays = [(Region(array), array.shape, array.strides) for array in arrays]
        #: the number of views of each array that a run has to create
        self.views = [0] * len(arrays)
        self._patches = []
        for place in places:
            tick()
            if (patch := self._patch(*calls[place])) is not None:
                self._patches.append((place, patch))

    def point(self, calls: list[Any], memories: Sequence[np.ndarray]) -> None:
        """Redirect the calls to other arrays: C-contiguous, of the same shapes and types."""
        for index, patch in self._patches:
            calls[index] = patch(memories)

    def forget(self, calls: list[Any]) -> None:
        """Release the memory; the calls can't be made before the next ``point``."""
        for index, _ in self._patches:
            calls[index] = None

    def _patch(self, function: Callable[..., Any], operands: tuple[Any, ...]) -> Patch | None:
        """A function that creates the call for other memory; ``None`` if it uses none of it."""
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
        """For a function that itself holds an array: a function that creates it again."""
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
        """The View of an array in the memories; anything else unchanged."""
        for memory, (region, shape, strides) in enumerate(self._arrays):
            if region.touches(x):
                offset = x.__array_interface__["data"][0] - region.start
                is_same = offset == 0 and x.shape == shape and x.strides == strides
                self.views[memory] += not is_same
                return View(memory, is_same, x.shape, x.dtype, offset, x.strides)
        return x


def _any_view(values: Iterable[Any]) -> bool:
    return any(type(x) is View for x in values)


def borrow(
    arrays: Mapping[int, np.ndarray], calls: Sequence[Call], places: Sequence[int]
) -> tuple[dict[int, int], CallPatches]:
    """The slots of the arrays that are worth borrowing, each with its index in the ``memories`` of
    ``CallPatches.point``. ``places``: the indices of the calls that may use them."""
    all_patches = CallPatches(list(arrays.values()), calls, places)
    slots = [
        slot
        for (slot, array), views in zip(arrays.items(), all_patches.views, strict=True)
        if views * BYTES_PER_VIEW <= array.nbytes
    ]
    kept = [arrays[slot] for slot in slots]
    patches = all_patches if len(kept) == len(arrays) else CallPatches(kept, calls, places)
    return {slot: place for place, slot in enumerate(slots)}, patches


def can_be_borrowed(x: Any) -> bool:
    """Whether a run can use an input in the caller's memory."""
    return (
        isinstance(x, np.ndarray)
        and x.nbytes >= Space.zero_copy_bytes
        and x.flags.c_contiguous
        and x.flags.aligned
        and x.dtype.kind in "biuf"
        and x.dtype.isnative
    )


def is_open(call: Call) -> bool:
    """Whether all arrays that a call uses are among its operands. This holds for NumPy's functions,
    also in a ``partial`` or as methods of arrays, and for Python functions without a closure; not
    for objects with state."""
    function, operands = call
    if isinstance(function, partial):
        if function.args:
            return False
        function = function.func
    if isinstance(function, FunctionType):
        stateless = function.__closure__ is None
    else:
        stateless = isinstance(function, np.ufunc | BuiltinFunctionType | _DISPATCHER)
    if not stateless:
        return False
    for x in operands:
        if isinstance(x, list):
            return False
        if isinstance(x, tuple) and any(isinstance(part, np.ndarray) for part in x):
            return False
    return True
