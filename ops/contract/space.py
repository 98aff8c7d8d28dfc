"""Where a bound operator finds memory, and where it writes down its calls.

Once the shapes of all inputs are known, an operator can be *bound*: given the very arrays that will
hold its inputs in every run, it says which NumPy calls to make on which arrays, and in which array
the result will then be. Views, blocks and scratch space are made once; a run only makes the calls.

``@operator.bind`` registers a function ``bind(space, *inputs, **attributes)`` that does so. It
returns the array (or the tuple of arrays) that holds the result, or ``None`` when it declines:
the plain operator is then called at every run. Everything it does to values must go through
``space.call``; what it works out from shapes and from ``known`` inputs it may do at once.

The arrays that a call touches are its operands, the keywords of a ``partial``, or the array whose
method it is. Large inputs and outputs that only such calls touch, and none of a closure or of an
object with a state, are not copied (``interpreter.runtime.zero_copy``).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

#: bind(space, *inputs, **attributes)
Bind: TypeAlias = Callable[..., "np.ndarray | tuple[np.ndarray, ...] | None"]

_ALIGNMENT = 64
_SMALLEST_CHUNK = 1 << 18
#: bytes of a call with the views that it works on, and after how many of them these are counted
_CALL_BYTES = 700
_CALLS_AT_ONCE = 256


class Block:
    """A piece of the arena, in use as long as ``users`` values live in it."""

    __slots__ = ("address", "memory", "users")

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.address = memory.ctypes.data
        self.users = 0


class Arena:
    """Memory that is handed out and taken back while a plan is bound; first fit, holes join."""

    def __init__(self, reserve: Callable[[int], None] | None = None) -> None:
        #: told of memory before it is taken, and may raise
        self.reserve = reserve
        self.chunks: list[np.ndarray] = []
        self._holes: list[list[tuple[int, int]]] = []  # of each chunk: (start, stop), sorted
        self._starts: list[int] = []  # of the blocks in use, sorted
        self._blocks: dict[int, tuple[Block, int]] = {}

    @property
    def nbytes(self) -> int:
        return sum(chunk.nbytes for chunk in self.chunks)

    def take(self, nbytes: int) -> Block:
        size = max(_ALIGNMENT, -(-nbytes // _ALIGNMENT) * _ALIGNMENT)
        found = None
        for number, holes in enumerate(self._holes):
            for start, stop in holes:
                if stop - start >= size and (found is None or stop - start < found[2] - found[1]):
                    found = number, start, stop
        if found is None:
            found = self._grow(size)
        number, start, stop = found
        holes = self._holes[number]
        holes.remove((start, stop))
        if start + size < stop:
            bisect.insort(holes, (start + size, stop))
        block = Block(self.chunks[number][start : start + size])
        bisect.insort(self._starts, block.address)
        self._blocks[block.address] = block, number
        return block

    def give(self, block: Block) -> None:
        _, number = self._blocks.pop(block.address)
        self._starts.remove(block.address)
        start = block.address - self.chunks[number].ctypes.data
        stop = start + block.memory.nbytes
        holes = self._holes[number]
        for hole in [h for h in holes if h[1] == start or h[0] == stop]:
            holes.remove(hole)
            start, stop = min(start, hole[0]), max(stop, hole[1])
        bisect.insort(holes, (start, stop))

    def block_of(self, array: np.ndarray) -> Block | None:
        """The block in which an array lives, ``None`` if it lives elsewhere."""
        address = array.__array_interface__["data"][0]
        position = bisect.bisect_right(self._starts, address) - 1
        if position < 0:
            return None
        block, _ = self._blocks[self._starts[position]]
        return block if address < block.address + block.memory.nbytes else None

    def holds(self, array: np.ndarray) -> bool:
        """Whether an array is in the arena, in use or not."""
        address = array.__array_interface__["data"][0]
        return any(0 <= address - chunk.ctypes.data < chunk.nbytes for chunk in self.chunks)

    def _grow(self, size: int) -> tuple[int, int, int]:
        # Pages that nothing touches cost nothing: as much again as there is keeps chunks few.
        length = max(size, _SMALLEST_CHUNK, min(self.nbytes, 1 << 26))
        if self.reserve is not None:
            self.reserve(length)
        chunk = np.empty(length + _ALIGNMENT, np.uint8)
        skipped = -chunk.ctypes.data % _ALIGNMENT
        self.chunks.append(chunk[skipped : skipped + length])
        self._holes.append([(0, length)])
        return len(self.chunks) - 1, 0, length


class Space:
    """Memory for the values of one bound plan, and the calls that compute them."""

    #: stands where a result would be that nothing reads
    nothing = np.empty(0, np.uint8)
    #: bytes from which on an input or output stays in memory of the caller's
    smallest_borrowed = 1 << 16

    def __init__(self, reserve: Callable[[int], None] | None = None) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._calls_bytes = 0
        self.arena = Arena(reserve)
        self._known: dict[int, np.ndarray] = {}
        self._dying: set[int] = set()
        self._scratch: list[Block] = []
        #: memory of large results that the caller is to have
        self.lent: list[np.ndarray] = []
        self._lending = False
        self._surroundings: dict[int, tuple[np.ndarray, np.ndarray, tuple[int, ...]]] = {}
        #: zeros that the readers of the next result would like (top, left, below, right) of it
        self.margin: tuple[int, int, int, int] = (0, 0, 0, 0)
        #: for each output of the operator whether anything reads it
        self.wanted: tuple[bool, ...] = ()

    @property
    def memory(self) -> list[np.ndarray]:
        """The memory that is planned."""
        return [*self.arena.chunks, *self.lent]

    @property
    def nbytes(self) -> int:
        return sum(memory.nbytes for memory in self.memory) + self._calls_bytes

    # ------------------------------------------------------------------------ for operators

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have ``function(*arguments)`` called in every run; it is called now as well."""
        self.calls.append((function, arguments))
        if not len(self.calls) % _CALLS_AT_ONCE and self.arena.reserve is not None:
            self.arena.reserve(_CALLS_AT_ONCE * _CALL_BYTES)
            self._calls_bytes += _CALLS_AT_ONCE * _CALL_BYTES
        function(*arguments)

    def array(
        self, shape: Sequence[int], dtype: Any, order: Sequence[int] | None = None
    ) -> np.ndarray:
        """Memory for a result. ``order`` lists the axes from the slowest to the fastest."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        if self._lending and nbytes >= self.smallest_borrowed:
            if self.arena.reserve is not None:
                self.arena.reserve(nbytes)
            memory = np.empty(nbytes, np.uint8)
            self.lent.append(memory)
        else:
            memory = self.arena.take(nbytes).memory
        return self._view(memory, shape, dtype, order)

    def image(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """Memory for an (N, C, H, W) result, channels-last, inside the margin that is wanted."""
        n, c, h, w = shape
        top, left, bottom, right = self.margin
        whole = self.array((n, h + top + bottom, w + left + right, c), dtype)
        inside = whole[:, top : top + h, left : left + w]
        for edge in (
            whole[:, :top],
            whole[:, top + h :],
            whole[:, top : top + h, :left],
            whole[:, top : top + h, left + w :],
        ):
            if edge.size:
                self.call(edge.fill, 0)
        result = inside.transpose(0, 3, 1, 2)
        if any(self.margin):
            self._surroundings[id(result)] = (result, whole.transpose(0, 3, 1, 2), self.margin)
        return result

    def surrounded(self, x: np.ndarray, pads: tuple[int, int, int, int]) -> np.ndarray | None:
        """An (N, C, H, W) image with ``pads`` zeros (top, left, bottom, right) around it, if they
        are there already."""
        if pads == (0, 0, 0, 0):
            return x
        if id(x) not in self._surroundings:
            return None
        _, whole, margin = self._surroundings[id(x)]
        if any(have < want for have, want in zip(margin, pads, strict=True)):
            return None
        top, left, bottom, right = (m - p for m, p in zip(margin, pads, strict=True))
        return whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right]

    def scratch(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """Memory that is this operator's until it has returned its result."""
        block = self.arena.take(math.prod(shape) * np.dtype(dtype).itemsize)
        self._scratch.append(block)
        return self._view(block.memory, shape, dtype, None)

    def reuse(self, array: np.ndarray) -> None:
        """Give a scratch array back before the operator has returned."""
        block = self.arena.block_of(array)
        if block is not None and block in self._scratch:
            self._scratch.remove(block)
            self.arena.give(block)

    def like(self, x: np.ndarray, dtype: Any = None, *others: np.ndarray) -> np.ndarray:
        """Memory for a result of the shape and memory order of ``x``: that of ``x`` itself if
        nothing needs it after this operator. ``others`` may be overwritten instead of ``x``."""
        dtype = x.dtype if dtype is None else np.dtype(dtype)
        wants_margin = any(self.margin) and x.ndim == 4
        for y in (x, *others):
            if wants_margin and self.surrounded(y, self.margin) is None:
                continue
            if y.shape == x.shape and y.dtype == dtype and self.may_overwrite(y):
                return y
        if wants_margin:
            return self.image(x.shape, dtype)
        return self.array(x.shape, dtype, memory_order(x))

    def may_overwrite(self, x: np.ndarray) -> bool:
        """Whether nothing needs the memory of an input after this operator."""
        if id(x) not in self._dying or (self._lending and x.nbytes >= self.smallest_borrowed):
            return False
        block = self.arena.block_of(x)
        return block is not None and block.users == 1

    def known(self, *arrays: np.ndarray | None) -> bool:
        """Whether the contents of all these are the same in every run."""
        return all(x is None or id(x) in self._known for x in arrays)

    def constant(self, array: np.ndarray) -> np.ndarray:
        """Declare an array whose contents are the same in every run."""
        self._known[id(array)] = array
        return array

    # --------------------------------------------------------------- for whoever binds a plan

    def begin(
        self,
        dying: Sequence[np.ndarray],
        margin: tuple[int, int, int, int],
        wanted: tuple[bool, ...],
        lending: bool = False,
    ) -> None:
        """An operator is bound next, and these inputs of it are not needed afterwards. With
        ``lending`` its result is the caller's to have."""
        self._lending = lending
        self._dying = {id(array) for array in dying}
        self.margin = margin
        self.wanted = wanted

    def end(self) -> None:
        """The operator has returned."""
        for block in self._scratch:
            self.arena.give(block)
        self._scratch.clear()
        self._dying = set()
        self._lending = False
        self.margin = (0, 0, 0, 0)

    def hold(self, array: np.ndarray) -> None:
        """A value lives in this array from now on."""
        if (block := self.arena.block_of(array)) is not None:
            block.users += 1

    def release(self, array: np.ndarray) -> None:
        """A value that lived in this array is not needed any more."""
        if (block := self.arena.block_of(array)) is not None:
            block.users -= 1
            if block.users == 0:
                self.arena.give(block)

    @staticmethod
    def _view(
        memory: np.ndarray, shape: Sequence[int], dtype: Any, order: Sequence[int] | None
    ) -> np.ndarray:
        dtype = np.dtype(dtype)
        flat = memory[: math.prod(shape) * dtype.itemsize].view(dtype)
        if order is None:
            return flat.reshape(shape)
        in_order = flat.reshape([shape[axis] for axis in order])
        return in_order.transpose(np.argsort(order)) if len(order) else in_order


def memory_order(x: np.ndarray) -> list[int]:
    """The axes of an array from the slowest to the fastest."""
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def with_bind(
    apply: Callable[..., Any],
    bind: Callable[..., Any],
    margin: tuple[int, int, int, int] | None = None,
) -> Callable[..., Any]:
    """A prepared function that can be bound: ``bind(space, *inputs)`` for the inputs of ``apply``.

    ``margin``: the zeros (top, left, bottom, right) that it would like around its first input.
    """
    vars(bind)["margin"] = margin
    vars(apply)["bind"] = bind
    return apply
