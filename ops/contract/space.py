"""The memory of a bound plan, and the list of its calls.

Once the shapes of all inputs are known, an operator can be *bound*: its binder gets the arrays that
will hold the inputs in every run, records which NumPy calls to make on which arrays, and returns
the array that will hold the result. Views, blocks and scratch memory are created once; a run only
makes the calls.

``@operator.bind`` registers a binder, ``bind(space, *inputs, **attributes)``. It returns the array
(or a tuple of arrays) that holds the result, or ``None`` to decline: the plain operator is then
called in every run. All work on values must go through ``space.call``; what depends only on shapes
and on constant inputs may be computed at once.

A call's arrays are its operands, the keywords of a ``partial``, or the array whose method is
called. Large inputs and outputs that are used by such calls only, and not by a closure or an object
with state, are not copied (``interpreter.runtime.zero_copy``).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.ops.contract.packing import Packing, Uses

#: bind(space, *inputs, **attributes)
Bind: TypeAlias = Callable[..., "np.ndarray | tuple[np.ndarray, ...] | None"]
#: bind_moving(space, moves, *inputs, **attributes), for inputs of which some, those for which
#: ``moves`` is true, have another shape in every run. It records what depends on the others alone,
#: and returns ``run``, or None to decline: run(*inputs) computes the rest, and returns the results,
#: those that keep their shapes in memory of the space and the others as new arrays; or None to
#: decline the inputs of this run.
MovingBind: TypeAlias = Callable[..., "Callable[..., tuple[np.ndarray, ...] | None] | None"]

_ALIGNMENT = 64
_SMALLEST_CHUNK = 1 << 18
#: bytes of a recorded call with its views, and after how many calls they are counted
_CALL_BYTES = 700
_CALLS_PER_COUNT = 256


class Block:
    """A piece of an arena, in use while ``users`` values are stored in it."""

    __slots__ = ("address", "memory", "number", "users")

    def __init__(self, memory: np.ndarray, number: int) -> None:
        self.memory = memory
        self.number = number
        self.address = memory.ctypes.data
        self.users = 0


class Arena:
    """Allocates and frees memory while a plan is bound: best fit, adjacent holes are merged."""

    def __init__(
        self, reserve: Callable[[int], None] | None = None, packing: Packing | None = None
    ) -> None:
        """``packing``: where the blocks lie best, by an earlier arena's ``uses``. As soon as
        another block is asked for than was then, it is given up."""
        #: called with the number of bytes before memory is allocated; may raise
        self.reserve = reserve
        self.uses = Uses()
        self._packing = packing
        self.chunks: list[np.ndarray] = []
        self._holes: list[list[tuple[int, int]]] = []  # of each chunk: (start, stop), sorted
        self._starts: list[int] = []  # of the blocks in use, sorted
        self._blocks: dict[int, tuple[Block, int]] = {}
        if packing is not None and packing.nbytes:
            self._add_chunk(packing.nbytes)

    @property
    def nbytes(self) -> int:
        return sum(chunk.nbytes for chunk in self.chunks)

    def allocate(self, nbytes: int) -> Block:
        size = max(_ALIGNMENT, -(-nbytes // _ALIGNMENT) * _ALIGNMENT)
        number = self.uses.begin(size)
        chunk, hole, start = self._packed(number, size) or self._best_fit(size)
        holes = self._holes[chunk]
        holes.remove(hole)
        for rest in ((hole[0], start), (start + size, hole[1])):
            if rest[0] < rest[1]:
                bisect.insort(holes, rest)
        block = Block(self.chunks[chunk][start : start + size], number)
        bisect.insort(self._starts, block.address)
        self._blocks[block.address] = block, chunk
        return block

    def _packed(self, number: int, size: int) -> tuple[int, tuple[int, int], int] | None:
        """The place that the packing has for a block: the chunk, a hole of it and the start."""
        packing = self._packing
        if packing is None:
            return None
        if number < len(packing.sizes) and packing.sizes[number] == size:
            start = packing.places[number]
            for hole in self._holes[0]:
                if hole[0] <= start and start + size <= hole[1]:
                    return 0, hole, start
        self._packing = None
        return None

    def _best_fit(self, size: int) -> tuple[int, tuple[int, int], int]:
        """The start of the smallest hole that is large enough."""
        fitting = (
            (chunk, hole)
            for chunk, holes in enumerate(self._holes)
            for hole in holes
            if hole[1] - hole[0] >= size
        )
        smallest = min(fitting, key=lambda found: found[1][1] - found[1][0], default=None)
        chunk, hole = smallest or self._grow(size)
        return chunk, hole, hole[0]

    def free(self, block: Block) -> None:
        _, chunk = self._blocks.pop(block.address)
        self.uses.end(block.number)
        self._starts.remove(block.address)
        start = block.address - self.chunks[chunk].ctypes.data
        stop = start + block.memory.nbytes
        holes = self._holes[chunk]
        for hole in [h for h in holes if h[1] == start or h[0] == stop]:
            holes.remove(hole)
            start, stop = min(start, hole[0]), max(stop, hole[1])
        bisect.insort(holes, (start, stop))

    def find_block(self, array: np.ndarray) -> Block | None:
        """The block that holds an array; ``None`` if it is stored elsewhere."""
        address = array.__array_interface__["data"][0]
        position = bisect.bisect_right(self._starts, address) - 1
        if position < 0:
            return None
        block, _ = self._blocks[self._starts[position]]
        return block if address < block.address + block.memory.nbytes else None

    def contains(self, array: np.ndarray) -> bool:
        """Whether an array is stored in the arena, in a used block or not."""
        address = array.__array_interface__["data"][0]
        return any(0 <= address - chunk.ctypes.data < chunk.nbytes for chunk in self.chunks)

    def _grow(self, size: int) -> tuple[int, tuple[int, int]]:
        # Untouched pages cost nothing; doubling the memory keeps the number of chunks small.
        length = max(size, _SMALLEST_CHUNK, min(self.nbytes, 1 << 26))
        self._add_chunk(length)
        return len(self.chunks) - 1, (0, length)

    def _add_chunk(self, length: int) -> None:
        if self.reserve is not None:
            self.reserve(length)
        chunk = np.empty(length + _ALIGNMENT, np.uint8)
        skipped = -chunk.ctypes.data % _ALIGNMENT
        self.chunks.append(chunk[skipped : skipped + length])
        self._holes.append([(0, length)])


class Space:
    """Memory for the values of one bound plan, and the calls that compute them."""

    #: returned in place of an output that nothing reads
    unused = np.empty(0, np.uint8)
    #: bytes from which on an input or output stays in the caller's memory
    zero_copy_bytes = 1 << 16

    def __init__(
        self,
        reserve: Callable[[int], None] | None = None,
        packing: Packing | None = None,
        *,
        is_rehearsal: bool = False,
    ) -> None:
        """``reserve``, ``packing``: as of ``Arena``. ``is_rehearsal``: calls are recorded, but not
        made: only to see which memory they need."""
        self._is_rehearsal = is_rehearsal
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._calls_bytes = 0
        self.arena = Arena(reserve, packing)
        self._constants: dict[int, np.ndarray] = {}
        #: arrays of values by id, and their blocks
        self._held: dict[int, tuple[np.ndarray, Block]] = {}
        self._expiring: set[int] = set()
        self._scratch: list[Block] = []
        #: memory of large results, which become the caller's
        self.output_memory: list[np.ndarray] = []
        self._kept: list[np.ndarray] = []
        self._is_output = False
        self._bordered: dict[int, tuple[np.ndarray, np.ndarray, tuple[int, ...]]] = {}
        #: border of zeros that the readers of the next result ask for: (top, left, bottom, right)
        self.margin: tuple[int, int, int, int] = (0, 0, 0, 0)
        #: for each output of the operator whether anything reads it
        self.used_outputs: tuple[bool, ...] = ()

    @property
    def memory(self) -> list[np.ndarray]:
        """All memory of the plan."""
        return [*self.arena.chunks, *self.output_memory, *self._kept]

    @property
    def nbytes(self) -> int:
        return sum(memory.nbytes for memory in self.memory) + self._calls_bytes

    # ------------------------------------------------------------------------ for operators

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Record ``function(*arguments)`` for every run, and call it now."""
        self.calls.append((function, arguments))
        if not len(self.calls) % _CALLS_PER_COUNT and self.arena.reserve is not None:
            self.arena.reserve(_CALLS_PER_COUNT * _CALL_BYTES)
            self._calls_bytes += _CALLS_PER_COUNT * _CALL_BYTES
        if not self._is_rehearsal:
            function(*arguments)

    def array(
        self, shape: Sequence[int], dtype: Any, order: Sequence[int] | None = None
    ) -> np.ndarray:
        """Memory for a result. ``order`` lists the axes from the largest stride to the smallest."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        if self._is_output and nbytes >= self.zero_copy_bytes:
            if self.arena.reserve is not None:
                self.arena.reserve(nbytes)
            memory = np.empty(nbytes, np.uint8)
            self.output_memory.append(memory)
        else:
            memory = self.arena.allocate(nbytes).memory
        return self._view(memory, shape, dtype, order)

    def image(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """Memory for an (N, C, H, W) result, channels-last, inside a border of ``margin`` zeros."""
        n, c, h, w = shape
        top, left, bottom, right = self.margin
        bordered = self.array((n, h + top + bottom, w + left + right, c), dtype)
        result = self.fill_border(bordered, self.margin).transpose(0, 3, 1, 2)
        if any(self.margin):
            self._bordered[id(result)] = (result, bordered.transpose(0, 3, 1, 2), self.margin)
        return result

    def fill_border(self, x: np.ndarray, border: tuple[int, int, int, int]) -> np.ndarray:
        """Fill a border (top, left, bottom, right) of (N, H, W, C) with zeros; returns the rest."""
        top, left, bottom, right = border
        height, width = x.shape[1] - bottom, x.shape[2] - right
        rows = x[:, top:height]
        for edge in (x[:, :top], x[:, height:], rows[:, :, :left], rows[:, :, width:]):
            if edge.size:
                self.call(edge.fill, 0)
        return rows[:, :, left:width]

    def with_border(self, x: np.ndarray, pads: tuple[int, int, int, int]) -> np.ndarray | None:
        """An (N, C, H, W) image with ``pads`` zeros (top, left, bottom, right) around it, or
        ``None`` if its memory has no such border."""
        if pads == (0, 0, 0, 0):
            return x
        if id(x) not in self._bordered:
            return None
        _, bordered, margin = self._bordered[id(x)]
        if any(zeros < pad for zeros, pad in zip(margin, pads, strict=True)):
            return None
        top, left, bottom, right = (m - p for m, p in zip(margin, pads, strict=True))
        return bordered[:, :, top : bordered.shape[2] - bottom, left : bordered.shape[3] - right]

    def scratch(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """Memory for temporary values, until the operator returns."""
        block = self.arena.allocate(math.prod(shape) * np.dtype(dtype).itemsize)
        self._scratch.append(block)
        return self._view(block.memory, shape, dtype, None)

    def free_scratch(self, array: np.ndarray) -> None:
        """Free a scratch array before the operator returns."""
        block = self.arena.find_block(array)
        if block is not None and block in self._scratch:
            self._scratch.remove(block)
            self.arena.free(block)

    def like(self, x: np.ndarray, dtype: Any = None, *others: np.ndarray) -> np.ndarray:
        """Memory for a result of the shape and memory order of ``x``: ``x`` itself, or one of
        ``others``, if nothing reads it after this operator."""
        dtype = x.dtype if dtype is None else np.dtype(dtype)
        has_margin = any(self.margin) and x.ndim == 4
        for y in (x, *others):
            if has_margin and self.with_border(y, self.margin) is None:
                continue
            if y.shape == x.shape and y.dtype == dtype and self.may_overwrite(y):
                return y
        if has_margin:
            return self.image(x.shape, dtype)
        return self.array(x.shape, dtype, memory_order(x))

    def may_overwrite(self, x: np.ndarray) -> bool:
        """Whether nothing reads an input after this operator."""
        if id(x) not in self._expiring or (self._is_output and x.nbytes >= self.zero_copy_bytes):
            return False
        block = self._block_of(x)
        return block is not None and block.users == 1

    def is_constant(self, *arrays: np.ndarray | None) -> bool:
        """Whether the contents of all these arrays are the same in every run."""
        return all(x is None or id(x) in self._constants for x in arrays)

    def mark_constant(self, array: np.ndarray) -> np.ndarray:
        """Declare that the contents of an array are the same in every run; returns the array."""
        self._constants[id(array)] = array
        return array

    # ------------------------------------------------------------------------ for the compiler

    def begin(
        self,
        expiring: Sequence[np.ndarray],
        margin: tuple[int, int, int, int],
        used_outputs: tuple[bool, ...],
        is_output: bool = False,
    ) -> None:
        """Call before binding an operator. Nothing reads the ``expiring`` inputs after it;
        ``is_output``: its result is an output of the graph, which the caller keeps."""
        self._is_output = is_output
        self._expiring = {id(array) for array in expiring}
        self.margin = margin
        self.used_outputs = used_outputs

    def end(self) -> None:
        """Call after binding an operator: frees its scratch memory."""
        for block in self._scratch:
            self.arena.free(block)
        self._scratch.clear()
        self._expiring = set()
        self._is_output = False
        self.margin = (0, 0, 0, 0)

    def keep(self, array: np.ndarray) -> None:
        """Count an array that was made elsewhere as memory of the plan."""
        if self.arena.reserve is not None:
            self.arena.reserve(array.nbytes)
        self._kept.append(array)

    def hold(self, array: np.ndarray) -> None:
        """A value is stored in this array from now on."""
        if (block := self._block_of(array)) is not None:
            block.users += 1
            self._held[id(array)] = array, block

    def release(self, array: np.ndarray) -> None:
        """A value that was stored in this array isn't needed any more."""
        if (block := self._block_of(array)) is not None:
            block.users -= 1
            if block.users == 0:
                self._held.pop(id(array), None)
                self.arena.free(block)

    def _block_of(self, array: np.ndarray) -> Block | None:
        """The block that holds an array, which NumPy takes a microsecond to tell the address of."""
        held = self._held.get(id(array))
        if held is None or not held[1].users:  # or a block that is free by now
            return self.arena.find_block(array)
        return held[1]

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
    """The axes of an array, from the largest stride to the smallest."""
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def with_bind(
    apply: Callable[..., Any],
    bind: Callable[..., Any],
    margin: tuple[int, int, int, int] | None = None,
) -> Callable[..., Any]:
    """Attach a binder to a prepared function: ``bind(space, *inputs)`` for the inputs of ``apply``.

    ``margin``: the border of zeros (top, left, bottom, right) it asks for around its first input.
    """
    vars(bind)["margin"] = margin
    vars(apply)["bind"] = bind
    return apply
