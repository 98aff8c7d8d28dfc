"""The binder of TopK: a threshold that the k best elements pass, then a sort of integers."""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.numeric import stable_argsort
from onnxwalk.ops.shared.places import as_places

#: number of groups for each of the k; only the best element of each group is compared first
_GROUPS = 4

#: the bits of a key that hold the position of its element
_PLACE_BITS = 0x7FFFFFFF

#: a key larger than those of all elements
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
    """The best elements of each line of x, sorted."""
    rows = x.reshape(-1, x.shape[-1])
    count = values.shape[-1]
    keys = _shortlist(rows, count, largest)
    if keys is None:
        keys = _sort_keys(rows, np.arange(rows.shape[1]), largest)
    keys.sort(1)  # vectorized for 64-bit integers, unlike a stable argsort of floats
    best = ~keys[:, : -count - 1 : -1] if largest else keys[:, :count]
    places = best & _PLACE_BITS
    np.copyto(indices, places.reshape(indices.shape))
    if len(rows) > 1:
        places += np.arange(0, rows.size, rows.shape[1])[:, None]
    np.copyto(values, rows.reshape(-1).take(as_places(places)).reshape(values.shape))


def _sort_keys(x: np.ndarray, places: np.ndarray, largest: int) -> np.ndarray:
    """Integers that sort like the elements, and equal elements by their positions.

    The bits of floats, read as integers, are sorted, except that negative ones are reversed. NaN is
    the largest, and -0 is 0. Positions have 31 bits.
    """
    floats = x + _ZERO
    floats[np.isnan(x)] = np.nan
    bits = floats.view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys = bits.astype(np.int64)
    keys <<= 31
    # Among the largest, those with the lowest positions come last.
    keys |= places ^ _PLACE_BITS if largest else places
    return keys


def _shortlist(x: np.ndarray, count: int, largest: int) -> np.ndarray | None:
    """The keys of a few elements of each row that include the best ``count``; ``None`` if this
    doesn't help.

    Split the row into groups: no element worse than the count-th best of the groups' best elements
    can be among the best ``count``. (TopK 50 of 64x10000: from 7.3 to 0.3 times ONNX Runtime's
    time, of which partitioning entire rows took 2.4.)
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
    """Integers, if k is the length of the axis and only the indices are used: an argsort."""
    if axis != x.ndim - 1 or count != x.shape[-1] or space.used_outputs[0]:
        return None
    order = space.array(x.shape, np.int64)
    space.call(_sort, x, order, largest)
    return space.unused, order


def _sort(x: np.ndarray, order: np.ndarray, largest: int) -> None:
    # Integers of 16 bits are radix-sorted, in linear time.
    short = x.astype(np.int16)
    keys = short if (short == x).all() else x
    np.copyto(order, stable_argsort(keys, largest))
