"""Binders of operators that copy: Cast, Concat, Pad, Gather; and of slices, which are views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import element_type, is_plain, is_short_float, numpy_dtype
from onnxwalk.ops.contract.space import Bind, Space, memory_order
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.gradients import add_rows
from onnxwalk.ops.shared.places import as_places


def bind_cast(space: Space, input: np.ndarray, *, to: int, **attributes: Any) -> np.ndarray | None:
    """Casts between NumPy's own types, and between float and bfloat16.

    What a float out of an integer's range becomes is undefined, and may depend on the loop that
    NumPy chooses: only where that is the operator's own."""
    target = numpy_dtype(to)
    kinds = (input.dtype, target)
    if not all(is_plain(kind) or kind == np.float16 for kind in kinds) and not (
        np.float32 in kinds and any(element_type(kind).name == "bfloat16" for kind in kinds)
    ):
        return None
    if input.dtype.kind == "f" and target.kind in "iu" and not input.flags.c_contiguous:
        return None
    y = space.like(input, target)
    if y is not input:
        if target.kind == "b":
            space.call(np.not_equal, input, np.zeros((), input.dtype), y)
        else:
            space.call(np.copyto, y, input, "unsafe")
    return y


#: more inputs than that are left to the loop in np.concatenate
_MOST_PARTS = 200


def bind_concat(space: Space, *inputs: np.ndarray, axis: int) -> np.ndarray | None:
    first = inputs[0]
    if first.dtype.hasobject or any(x.dtype != first.dtype for x in inputs):
        return None
    if len(inputs) > _MOST_PARTS:
        return None
    axis = normalize_axis(axis, first.ndim)
    rest = first.shape[:axis] + first.shape[axis + 1 :]
    if any(x.ndim != first.ndim or x.shape[:axis] + x.shape[axis + 1 :] != rest for x in inputs):
        return None
    size = sum(x.shape[axis] for x in inputs)
    shape = (*first.shape[:axis], size, *first.shape[axis + 1 :])
    largest = max(inputs, key=lambda x: x.size)
    if largest.ndim == 4 and largest.strides[1] == largest.itemsize:
        y = space.image(shape, first.dtype)
    else:
        y = space.array(shape, first.dtype, memory_order(largest))
    before, start = (slice(None),) * axis, 0
    for x in inputs:
        where = (*before, slice(start, start + x.shape[axis]))
        if x.size:
            space.call(np.copyto, y[where], x)
        start += x.shape[axis]
    return y


def part_binder(function: Callable[..., np.ndarray]) -> Bind:
    """The binder of an operator whose result is a view of a part of its input."""

    def bind(space: Space, data: np.ndarray, *known: Any, **attributes: Any) -> np.ndarray | None:
        """A view: nothing to do in a run."""
        if not space.is_constant(*known) or data.dtype.hasobject or not data.size:
            return None
        y = function(data, *known, **attributes)
        return y if y.size else None

    return bind


def _pad_binder(amounts_of: Callable[..., Any]) -> Bind:
    def bind(space: Space, data: np.ndarray, *known: Any, **attributes: Any) -> np.ndarray | None:
        """Pad with a constant: fill the border and copy the inside."""
        if attributes.pop("mode", "constant") != "constant" or not space.is_constant(*known):
            return None
        if not is_plain(data.dtype):
            return None
        padding = amounts_of(data, *known, **attributes)
        if padding is None:
            return None
        amounts, value = padding
        if any(min(pair) < 0 for pair in amounts):
            return None
        shape = [b + n + e for (b, e), n in zip(amounts, data.shape, strict=True)]
        y = space.array(shape, data.dtype, memory_order(data))
        inside: list[slice] = []
        for axis, ((begin, end), n) in enumerate(zip(amounts, data.shape, strict=True)):
            rest = (slice(None),) * (data.ndim - axis - 1)
            for edge in (slice(0, begin), slice(begin + n, begin + n + end)):
                if edge.start < edge.stop:
                    where = (*inside, edge, *rest)
                    space.call(y[where].fill, value)
            inside.append(slice(begin, begin + n))
        space.call(np.copyto, y[tuple(inside)] if inside else y, data)
        return y

    return bind


def _amounts_by_input(
    data: np.ndarray, pads: np.ndarray, constant_value: Any = None, axes: Any = None
) -> tuple[list[tuple[int, int]], Any] | None:
    if axes is not None or pads.size != 2 * data.ndim:
        return None
    if constant_value is not None and constant_value.size != 1:
        return None
    begins, ends = np.split(pads.reshape(-1), 2)
    value = data.dtype.type(0) if constant_value is None else constant_value.reshape(-1)[0]
    return [(int(b), int(e)) for b, e in zip(begins, ends, strict=True)], value


def _amounts_by_attribute(
    data: np.ndarray, *, pads: list[int], value: float = 0.0
) -> tuple[list[tuple[int, int]], Any] | None:
    if len(pads) != 2 * data.ndim:
        return None
    return list(zip(pads[: data.ndim], pads[data.ndim :], strict=True)), data.dtype.type(value)


bind_pad = _pad_binder(_amounts_by_input)
bind_pad_by_attribute = _pad_binder(_amounts_by_attribute)


def bind_gather(
    space: Space, data: np.ndarray, indices: np.ndarray, *, axis: int = 0
) -> np.ndarray | None:
    """Rows by their indices, which are checked in every run."""
    if data.dtype.hasobject or data.ndim == 0 or not data.size or not indices.size:
        return None
    axis = normalize_axis(axis, data.ndim)
    if not data.flags.c_contiguous:
        return None
    y = space.array((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]), data.dtype)
    space.call(_gather, data, indices, axis, y)
    return y


def _gather(data: np.ndarray, indices: np.ndarray, axis: int, y: np.ndarray) -> None:
    size = data.shape[axis]
    if indices.min() < -size or indices.max() >= size:
        raise IndexError("index out of range")  # the plain operator says which one
    np.take(data, as_places(indices), axis, y, "wrap")  # "raise" would copy the result


def bind_vjp_of_gather(
    space: Space, dy: np.ndarray, *, data_shape: tuple[int, ...], indices: np.ndarray, axis: int
) -> np.ndarray | None:
    """Of rows along the first axis: each is the sum of the gradients of where it was taken to."""
    if normalize_axis(axis, len(data_shape)) or not dy.flags.c_contiguous:
        return None
    if is_short_float(dy.dtype):
        return None
    result = space.array(data_shape, dy.dtype)
    rows = dy.reshape(indices.size, *data_shape[1:])
    space.call(_add_rows, rows, indices, result, 0)
    return result


def bind_vjp_of_gather_nd(
    space: Space,
    dy: np.ndarray,
    *,
    data_shape: tuple[int, ...],
    indices: np.ndarray,
    batch_dims: int = 0,
) -> np.ndarray | None:
    """Of the rows of each batch item, as ``bind_gather_nd`` takes them."""
    if indices.shape[-1:] != (1,) or batch_dims != 1 or len(data_shape) < 3:
        return None
    if not dy.flags.c_contiguous or is_short_float(dy.dtype):
        return None
    batch, size = data_shape[:2]
    result = space.array(data_shape, dy.dtype)
    rows = dy.reshape(-1, *data_shape[2:])
    first = (np.arange(batch) * size).reshape(-1, *(1,) * (indices.ndim - 2))
    by_row = result.reshape(batch * size, *data_shape[2:])
    space.call(_add_rows, rows, indices[..., 0], by_row, first, size)
    return result


def _add_rows(
    rows: np.ndarray, indices: np.ndarray, result: np.ndarray, first: Any, size: int = 0
) -> None:
    places = indices % (size or len(result)) + first
    add_rows(rows, places.reshape(-1), len(result), result)


def rows_of(space: Space, tables: list[np.ndarray], indices: np.ndarray) -> list[np.ndarray]:
    """The rows (number of indices, C) of tables (R, C) of one length, in scratch memory. Each run
    checks that the indices are from 0 to R - 1."""
    found = [space.scratch((indices.size, table.shape[1]), table.dtype) for table in tables]
    space.call(_look_up, tables, indices, found)
    return found


def _look_up(tables: list[np.ndarray], indices: np.ndarray, found: list[np.ndarray]) -> None:
    if indices.min() < 0 or indices.max() >= len(tables[0]):
        raise IndexError("index out of range")  # the plain operator says which one
    flat = as_places(indices).reshape(-1)
    for table, rows in zip(tables, found, strict=True):
        table.take(flat, 0, rows, "wrap")  # "raise" would copy the result


def bind_gather_nd(
    space: Space, data: np.ndarray, indices: np.ndarray, *, batch_dims: int = 0
) -> np.ndarray | None:
    """Index tuples of length 1 with one batch axis: rows of each batch item."""
    if indices.shape[-1:] != (1,) or batch_dims != 1 or data.ndim < 2 or data.dtype.hasobject:
        return None
    if data.shape[:1] != indices.shape[:1] or not data.flags.c_contiguous or not data.size:
        return None
    if not indices.size:
        return None
    batch, size = data.shape[:2]
    y = space.array((*indices.shape[:-1], *data.shape[2:]), data.dtype)
    rows = data.reshape(batch * size, *data.shape[2:])
    first = (np.arange(batch) * size).reshape(-1, *(1,) * (indices.ndim - 2))
    space.call(_gather_rows, rows, indices[..., 0], size, first, y)
    return y


def _gather_rows(
    rows: np.ndarray, numbers: np.ndarray, size: int, first: np.ndarray, y: np.ndarray
) -> None:
    shifted = numbers + size  # from 0 to 2·size - 1; as unsigned numbers, all others are larger
    if np.maximum.reduce(shifted.view(np.uint64), None) >= 2 * size:
        raise IndexError("index out of range")
    np.take(rows, as_places(shifted % size + first), 0, y, "clip")
