"""TopK bound to its shapes: a bound that all of the k best pass, then a sort of whole numbers."""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.numeric import stable_argsort

#: for each of the k, so many groups of which the best elements are compared first
_GROUPS = 4

#: the bits of a key that hold the place of its element
_PLACE_BITS = 0x7FFFFFFF

#: a key beyond those of all elements
_WORST = (1 << 63) - 1

_ZERO = np.float32(0)


def bind_top_k(
    space: Space, x: np.ndarray, k: np.ndarray, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[np.ndarray, ...] | None:
    if x.ndim == 0 or not space.is_constant(k) or k.size != 1 or not x.size:
        return None
    axis = normalize_axis(axis, x.ndim)
    count = k.item()
    if x.dtype in (np.int32, np.int64):
        return _bind_argsort(space, x, count, axis, largest)
    if x.dtype != np.float32 or not 0 < count <= x.shape[axis] < 1 << 31:
        return None
    shape = [count if i == axis else n for i, n in enumerate(x.shape)]
    values, indices = space.array(shape, x.dtype), space.array(shape, np.int64)
    lines = np.moveaxis(x, axis, -1)
    if not lines.flags.c_contiguous:
        lines = space.scratch(lines.shape, x.dtype)
        space.call(np.copyto, lines, np.moveaxis(x, axis, -1))
    results = [np.moveaxis(y, axis, -1) for y in (values, indices)]
    space.call(_top_k, lines, *results, largest)
    return values, indices


def _top_k(x: np.ndarray, values: np.ndarray, indices: np.ndarray, largest: int) -> None:
    """The best of each line of x, in order."""
    rows = x.reshape(-1, x.shape[-1])
    count = values.shape[-1]
    keys = _shortlist(rows, count, largest)
    if keys is None:
        keys = _sort_keys(rows, np.arange(rows.shape[1]), largest)
    keys.sort(1)  # vectorised for numbers of 64 bits, where a stable argsort of floats is not
    best = ~keys[:, : -count - 1 : -1] if largest else keys[:, :count]
    places = best & _PLACE_BITS
    np.copyto(indices, places.reshape(indices.shape))
    if len(rows) > 1:
        places += np.arange(0, rows.size, rows.shape[1])[:, None]
    np.copyto(values, rows.reshape(-1).take(places).reshape(values.shape))


def _sort_keys(x: np.ndarray, places: np.ndarray, largest: int) -> np.ndarray:
    """Whole numbers in the order of the elements, and of equal ones in that of their places.

    The bits of a float, read as a whole number, are in order but for those of negative ones, which
    are turned round. NaN is the largest, and -0 is 0. Places have 31 bits.
    """
    floats = x + _ZERO
    floats[np.isnan(x)] = np.nan
    bits = floats.view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys = bits.astype(np.int64)
    keys <<= 31
    # Of the largest those with the lowest places are the last ones.
    keys |= places ^ _PLACE_BITS if largest else places
    return keys


def _shortlist(x: np.ndarray, count: int, largest: int) -> np.ndarray | None:
    """The keys of few elements of each row among which the best ``count`` are; ``None`` if this
    does not help.

    With the rows in groups, the count-th best of the groups' best bounds what can be among the
    best: there are as many elements already. (TopK 50 of 64x10000: 7.3 to 0.3 times ONNX Runtime's
    time, of which partitioning whole rows took 2.4.)
    """
    rows, size = x.shape
    groups = max(32, _GROUPS * count)
    if size < 4 * groups:
        return None
    each = size // groups
    grouped = x[:, : each * groups].reshape(rows, each, groups)
    best = (np.maximum if largest else np.minimum).reduce(grouped, 1)
    kth = groups - count if largest else count - 1
    limits = np.partition(best, kth, 1)[:, kth : kth + 1]
    passing = np.flatnonzero(~(x < limits if largest else x > limits))  # with every NaN
    if passing.size > x.size // 4:
        return None
    if rows == 1:
        return _sort_keys(x[0, passing], passing, largest)[None]
    row = passing // size
    places = passing - row * size
    counts = np.bincount(row, minlength=rows)
    keys = np.full((rows, counts.max()), -_WORST if largest else _WORST)
    position = np.arange(passing.size) - (counts.cumsum() - counts)[row]
    keys[row, position] = _sort_keys(x.reshape(-1)[passing], places, largest)
    return keys


def _bind_argsort(
    space: Space, x: np.ndarray, count: int, axis: int, largest: int
) -> tuple[np.ndarray, ...] | None:
    """All of a line in order, where only the indices are wanted: of whole numbers."""
    if axis != x.ndim - 1 or count != x.shape[-1] or space.used_outputs[0]:
        return None
    order = space.array(x.shape, np.int64)
    space.call(_sort, x, order, largest)
    return space.unused, order


def _sort(x: np.ndarray, order: np.ndarray, largest: int) -> None:
    # Numbers that fit 16 bits are sorted by their digits, in linear time.
    short = x.astype(np.int16)
    keys = short if np.array_equal(short, x) else x
    np.copyto(order, stable_argsort(keys, largest))
