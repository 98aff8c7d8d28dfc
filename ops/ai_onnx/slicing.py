"""Slicing and padding: Slice, Pad, CenterCropPad, Trilu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, no_cost
from onnxwalk.ops.contract.cost import size as count_of
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.copies import bind_pad, bind_pad_by_attribute, part_binder
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.axes import normalize_axes
from onnxwalk.ops.shared.cost import fill_cost
from onnxwalk.ops.shared.gradients import add_elements, cost_of_adding, numbered
from onnxwalk.ops.shared.values import as_int, as_ints, as_scalar, zero


@op("Slice", since=10)
def slice_(data, starts, ends, axes=None, steps=None):
    """x[start:end:step] on each of ``axes``, a view. Spec: Slice-10, Slice-11, Slice-13.

    Negative starts and ends count from the end, and what lies outside is clamped.
    """
    return _slice(
        data,
        as_ints(starts),
        as_ints(ends),
        None if axes is None else as_ints(axes),
        None if steps is None else as_ints(steps),
    )


slice_.bind(part_binder(slice_))


@op("Slice", since=1)
def slice_1(data, *, starts, ends, axes=None):
    """Slice with everything as attributes, and steps of 1. Spec: Slice-1."""
    return _slice(data, starts, ends, axes, None)


slice_1.bind(part_binder(slice_1))


def _slice(
    data: np.ndarray,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> np.ndarray:
    return data[_slice_index(data.shape, starts, ends, axes, steps)]


def _slice_index(
    shape: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> tuple[Any, ...]:
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError(
            f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps: "
            "Slice needs as many of each"
        )
    index: list[Any] = [slice(None)] * len(shape)
    for axis, start, end, step in zip(
        normalize_axes(axes, len(shape)), starts, ends, steps, strict=True
    ):
        index[axis] = _clamp_slice(start, end, step, shape[axis])
    return (*index, ...)  # so that rank 0 remains an array


def _clamp_slice(start: int, end: int, step: int, size: int) -> slice:
    """The Python slice that means what Slice-13 says.

    They differ in one case: going backwards from before the beginning, Python selects nothing,
    ONNX begins at the first element.
    """
    if step == 0:
        raise ValueError("a step of Slice should not be 0")
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    if size == 0:
        return slice(0, 0)
    start = min(max(start, 0), size - 1)
    # an end of -1 is "before the first element", which Python writes as None
    return slice(start, min(end, size - 1) if end >= 0 else None, step)


@slice_.vjp
@slice_1.vjp
def vjp_of_slice(dy, *, data_shape, starts, ends, axes, steps=None):
    """dy where it was cut out, 0 around it."""
    axes, steps = (None if x is None else as_ints(x) for x in (axes, steps))
    dx = np.zeros(data_shape, dy.dtype)
    dx[_slice_index(data_shape, as_ints(starts), as_ints(ends), axes, steps)] = dy
    return dx


slice_.cost(no_cost)


slice_1.cost(no_cost)


@op("Pad", since=18)
def pad(data, pads, constant_value=None, axes=None, *, mode="constant"):
    """Add ``pads`` = (begin of each axis …, end of each axis …) elements around the tensor.

    Negative pads cut off. They are a constant, the mirror image without the border
    ("reflect"), the border itself ("edge") or the other side ("wrap"), which the spec has from 19
    on: PyTorch writes it for opset 18, and ONNX Runtime runs it in every version.

    Spec: Pad-18, Pad-19.
    """
    padded_axes = range(data.ndim) if axes is None else normalize_axes(as_ints(axes), data.ndim)
    amounts = _pad_amounts(as_ints(pads), padded_axes, data.ndim)
    value = zero(data.dtype)
    if constant_value is not None:
        value = as_scalar(constant_value, "constant_value")
    return _pad(data, amounts, value, mode)


pad.bind(bind_pad)


@op("Pad", since=11)
def pad_11(data, pads, constant_value=None, *, mode="constant"):
    """Pad without ``axes``. Spec: Pad-11, Pad-13."""
    return pad(data, pads, constant_value, mode=mode)


pad_11.bind(bind_pad)


@op("Pad", since=2)
def pad_2(data, *, pads, value=0.0, mode="constant"):
    """Pad with the amounts and the constant as attributes. Spec: Pad-2."""
    return _pad(data, _pad_amounts(pads, range(data.ndim), data.ndim), value, mode)


pad_2.bind(bind_pad_by_attribute)


@op("Pad", since=1)
def pad_1(data, *, paddings, value=0.0, mode="constant"):
    """Pad when its attribute was called ``paddings``. Spec: Pad-1."""
    return pad_2(data, pads=paddings, value=value, mode=mode)


def _pad_amounts(pads: Sequence[int], axes: Sequence[int], rank: int) -> list[tuple[int, int]]:
    """(begin, end) for each axis of the tensor."""
    if len(pads) != 2 * len(axes):
        raise ValueError(
            f"pads should be {2 * len(axes)} numbers, two for each axis, got {len(pads)}"
        )
    amounts = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        amounts[axis] = pads[i], pads[i + len(axes)]
    return amounts


def _pad(
    data: np.ndarray, amounts: Sequence[tuple[int, int]], value: object, mode: str
) -> np.ndarray:
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise ValueError(f"Pad has no mode {mode!r}")
    for (begin, end), n in zip(amounts, data.shape, strict=True):
        if n + min(begin, 0) + min(end, 0) < 0:
            raise ValueError(
                f"can't cut {-min(begin, 0)} and {-min(end, 0)} off an axis of size {n}"
            )
    # cut first: the remaining elements are mirrored or repeated
    index: list[Any] = [
        slice(max(-begin, 0), n - max(-end, 0))
        for (begin, end), n in zip(amounts, data.shape, strict=True)
    ]
    index.append(...)
    core = data[tuple(index)]
    padding = [(max(begin, 0), max(end, 0)) for begin, end in amounts]
    padded = np.empty(
        [b + n + e for (b, e), n in zip(padding, core.shape, strict=True)], data.dtype
    )
    inner = [slice(b, b + n) for (b, _), n in zip(padding, core.shape, strict=True)]
    place: tuple[Any, ...] = (*inner, ...)  # or a string of rank 0 would hold an array
    padded[place] = core
    for axis, ((begin, end), n) in enumerate(zip(padding, core.shape, strict=True)):
        # the padding of this axis spans the axes before it, which are padded already
        before, after = (slice(None),) * axis, tuple(inner[axis + 1 :])
        for start, count in ((0, begin), (begin + n, end)):
            if count == 0:
                continue
            side = before + (slice(start, start + count),) + after  # noqa: RUF005
            if mode == "constant":
                padded[side] = value
            elif n:
                source = begin + _source_indices(np.arange(start, start + count) - begin, n, mode)
                padded[side] = padded[before + (source,) + after]  # noqa: RUF005
            else:
                raise ValueError(f"mode {mode!r} can't pad axis {axis}, which has no elements")
    return padded


def _source_indices(places: np.ndarray, n: int, mode: str) -> np.ndarray:
    """The index of the element to repeat at each position; 0 … n-1 are the elements themselves."""
    if mode == "edge":
        return places.clip(0, n - 1)
    if mode == "wrap":
        return places % n
    if n == 1:
        return np.zeros_like(places)
    period = 2 * (n - 1)  # 0 1 2 … n-1 … 2 1, over and over
    return (n - 1) - abs((n - 1) - places % period)


@pad.vjp
@pad_11.vjp
def vjp_of_pad(dy, *, data_shape, constant_value_shape, mode, pads, axes=None):
    """What was added is cut off, or goes back to the elements that were repeated."""
    rank, d_value = len(data_shape), None
    padded_axes = range(rank) if axes is None else normalize_axes(as_ints(axes), rank)
    amounts = _pad_amounts(as_ints(pads), padded_axes, rank)
    if constant_value_shape is not None:
        is_value = _pad(np.zeros(data_shape, np.bool_), amounts, mode == "constant", mode)
        d_value = np.where(is_value, dy, 0).sum(dtype=dy.dtype).reshape(constant_value_shape)
    if mode == "constant":
        return _unpad(dy, amounts), None, d_value
    return add_elements(dy, _pad(numbered(data_shape), amounts, 0, mode), data_shape), None, d_value


@pad_2.vjp
def vjp_of_pad_2(dy, *, data_shape, pads, mode):
    return vjp_of_pad(dy, data_shape=data_shape, constant_value_shape=None, mode=mode, pads=pads)[0]


@pad_1.vjp
def vjp_of_pad_1(dy, *, data_shape, paddings, mode):
    return vjp_of_pad_2(dy, data_shape=data_shape, pads=paddings, mode=mode)


@vjp_of_pad.cost
@vjp_of_pad_2.cost
@vjp_of_pad_1.cost
def cost_of_vjp_of_pad(dy: np.ndarray, *, data_shape: Sequence[int], **_: Any) -> Cost:
    return cost_of_adding(dy, data_shape)


def _unpad(dy: np.ndarray, amounts: Sequence[tuple[int, int]]) -> np.ndarray:
    """The way back from ``_pad`` with a constant."""
    return _pad(dy, [(-begin, -end) for begin, end in amounts], 0, "constant")


@pad.cost
@pad_11.cost
@pad_2.cost
@pad_1.cost
def cost_of_pad(
    data: np.ndarray,
    pads: Any = None,
    constant_value: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    *,
    paddings: Any = None,
    mode: str = "constant",
    **_: Any,
) -> Cost:
    padded_axes = range(data.ndim) if axes is None else normalize_axes(as_ints(axes), data.ndim)
    given = as_ints(paddings if pads is None else pads)
    return _cost_of_pad(data, _pad_amounts(given, padded_axes, data.ndim), mode)


def _cost_of_pad(data: np.ndarray, amounts: Sequence[tuple[int, int]], mode: str) -> Cost:
    """The result; and the elements for one side of it, unless they are a constant."""
    padded = [n + begin + end for n, (begin, end) in zip(data.shape, amounts, strict=True)]
    cost = fill_cost(padded, data.dtype)
    if mode == "constant":
        return cost
    sides = [(n, max(amount)) for n, amount in zip(padded, amounts, strict=True) if n > 0]
    picked = max((cost.memory * side // n + 40 * side for n, side in sides), default=0)
    return Cost(cost.memory + picked, 4 * cost.work + 40 * sum(side for _, side in sides))


@op("CenterCropPad", since=18)
def center_crop_pad(input_data, shape, *, axes=None):
    """Cut or zero-pad each of ``axes`` to the size in ``shape``, keeping the centre.

    Of an odd difference the larger half falls to the end. Spec: CenterCropPad-18.
    """
    amounts = _center_amounts(input_data.shape, shape, axes)
    return _pad(input_data, amounts, zero(input_data.dtype), "constant")


@center_crop_pad.vjp
def vjp_of_center_crop_pad(dy, *, input_data_shape, shape, axes):
    return _unpad(dy, _center_amounts(input_data_shape, shape, axes))


@vjp_of_center_crop_pad.cost
def cost_of_vjp_of_center_crop_pad(dy, *, input_data_shape, **_):
    return fill_cost(input_data_shape, dy.dtype, copies=2)


@center_crop_pad.cost
def cost_of_center_crop_pad(
    input_data: np.ndarray, shape: np.ndarray, *, axes: Sequence[int] | None = None
) -> Cost:
    return _cost_of_pad(input_data, _center_amounts(input_data.shape, shape, axes), "constant")


def _center_amounts(
    given: Sequence[int], shape: np.ndarray, axes: Sequence[int] | None
) -> list[tuple[int, int]]:
    """The elements to add before and after each axis of the ``given`` shape; negative: to
    remove."""
    padded_axes = range(len(given)) if axes is None else normalize_axes(axes, len(given))
    sizes = as_ints(shape)
    if len(sizes) != len(padded_axes) or min(sizes, default=0) < 0:
        raise ValueError(f"shape {sizes} should be {len(padded_axes)} non-negative sizes")
    amounts = [(0, 0)] * len(given)
    for axis, size in zip(padded_axes, sizes, strict=True):
        missing = size - given[axis]
        begin = missing // 2 if missing > 0 else -(-missing // 2)
        amounts[axis] = begin, missing - begin
    return amounts


@op("Trilu", since=14)
def trilu(input, k=None, *, upper=1):
    """Keep the elements on and above (``upper``) or below the k-th diagonal; zero elsewhere.

    The last two axes are the matrices. Spec: Trilu-14.
    """
    if input.ndim < 2:
        raise ValueError(f"Trilu needs at least two axes, not shape {input.shape}")
    rows, columns = np.ogrid[: input.shape[-2], : input.shape[-1]]
    # clipped to the matrix, so that int64 doesn't overflow
    diagonal = 0 if k is None else max(-len(rows), min(as_int(k, "k"), columns.size))
    keep = columns >= rows + diagonal if upper else columns <= rows + diagonal
    return np.where(keep, input, np.full((), zero(input.dtype), input.dtype))


@trilu.vjp
def vjp_of_trilu(dy, *, k, upper):
    return trilu(dy, k, upper=upper)


@trilu.cost
def cost_of_trilu(input: np.ndarray, k: np.ndarray | None = None, **_: Any) -> Cost:
    memory = input.nbytes + count_of(input.shape[-2:]) + 16 * sum(input.shape[-2:])
    return Cost(memory, 10 * input.size)


declare(
    pad, pad_11, pad_2, pad_1, slice_,
    slice_1, center_crop_pad, trilu, flops=flops.zero,
)  # fmt: skip


declare(
    pad, pad_11, pad_2, pad_1,
    choices={"mode": "constant reflect edge wrap"},
)  # fmt: skip
