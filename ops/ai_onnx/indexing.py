"""Operators that select elements by index or value: Gather, TopK, NonZero, Compress, Unique, …

An index counts from the front, or if negative from the end.
One outside [-size, size-1] is an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.copies import (
    bind_gather,
    bind_gather_nd,
    bind_vjp_of_gather,
    bind_vjp_of_gather_nd,
)
from onnxwalk.ops.fast.topk import bind_top_k
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import gather_bytes, line_count, reshape_bytes, string_work
from onnxwalk.ops.shared.gradients import add_elements, add_rows, cost_of_adding, numbered
from onnxwalk.ops.shared.numeric import stable_argsort
from onnxwalk.ops.shared.places import as_places
from onnxwalk.ops.shared.values import as_int


def _check_indices(indices: np.ndarray, size: int, axis: int) -> None:
    """Raise ValueError that names the first index outside [-size, size-1]."""
    outside = indices[(indices < -size) | (indices >= size)]
    if outside.size:
        raise ValueError(f"index {outside.flat[0]} is out of range for axis {axis} of size {size}")


def _to_positive(indices: np.ndarray, size: int, axis: int) -> np.ndarray:
    """The indices as non-negative ones; ValueError for one out of range."""
    lowest = indices.min(initial=0)
    if lowest < -size or indices.max(initial=-1) >= size:
        _check_indices(indices, size, axis)
    return np.where(indices < 0, indices + size, indices) if lowest < 0 else indices


# --- gathering ------------------------------------------------------------------------------------


@op("Gather", since=1)
def gather(data, indices, *, axis=0):
    """Slices of ``data`` along ``axis``: y[a, i, j, b] = x[a, indices[i, j], b].

    Shapes: (A, n, B), (I, J) to (A, I, J, B). Spec: Gather-1, Gather-11.
    """
    axis = normalize_axis(axis, data.ndim)
    before = (slice(None),) * axis
    places = as_places(indices)
    if places is not indices:  # they may not have fitted
        _check_indices(indices, data.shape[axis], axis)
    try:
        if indices.ndim == 0:
            index = (*before, int(indices), ...)
            return data[index]  # a view
        if data.flags.c_contiguous:
            return data.take(places, axis)
        index = (*before, places, ...)
        return data[index]  # unlike take(), this doesn't begin by copying all of a strided input
    except IndexError:
        _check_indices(indices, data.shape[axis], axis)
        raise


gather.bind(bind_gather)


@gather.vjp
def vjp_of_gather(dy, *, data_shape, indices, axis):
    """For each slice the sum of what it was taken for."""
    axis = normalize_axis(axis, len(data_shape))
    size = data_shape[axis]
    places = _to_positive(indices, size, axis).reshape(-1)
    rows = np.moveaxis(dy, range(axis, axis + indices.ndim), range(indices.ndim))
    rows = rows.reshape(len(places), *data_shape[:axis], *data_shape[axis + 1 :])
    return np.moveaxis(add_rows(rows, places, size), 0, axis)


vjp_of_gather.bind(bind_vjp_of_gather)


@gather.cost
def cost_of_gather(data: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> Cost:
    """The slices, and the indices as int64."""
    if indices.ndim == 0:
        return Cost(0)
    return _cost_of_taking(data, indices.size * line_count(data, axis), indices)


def _cost_of_taking(data: np.ndarray, count: int, indices: np.ndarray) -> Cost:
    places = 0 if indices.dtype == np.int64 and indices.flags.c_contiguous else 8 * indices.size
    return Cost(data.itemsize * count + places, 20 * count + 20 * indices.size)


@op("GatherElements", since=11)
def gather_elements(data, indices, *, axis=0):
    """y[i, j] = x[indices[i, j], j] for axis 0, and so on for other axes and ranks.

    ``indices`` and y have the same shape. Spec: GatherElements-11.
    """
    axis = normalize_axis(axis, data.ndim)
    return data.reshape(-1).take(flat_index(element_indices(data, indices, axis), data.shape))


@gather_elements.vjp
def vjp_of_gather_elements(dy, *, data_shape, indices, axis):
    places = gather_elements(numbered(data_shape), indices, axis=axis)
    return add_elements(dy, places, data_shape)


def flat_index(places: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """One index for the first axes of a shape taken as one: what NumPy is fastest with."""
    shape = shape[: len(places)]
    terms = [
        np.multiply(place, math.prod(shape[k + 1 :]), dtype=np.int64)
        for k, place in enumerate(places)
    ]
    # small terms first, so that they are broadcast against the large ones only once
    return as_places(np.asarray(sum(sorted(terms, key=np.size), start=np.int64(0))))


def element_indices(data: np.ndarray, indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The index of each entry of ``indices`` in data: its position, but its value on ``axis``."""
    if indices.ndim != data.ndim or any(
        i > n for k, (i, n) in enumerate(zip(indices.shape, data.shape, strict=True)) if k != axis
    ):
        raise ValueError(
            f"indices {indices.shape} and data {data.shape} are incompatible along axis {axis}"
        )
    places: list[np.ndarray] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    places[axis] = _to_positive(indices, data.shape[axis], axis)
    return tuple(places)


@gather_elements.cost
def cost_of_gather_elements(data: np.ndarray, indices: np.ndarray, **_: Any) -> Cost:
    """Non-negative indices, times their strides, added up; and the elements."""
    memory = reshape_bytes(data) + (33 + data.itemsize) * indices.size
    return Cost(memory, 60 * indices.size)


@op("GatherND", since=11, without=["batch_dims"])
@op("GatherND", since=12)
def gather_nd(data, indices, *, batch_dims=0):
    """y[i, j] = x[tuple(indices[i, j])]: the last axis of ``indices`` holds tuples.

    Tuples shorter than the rank pick slices. The first ``batch_dims`` axes are common to both.
    Spec: GatherND-11, GatherND-12.
    """
    b = batch_dims
    if not 0 <= b < min(data.ndim, indices.ndim) or data.shape[:b] != indices.shape[:b]:
        raise ValueError(
            f"batch_dims {b} is incompatible with data {data.shape} and indices {indices.shape}"
        )
    if not indices.shape[-1]:
        raise ValueError(
            f"indices {indices.shape} should have at least one number for each element"
        )
    batch = np.ogrid[tuple(slice(n) for n in indices.shape[:b])] if b else ()
    extra = indices.ndim - 1 - b
    grids = [grid.reshape(grid.shape + (1,) * extra) for grid in batch]
    index = (*grids, *split_index_tuples(data.shape[b:], indices, b), ...)
    return data[index]


gather_nd.bind(bind_gather_nd)


@gather_nd.vjp
def vjp_of_gather_nd(dy, *, data_shape, indices, batch_dims=0):
    places, count = _places_of_slices(data_shape, indices, batch_dims)
    tail = data_shape[batch_dims + indices.shape[-1] :]
    if math.prod(tail) == 1:
        return add_elements(dy, places, data_shape)
    return add_rows(dy.reshape(len(places), *tail), places, count).reshape(data_shape)


def _places_of_slices(data_shape, indices, batch_dims):
    """The number of each slice that ``gather_nd`` takes, and how many there are."""
    numbers = numbered(data_shape[: batch_dims + indices.shape[-1]])
    return gather_nd(numbers, indices, batch_dims=batch_dims).reshape(-1), numbers.size


vjp_of_gather_nd.bind(bind_vjp_of_gather_nd)


def split_index_tuples(
    shape: Sequence[int], indices: np.ndarray, first_axis: int = 0
) -> list[np.ndarray]:
    """The last axis of ``indices`` split: for each axis of ``shape``, the indices into it."""
    if not indices.ndim or indices.shape[-1] > len(shape):
        raise ValueError(
            f"indices {indices.shape} hold tuples that are too long for {tuple(shape)}"
        )
    return [
        _to_positive(indices[..., k], shape[k], first_axis + k) for k in range(indices.shape[-1])
    ]


@gather_nd.cost
def cost_of_gather_nd(data: np.ndarray, indices: np.ndarray, *, batch_dims: int = 0) -> Cost:
    """The slices, and the indices as non-negative int64."""
    length = indices.shape[-1]
    count = size(indices.shape[:-1]) * size(data.shape[batch_dims + length :])
    places = (16 if indices.dtype != np.int64 else 9) * indices.size
    return Cost(data.itemsize * count + places, 20 * count + 60 * indices.size)


# --- selecting ------------------------------------------------------------------------------------


@op("TopK", since=11)
def top_k(x, k, *, axis=-1, largest=1, sorted=1):
    """The k largest or smallest elements along an axis, in order, and their indices.

    Of equal elements the one with the lower index comes first; NaN counts as larger than all.
    The order that ``sorted`` = 0 leaves open is the sorted one here. Spec: TopK-11.
    """
    return _top_k(x, as_int(k, "K"), axis, largest)


top_k.bind(bind_top_k)


@op("TopK", since=10, until=11)
def top_k_10(x, k, *, axis=-1):
    """TopK of the largest elements, in order. Spec: TopK-10."""
    return _top_k(x, as_int(k, "K"), axis, largest=1)


@op("TopK", since=1, until=10)
def top_k_1(x, *, axis=-1, k):
    """TopK with ``k`` as an attribute. Spec: TopK-1."""
    return _top_k(x, k, axis, largest=1)


@top_k.vjp
@top_k_10.vjp
@top_k_1.vjp
def vjp_of_top_k(dvalues, dindices, *, x_shape, indices, axis):
    """To the elements that were chosen."""
    dx = np.zeros(x_shape, dvalues.dtype)
    np.put_along_axis(dx, indices, dvalues, normalize_axis(axis, len(x_shape)))
    return dx


@vjp_of_top_k.cost
def cost_of_vjp_of_top_k(dvalues, dindices, *, x_shape, indices, **_):
    return Cost(dvalues.itemsize * size(x_shape) + 40 * indices.size, 60 * dvalues.size)


def _top_k(x: np.ndarray, k: int, axis: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    axis = normalize_axis(axis, x.ndim)
    size = x.shape[axis]
    if not 0 <= k <= size:
        raise ValueError(f"K {k} should be from 0 to the size of the axis, {size}")
    keys = np.moveaxis(x.astype(np.float32) if x.dtype.kind == "V" else x, axis, -1)
    if 0 < 8 * k < size and keys.size >= 2048:
        shortlist = _select_top_k(keys, k, largest)
        order = _take(shortlist, stable_argsort(_take(keys, shortlist), largest))
    else:
        order = stable_argsort(keys, largest)
    indices = np.moveaxis(order[..., :k], -1, axis).astype(np.int64, copy=False)
    return np.take_along_axis(x, indices, axis), indices


def _take(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.take_along_axis(x, indices, axis=-1)


def _select_top_k(keys: np.ndarray, k: int, largest: int) -> np.ndarray:
    """The indices, ascending, of the k elements to be sorted: all that are better than the k-th,
    and the first of those equal to it. Takes linear time instead of a full sort."""
    size = keys.shape[-1]
    kth = size - k if largest else k - 1
    limit = np.partition(keys, kth, axis=-1)[..., kth : kth + 1]
    if keys.dtype.kind == "f":  # NaN is larger than all and equal to itself
        nan, limit_is_nan = np.isnan(keys), np.isnan(limit)
        equal = (keys == limit) | (nan & limit_is_nan)
        if largest:
            better = (keys > limit) | (nan & ~limit_is_nan)
        else:
            better = (keys < limit) | (limit_is_nan & ~nan)
    else:
        equal, better = keys == limit, keys > limit if largest else keys < limit
    room = k - better.sum(axis=-1, keepdims=True)
    chosen = better | (equal & (equal.cumsum(axis=-1) <= room))
    return np.flatnonzero(chosen).reshape(*keys.shape[:-1], k) % size


@top_k.cost
@top_k_10.cost
@top_k_1.cost
def cost_of_top_k(x: np.ndarray, k: Any = None, *, axis: int = -1, **_: Any) -> Cost:
    """Sortable keys; their order, twice, or a partition, counts and masks; the results."""
    axis = normalize_axis(axis, x.ndim)
    chosen = line_count(x, axis) * as_int(np.asarray(k), "K")
    keys = 4 * x.size if x.dtype.kind == "V" else 0
    rounds = 1 + x.shape[axis].bit_length()
    memory = keys + (24 + x.itemsize) * x.size + (16 + x.itemsize) * chosen
    return Cost(memory, 10 * rounds * x.size + 20 * chosen + rounds * string_work(x))


@op("NonZero", since=9)
def non_zero(x):
    """The indices of the elements that aren't zero, one row per axis: (rank, count), int64.

    A scalar has no axes, so what comes out is (0, count). Spec: NonZero-9.
    """
    nonzero = x != "" if x.dtype.kind == "O" else x
    if x.ndim == 0:
        return np.empty((0, np.count_nonzero(nonzero)), np.int64)
    return np.array(np.nonzero(nonzero), np.int64)


def count_nonzero(x: np.ndarray) -> int:
    """How many elements aren't zero; of a broadcast view, those that are in memory are counted."""
    once = x[tuple(slice(None) if stride else slice(1) for stride in x.strides)]
    return int(np.count_nonzero(once)) * (x.size // once.size) if x.size else 0


@non_zero.cost
def cost_of_non_zero(x: np.ndarray) -> Cost:
    """The indices of the nonzero elements, twice. Counting them takes far less than listing them;
    for strings, all elements are assumed."""
    count = x.size if x.dtype.kind == "O" else count_nonzero(x)
    work = 20 * x.size + 30 * max(x.ndim, 1) * count + string_work(x)
    return Cost(16 * x.ndim * count + 2 * x.size, work)


@op("Compress", since=9)
def compress(input, condition, *, axis=None):
    """The slices along ``axis`` where ``condition`` is True; without axis, of the flat input.

    A condition that is too short leaves out the rest. The spec wants one of rank 1; any is taken
    flat, as ONNX Runtime does: paddle2onnx writes masked_select so. Spec: Compress-9, Compress-11.
    """
    if axis is None:
        input, axis = input.reshape(-1), 0
    axis = normalize_axis(axis, input.ndim)
    chosen = np.flatnonzero(condition)
    _check_indices(chosen, input.shape[axis], axis)
    return input.take(chosen, axis)


@compress.vjp
def vjp_of_compress(dy, condition, *, input_shape, axis):
    places = compress(numbered(input_shape), condition, axis=axis)
    return add_elements(dy, places, input_shape)


@compress.cost
def cost_of_compress(input: np.ndarray, condition: np.ndarray, *, axis: int | None = None) -> Cost:
    lines = 1 if axis is None else line_count(input, axis)
    chosen = min(input.nbytes, count_nonzero(condition) * input.itemsize * lines)
    return Cost(chosen + gather_bytes(input) + 11 * condition.size, 30 * input.size)


@op("Unique", since=11)
def unique(x, *, axis=None, sorted=1):
    """The different elements, or slices along ``axis``; sorted, or as they first occur.

    Also, all int64: the index of each one's first occurrence in x, for each element of x its index
    in the result, and how often each occurs. NaNs are equal to each other, as in NumPy.
    Spec: Unique-11.
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = normalize_axis(axis, x.ndim)
    first, inverse, counts = _find_unique(np.moveaxis(x, axis, 0))
    if not sorted:
        order = first.argsort(kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        first, inverse, counts = first[order], rank[inverse], counts[order]
    return (
        x.take(as_places(first), axis),
        first.astype(np.int64, copy=False),
        inverse.astype(np.int64, copy=False),
        counts.astype(np.int64, copy=False),
    )


@unique.vjp
def vjp_of_unique(dy, dfirst, *, first, x_shape, axis):
    """To the first occurrence of each element, or slice."""
    numbers, first = numbered(x_shape), as_places(first)
    places = numbers.reshape(-1).take(first) if axis is None else numbers.take(first, axis)
    return add_elements(dy, places, x_shape)


def _find_unique(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First occurrence, inverse and counts of the different rows, in lexicographic order."""
    if rows.dtype.kind == "V":
        rows = rows.astype(np.float32)
    keys: Any = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    if keys.shape[1] == 0:  # rows without elements are all the same
        some = min(len(rows), 1)
        zeros = np.zeros(len(rows), np.int64)
        return zeros[:some], zeros, np.full(some, len(rows), np.int64)
    if keys.shape[1] > 1:
        # elements are replaced by their ranks: NumPy compares neither rows of strings nor
        # rows with a NaN as it compares elements
        keys = np.unique(keys.reshape(-1), return_inverse=True)[1].reshape(keys.shape)
        found = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    else:
        found = np.unique(keys[:, 0], return_index=True, return_inverse=True, return_counts=True)
    _, first, inverse, counts = found
    return first, inverse.reshape(-1), counts


@unique.cost
def cost_of_unique(x: np.ndarray, *, axis: int | None = None, **_: Any) -> Cost:
    """The elements sorted, with their indices both ways; rows are sorted by ranks of their
    elements."""
    rows = x.size if axis is None or x.ndim == 1 else x.shape[normalize_axis(axis, x.ndim)]
    each = 2 * x.itemsize + (40 if rows == x.size else 64)
    rounds = 1 + x.size.bit_length()
    memory = (
        each * x.size + 64 * rows + reshape_bytes(x) + (4 * x.size if x.dtype.kind == "V" else 0)
    )
    each = 20 if rows == x.size else 150
    return Cost(memory, rounds * (each * x.size + string_work(x)))


@op("ReverseSequence", since=10)
def reverse_sequence(input, sequence_lens, *, batch_axis=1, time_axis=0):
    """y[t, b] = x[len[b] - 1 - t, b] for t < len[b], and x[t, b] from there on.

    Spec: ReverseSequence-10.
    """
    if input.ndim < 2 or {batch_axis, time_axis} != {0, 1}:
        raise ValueError(
            f"batch_axis {batch_axis} and time_axis {time_axis} should be 0 and 1 in either order, "
            f"and input {input.shape} of rank 2 or more"
        )
    steps, batch = input.shape[time_axis], input.shape[batch_axis]
    if sequence_lens.shape != (batch,):
        raise ValueError(f"sequence_lens {sequence_lens.shape} should be ({batch},)")
    if batch and not 0 <= sequence_lens.min() <= sequence_lens.max() <= steps:
        raise ValueError(f"sequence lengths should be from 0 to {steps}")
    t = np.arange(steps)[:, None]
    source = np.where(t < sequence_lens, sequence_lens - 1 - t, t)  # (time, batch)
    if time_axis == 0:
        return input[source, np.arange(batch)]
    return input[np.arange(batch)[:, None], source.T]


@reverse_sequence.vjp
def vjp_of_reverse_sequence(dy, *, sequence_lens, batch_axis, time_axis):
    return reverse_sequence(dy, sequence_lens, batch_axis=batch_axis, time_axis=time_axis)


@reverse_sequence.cost
def cost_of_reverse_sequence(input: np.ndarray, *_: Any, **__: Any) -> Cost:
    """The result; and for each step of each sequence its index, with two temporary arrays."""
    return Cost(input.nbytes + 26 * size(input.shape[:2]), 40 * input.size)


# ------------------------------------------------------------------------------------------- facts

declare(compress, gather, gather_elements, gather_nd, non_zero, reverse_sequence, flops=flops.zero)
declare(top_k, top_k_1, top_k_10, batch_axis=batch.along_axis)


@gather.batch_axis
def batch_axis_of_gather(samples, inputs, outputs, *, axis, **_):
    """The samples are among the indices, or on another axis of the data."""
    along, (of_data, of_indices) = axis % inputs[0].ndim, samples
    if of_data is None:
        return [None if of_indices is None else along + of_indices]
    batch.require(of_indices is None and of_data != along)
    return [of_data if of_data < along else of_data + inputs[1].ndim - 1]


@gather_nd.batch_axis
def batch_axis_of_gather_nd(samples, inputs, outputs, *, batch_dims=0, **_):
    batch.require(list(samples) == [0, 0] and batch_dims >= 1)
    return [0]


non_zero.vjp(no_gradient)
declare(
    vjp_of_gather_elements, vjp_of_gather_nd,
    cost=lambda dy, *, data_shape, **_: cost_of_adding(dy, data_shape),
)  # fmt: skip
vjp_of_compress.cost(lambda dy, *_, input_shape, **__: cost_of_adding(dy, input_shape))
vjp_of_unique.cost(lambda dy, *_, x_shape, **__: cost_of_adding(dy, x_shape))
