"""The positions of the windows of convolutions and pools.

Along one axis, tap ``k`` of window ``o`` reads the input at ``o * stride + k * dilation - begin``;
positions outside of the input are padding.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

#: bytes of a block of columns or sums: fits the second-level cache
BLOCK_BYTES = 1 << 20
#: ``choices`` of operators with windows
AUTO_PAD = {"auto_pad": "NOTSET SAME_UPPER SAME_LOWER VALID"}


class Axis(NamedTuple):
    """The windows along one spatial axis."""

    size: int  # of the input
    kernel: int  # taps
    stride: int
    dilation: int
    begin: int  # padding in front
    end: int  # padding behind
    windows: int  # how many: the size of the output

    @property
    def span(self) -> int:
        """The number of input positions from a window's first tap to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def reach(self) -> int:
        """The end padding that the last window reads (with ``ceil_mode`` it may exceed ``end``)."""
        return max(0, (self.windows - 1) * self.stride + self.span - self.begin - self.size)

    def taps(self) -> Iterator[tuple[slice, slice]]:
        """For each tap the windows in which it is inside of the input, and its input positions."""
        for tap in range(self.kernel):
            start = tap * self.dilation - self.begin  # the position of this tap in window 0
            first = max(0, -(start // self.stride))
            last = min(self.windows, (self.size - 1 - start) // self.stride + 1)
            if first < last:
                begin = start + first * self.stride
                stop = begin + (last - first - 1) * self.stride + 1
                yield slice(first, last), slice(begin, stop, self.stride)
            else:
                yield slice(0, 0), slice(0, 0)


def places_by_tap(axes: Sequence[Axis]) -> Iterator[tuple[Any, Any]]:
    """For each tap of all axes, in order, the windows in which it is inside of the input, and its
    places there, as indices of (…, D1 … Dn)."""
    for taps in itertools.product(*(axis.taps() for axis in axes)):
        yield (..., *(window for window, _ in taps)), (..., *(place for _, place in taps))


def window_axes(
    spatial: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> tuple[Axis, ...]:
    """The windows along each spatial axis of an input, from an operator's attributes.

    Raises ValueError if the attributes don't fit the input or each other.
    """
    return _window_axes(1, spatial, kernel, strides, dilations, pads, auto_pad, ceil_mode)


def _window_axes(
    least: int,
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
    ceil_mode: int,
) -> tuple[Axis, ...]:
    """As ``window_axes``; ``least``: how many windows there have to be along each axis."""
    return _cached_window_axes(
        least,
        tuple(spatial),
        tuple(kernel),
        *(None if values is None else tuple(values) for values in (strides, dilations, pads)),
        auto_pad,
        bool(ceil_mode),
    )


@functools.lru_cache(maxsize=1024)
def _cached_window_axes(
    least: int,
    spatial: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...] | None,
    dilations: tuple[int, ...] | None,
    pads: tuple[int, ...] | None,
    auto_pad: str,
    ceil_mode: bool,
) -> tuple[Axis, ...]:
    rank = len(spatial)
    strides = per_axis("strides", strides, rank, default=1, least=1)
    dilations = per_axis("dilations", dilations, rank, default=1, least=1)
    kernel = per_axis("kernel_shape", kernel, rank, default=1, least=1)
    explicit = explicit_pads(pads, rank, auto_pad)
    axes = []
    for size, taps, stride, dilation, (begin, end) in zip(
        spatial, kernel, strides, dilations, explicit, strict=True
    ):
        span = (taps - 1) * dilation + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            windows = -(-size // stride)
            begin, end = split_pads((windows - 1) * stride + span - size, auto_pad)
        else:
            steps = size + begin + end - span
            windows = steps // stride + 1
            if windows < least:
                raise ValueError(
                    f"kernel {list(kernel)} with dilations {list(dilations)} is larger than the "
                    f"padded input: {list(spatial)} with pads {list(pads or [0] * 2 * rank)}"
                )
            # auto_pad=VALID: ceil((size - span + 1) / stride) windows, which is the floor of the
            # other formula; ceil_mode changes nothing. A window that starts in the end padding is
            # left out (so since MaxPool-22; before, it would be a maximum of nothing).
            if ceil_mode and auto_pad != "VALID" and steps % stride:
                windows += windows * stride < size + begin
        axes.append(Axis(size, taps, stride, dilation, begin, end, windows))
    return tuple(axes)


def explicit_pads(
    pads: Sequence[int] | None, rank: int, auto_pad: str
) -> tuple[tuple[int, int], ...]:
    """(begin, end) of each axis from ``pads``; zeros unless ``auto_pad`` is NOTSET."""
    if auto_pad not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", ""):
        raise ValueError(f"auto_pad {auto_pad!r} is not NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    pads = per_axis("pads", pads, 2 * rank, default=0, least=0)
    if auto_pad not in ("NOTSET", ""):
        return ((0, 0),) * rank  # "cannot be used simultaneously": ONNX Runtime ignores pads too
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def split_pads(total: int, auto_pad: str) -> tuple[int, int]:
    """A total padding as (begin, end): an odd one is larger at the end for SAME_UPPER."""
    total = max(total, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)


def per_axis(
    name: str, values: Sequence[int] | None, count: int, *, default: int, least: int
) -> tuple[int, ...]:
    """An attribute with ``count`` values, checked. Raises ValueError."""
    if values is None or (len(values) == 0 and count):
        return (default,) * count
    if len(values) != count:
        raise ValueError(f"{name} {list(values)} should have {count} values")
    if min(values, default=least) < least:
        raise ValueError(f"{name} {list(values)} should be at least {least}")
    return tuple(int(value) for value in values)


def is_channels_last(x: np.ndarray) -> bool:
    """Whether an (N, C, D1, …) array is a view of memory in the order (N, D1, …, C)."""
    # With one channel both orders are the same, but the strides still show which one was used.
    return x.ndim > 2 and x.strides[1] == x.itemsize


def is_pointwise(axes: Sequence[Axis]) -> bool:
    """Whether each window is a single position of the input."""
    return all(axis.kernel == 1 for axis in axes)


def working_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of sums: float32 for float16 and bfloat16, as in ONNX Runtime."""
    return dtype if dtype in (np.dtype(np.float32), np.dtype(np.float64)) else np.dtype(np.float32)


def pad_spatial(x: np.ndarray, axes: Sequence[Axis], first: int, dtype: Any = None) -> np.ndarray:
    """``x`` with zero padding around the spatial axes, from axis ``first`` on; ``x`` if none."""
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    shape, inner = list(x.shape), [slice(None)] * x.ndim
    for i, axis in enumerate(axes, first):
        shape[i] = axis.begin + axis.size + axis.reach
        inner[i] = slice(axis.begin, axis.begin + axis.size)
    if tuple(shape) == x.shape and dtype == x.dtype:
        return x
    result = np.zeros(shape, dtype)
    result[tuple(inner)] = x
    return result


def stripes(
    x: np.ndarray, axes: Sequence[Axis], dtype: np.dtype
) -> Iterator[tuple[tuple[slice, slice], np.ndarray, tuple[Axis, ...]]]:
    """Cut a channels-last input (N, D1 … Dn, C) into overlapping stripes that fit the cache.

    Yields for each stripe the slices of the output along the batch and the first spatial axis, the
    padded input, which the next stripe overwrites, and the axes of its windows.
    """
    first, rest = axes[0], axes[1:]
    shape = (*(axis.begin + axis.size + axis.reach for axis in rest), x.shape[-1])
    inner = tuple(slice(axis.begin, axis.begin + axis.size) for axis in rest)
    row = max(1, math.prod(shape) * dtype.itemsize)
    rows = max(1, BLOCK_BYTES // 2 // row)
    height = min(first.windows, max(1, (rows - first.span) // first.stride + 1))
    rows = (height - 1) * first.stride + first.span
    together = max(1, BLOCK_BYTES // 2 // (row * rows))
    stripe = np.empty((min(together, len(x)), rows, *shape), dtype)
    for sample, place in itertools.product(
        range(0, len(x), together), range(0, first.windows, max(1, height))
    ):
        samples = slice(sample, min(sample + together, len(x)))
        places = slice(place, min(place + height, first.windows))
        start = place * first.stride - first.begin
        stop = start + (places.stop - place - 1) * first.stride + first.span
        here = stripe[: samples.stop - sample, : stop - start]
        here[...] = 0
        source = x[samples, max(start, 0) : max(stop, 0)]
        above = max(-start, 0)  # rows of padding
        inside = (slice(None), slice(above, above + source.shape[1]), *inner)
        here[inside] = source
        axis = first._replace(size=stop - start, begin=0, end=0, windows=places.stop - place)
        yield (samples, places), here, (axis, *rest)


def window_view(x: np.ndarray, axes: Sequence[Axis], first: int) -> np.ndarray:
    """A view of a padded array with separate axes for windows and taps.

    (…, D1 … Dn, …) with the spatial axes at ``first`` becomes (…, O1 … On, K1 … Kn, …).
    """
    last = first + len(axes)
    steps = x.strides[first:last]
    return as_strided(
        x,
        x.shape[:first]
        + tuple(axis.windows for axis in axes)
        + tuple(axis.kernel for axis in axes)
        + x.shape[last:],
        x.strides[:first]
        # an axis of size 1 may have any stride: 0, however large the attribute is
        + tuple(s * axis.stride * (axis.windows > 1) for s, axis in zip(steps, axes, strict=True))
        + tuple(s * axis.dilation * (axis.kernel > 1) for s, axis in zip(steps, axes, strict=True))
        + x.strides[last:],
        writeable=False,
    )


def blocks(shape: Sequence[int], limit: int) -> Iterator[tuple[slice, ...]]:
    """Split an array into pieces of at most ``limit`` elements, each contiguous in C order."""
    inner = math.prod(shape[1:])
    if inner <= limit or len(shape) == 1:
        step = max(1, limit // max(inner, 1))
        for start in range(0, shape[0], step):
            yield (slice(start, min(start + step, shape[0])),)
    else:
        for start, rest in itertools.product(range(shape[0]), list(blocks(shape[1:], limit))):
            yield (slice(start, start + 1), *rest)


def pool_axes(
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> tuple[Axis, ...]:
    """The windows of a pool of an array of this shape; none if the kernel is larger than the padded
    input by at most a stride, as in ONNX Runtime. (A Conv refuses that there, too.)

    Raises ValueError if the ranks of input and kernel differ, and as ``window_axes`` does.
    """
    if len(shape) < 3 or len(shape) != len(kernel) + 2:
        raise ValueError(
            f"input {tuple(shape)} should have rank {len(kernel) + 2} "
            f"for kernel_shape {list(kernel)}"
        )
    return _window_axes(0, shape[2:], kernel, strides, dilations, pads, auto_pad, ceil_mode)


def taps_inside(axis: Axis) -> np.ndarray:
    """For each window the number of taps inside of the input."""
    start = np.arange(axis.windows) * axis.stride - axis.begin
    first = -(start // axis.dilation)  # the first tap inside of the input
    last = (axis.size - 1 - start) // axis.dilation
    return np.maximum(np.minimum(last, axis.kernel - 1) - np.maximum(first, 0) + 1, 0)


def average_counts(axes: Sequence[Axis], count_include_pad: int) -> np.ndarray:
    """By how many each window's sum is divided (O1 … On). ValueError for a window of nothing."""
    if count_include_pad:
        axes = tuple(a._replace(size=a.begin + a.size + a.end, begin=0, end=0) for a in axes)
    refuse_empty_windows(axes)
    return functools.reduce(np.multiply.outer, map(taps_inside, axes))


def refuse_empty_windows(axes: Sequence[Axis]) -> None:
    """Raise ValueError if a window has padding only: it has no maximum or mean."""
    if not all(taps_inside(axis).all() for axis in axes):
        raise ValueError(
            f"some windows of kernel_shape {[axis.kernel for axis in axes]} lie entirely in the "
            f"padding {[(axis.begin, axis.end) for axis in axes]}"
        )


def roi_cells(
    shape: Sequence[int], rois: np.ndarray, pooled_shape: Sequence[int], spatial_scale: float
) -> Iterator[tuple[Any, Any]]:
    """The cells of MaxRoiPool that aren't empty: where each goes in the output, and what of the
    input (N, C, H, W) it sees (C, rows, columns)."""
    corners = rois[:, 1:].astype(np.float32) * np.float32(spatial_scale)
    left, top, right, bottom = np.floor(np.abs(corners) + 0.5).T * np.sign(corners).T
    every = slice(None)
    for roi, image in enumerate(rois[:, 0].astype(np.int64)):
        rows = _grid_cells(top[roi], bottom[roi], pooled_shape[0], shape[2])
        columns = _grid_cells(left[roi], right[roi], pooled_shape[1], shape[3])
        for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
            if row.start < row.stop and column.start < column.stop:
                yield (roi, every, i, j), (image, every, row, column)


def _grid_cells(start: float, last: float, count: int, size: int) -> list[slice]:
    """``count`` equal cells from ``start`` to ``last``, cut to the input."""
    cell = np.float32(max(last - start + 1, 1)) / np.float32(count)  # as ONNX Runtime rounds
    edges = np.arange(count + 1, dtype=np.float32) * cell
    begin = np.clip(np.floor(edges[:-1]) + start, 0, size).astype(int)
    end = np.clip(np.ceil(edges[1:]) + start, 0, size).astype(int)
    return [slice(b, max(b, e)) for b, e in zip(begin, end, strict=True)]
