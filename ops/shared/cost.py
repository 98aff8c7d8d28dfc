"""Building blocks of the cost rules: see ``ops.contract.cost``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost, Rule, arrays_in, broadcast, size
from onnxwalk.ops.contract.dtypes import is_short_float
from onnxwalk.ops.shared.axes import normalize_axis

#: nanoseconds for an element: of sums, copies and comparisons
CHEAP = 5
#: nanoseconds more for an element that is rounded to float16: so slow where it overflows
TO_HALF = 140
#: nanoseconds of Python code for one item of a loop or list
PER_ITEM = 1000
#: bytes of one view or small array, and of its place in a list
PER_ARRAY = 240
#: nanoseconds for a call of NumPy
PER_CALL = 5000


# --- rules ----------------------------------------------------------------------------------------


def elementwise(
    copies: float = 1,
    *,
    dtype: Any = None,
    widened: bool = False,
    blockwise: int = 0,
    per_element: float = PER_ELEMENT,
) -> Rule:
    """The rule of an operator whose result has the shape to which its inputs broadcast, and the
    dtype of the first of them, or ``dtype``.

    ``copies``: how many arrays of the result's size exist at once. ``widened``: short floats and
    their copies are converted to float32. ``blockwise``: how many copies of a block exist; inputs
    that aren't contiguous are copied first.
    """

    def rule(*inputs: Any, **attributes: Any) -> Cost:
        arrays = list(arrays_in(inputs))
        count = arrays[0].size
        if len(arrays) > 1:
            count = size(broadcast(x.shape for x in arrays))
        kind = arrays[0].dtype if dtype is None else np.dtype(dtype)
        memory = copies * kind.itemsize * count
        if widened and is_short_float(kind) and not blockwise:
            memory = wide_copies(*arrays) + (4 * copies + kind.itemsize) * count
        if blockwise:
            memory += gather_bytes(arrays[0]) + blockwise * 8 * min(count, 1 << 14)
        each = per_element + rounding(kind)
        return Cost(math.ceil(memory), math.ceil(each * count) + string_work(*arrays))

    return rule


def rounding(dtype: np.dtype) -> int:
    """Nanoseconds to round an element to this type."""
    return TO_HALF if dtype == np.float16 else 0


def fill_cost(
    shape: Iterable[int], dtype: Any, *, copies: float = 1, per_element: float = 5
) -> Cost:
    """The cost of filling an array of this shape, with ``copies`` arrays of its size at once."""
    count = size(shape)
    memory = math.ceil(copies * count * np.dtype(dtype).itemsize)
    return Cost(memory, math.ceil(per_element * count))


# --- sizes ----------------------------------------------------------------------------------------


def reduced_size(shape: Sequence[int], axes: Iterable[int]) -> int:
    """The number of elements after a reduction over these axes."""
    reduced = {normalize_axis(axis, len(shape)) for axis in axes}
    return size(n for axis, n in enumerate(shape) if axis not in reduced)


def line_count(x: np.ndarray, axis: int) -> int:
    """The number of lines along an axis."""
    return reduced_size(x.shape, [axis])


def total_bytes(*values: Any) -> int:
    return sum(x.nbytes for x in arrays_in(values))


# --- bytes of copies ------------------------------------------------------------------------------


def wide_itemsize(dtype: np.dtype) -> int:
    """Bytes of an element in the dtype to compute in."""
    return 4 if is_short_float(dtype) else dtype.itemsize


def wide_copies(*values: Any) -> int:
    """Bytes that ``wide`` allocates for these arrays."""
    return sum(4 * x.size for x in arrays_in(values) if is_short_float(x.dtype))


def cast_copies(dtype: Any, *values: Any) -> int:
    """Bytes that ``astype(dtype, copy=False)`` allocates for these arrays."""
    dtype = np.dtype(dtype)
    return sum(x.size * dtype.itemsize for x in arrays_in(values) if x.dtype != dtype)


def reshape_bytes(*values: Any) -> int:
    """Bytes that ``reshape`` may allocate for these arrays: those that aren't contiguous."""
    return sum(x.nbytes for x in arrays_in(values) if not x.flags.c_contiguous)


def gather_bytes(x: np.ndarray) -> int:
    """Bytes of a copy, if an array isn't contiguous in some order of its axes."""
    dense = 1
    for stride, n in sorted((abs(s), n) for s, n in zip(x.strides, x.shape, strict=True) if n > 1):
        if stride != dense * x.itemsize:
            return x.nbytes
        dense *= n
    return x.nbytes if any(s < 0 for s in x.strides) else 0


# --- products -------------------------------------------------------------------------------------


#: of a multiply-add, by the type's character: float32, float64, complex64, complex128
_NANOSECONDS = {"f": 0.2, "d": 0.4, "F": 0.8, "D": 1.6}


def multiply_adds(count: int, dtype: np.dtype, *, calls: int = 1) -> int:
    """Nanoseconds for ``count`` multiply-adds in ``calls`` matrix products."""
    each = 0.2 if is_short_float(dtype) else _NANOSECONDS.get(dtype.char, 4)
    return math.ceil(each * count) + 200 * calls


def product_work(a: Sequence[int], b: Sequence[int], dtype: np.dtype) -> int:
    """Nanoseconds for the matrix product of arrays of these shapes, which broadcast."""
    y = product_shape(a, b)
    rows, columns = (y[-2:] if len(y) > 1 else (1, 1)) if len(a) > 1 and len(b) > 1 else (1, 1)
    calls = size(y) // max(1, rows * columns)
    read = size(a) + size(b) + size(y)
    return multiply_adds(size(y) * a[-1], dtype, calls=calls) + 4 * read


def product_shape(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The shape of numpy.matmul's result."""
    batch = broadcast([a[:-2], b[:-2]])
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


# --- strings --------------------------------------------------------------------------------------

#: bytes of a string object without its characters
PER_STRING = 72


def strings_in(x: np.ndarray) -> list[str]:
    """The strings of a tensor."""
    return [str(text) for text in x.reshape(-1).tolist()]


def character_bytes(strings: Iterable[str]) -> int:
    """Bytes that a character may need in strings built from these."""
    return 1 if all(map(str.isascii, strings)) else 4


def string_work(*arrays: np.ndarray) -> int:
    """Nanoseconds to compare all strings with the longest; 0 without strings."""
    if not any(x.dtype.kind == "O" for x in arrays):
        return 0
    count = size(broadcast(x.shape for x in arrays))
    longest = max((len(t) for x in arrays if x.dtype.kind == "O" for t in strings_in(x)), default=0)
    return count * (PER_ELEMENT + longest)
