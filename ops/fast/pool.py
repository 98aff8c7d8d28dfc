"""The binders of pools: one axis after the other, in blocks that fit the cache."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import largest_number_into, maximum_into, scalar
from onnxwalk.ops.fast.epilogue import raise_to_finite
from onnxwalk.ops.fast.reduce import mean_over_places
from onnxwalk.ops.shared.axes import channels_last
from onnxwalk.ops.shared.windows import Axis, pool_axes, refuse_empty_windows, taps_inside

_BLOCK = 1 << 18

#: bytes of a block of images in ``_pool_sliding``
SLIDING = 1 << 18


def _bind_pool(space: Space, x: np.ndarray, axes: Sequence[Axis], combine: Any, finish: Any) -> Any:
    """Reduce the taps of all windows by ``combine``, then ``finish`` each block of results."""
    y = result_like(space, x, axes)
    call_pool(space, x, y, axes, combine, finish)
    return y


def result_like(space: Space, x: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """Memory for the result."""
    shape = (*x.shape[:2], *(axis.windows for axis in axes))
    return space.array(shape, x.dtype) if _in_planes(space, x) else space.image(shape, x.dtype)


def _in_planes(space: Space, x: np.ndarray) -> bool:
    """Whether the result keeps the memory order: each plane is an image of one channel."""
    return x.flags.c_contiguous and x.shape[1] > 1 and not any(space.margin)


def call_pool(
    space: Space, x: np.ndarray, y: np.ndarray, axes: Sequence[Axis], combine: Any, finish: Any
) -> None:
    if _in_planes(space, x):
        source, result = (a.reshape(-1, *a.shape[2:])[..., None] for a in (x, y))
    else:
        source, result = channels_last(x), channels_last(y)
    rows, columns = axes
    if _can_slide(source, axes):
        _pool_sliding(space, source, result, axes, combine, finish)
        return
    row = max(1, source.shape[2] * source.shape[3] * x.itemsize)
    together = max(1, _BLOCK // (row * rows.size))
    if together > 1 or rows.begin or rows.reach:
        pieces = [(s, slice(0, rows.windows), rows) for s in split_range(len(source), together)]
    else:
        # Split large images into stripes of rows.
        most = max(1, _BLOCK // (row * rows.stride))
        pieces = [
            ((n, n + 1), slice(top, bottom), rows)
            for n in range(len(source))
            for top, bottom in split_range(rows.windows, most)
        ]
    for (first, last), places, axis in pieces:
        block = result[first:last, places]
        if places == slice(0, axis.windows):
            stripe = source[first:last]
        else:
            start = places.start * axis.stride
            stop = (places.stop - 1) * axis.stride + axis.span
            stripe = source[first:last, start:stop]
            axis = axis._replace(size=stop - start, windows=places.stop - places.start)
        if _is_trivial(columns):
            _combine_along(space, combine, stripe, 1, axis, block)
        elif _is_trivial(axis):
            _combine_along(space, combine, stripe, 2, columns, block)
        else:
            shape = (last - first, axis.windows, *stripe.shape[2:])
            between = space.scratch(shape, x.dtype)
            _combine_along(space, combine, stripe, 1, axis, between)
            _combine_along(space, combine, between, 2, columns, block)
            space.free_scratch(between)
        finish(space, block, places)


def _can_slide(source: np.ndarray, axes: Sequence[Axis]) -> bool:
    """Whether to compute windows at every pixel, as ``_pool_sliding`` does: where that is not much
    more work than the strides ask for, and the runs of memory would otherwise be short."""
    most = 2 if source.shape[3] == 1 else 1
    return source.flags.c_contiguous and all(
        axis.stride <= most and axis.stride * (axis.windows - 1) < axis.size for axis in axes
    )


def _pool_sliding(
    space: Space,
    source: np.ndarray,
    result: np.ndarray,
    axes: Sequence[Axis],
    combine: Callable[[np.ndarray], Any],
    finish: Any,
) -> None:
    """For contiguous images (N, H, W, C): a tap of the windows at all pixels is the entire memory,
    shifted by some pixels. Windows that cross an edge are computed again, and then the windows
    that the strides select are copied.

    Separate calls for rows of 28 or 112 floats take up to five times as long per value
    (AveragePool 3x3/1 of 192x28x28: from 3.9 to 1.5 times ONNX Runtime's time; MaxPool 3x3/2 of
    64x112x112 and 2x2/2 of 32x32: a tenth and a quarter less time).
    """
    selected = [slice(0, a.stride * (a.windows - 1) + 1, a.stride) for a in axes]
    together = max(1, SLIDING // max(1, source[0].nbytes))
    for first, last in split_range(len(source), together):
        x, block = source[first:last], result[first:last]
        direct = block.shape == x.shape and block.flags.c_contiguous
        scratch: list[np.ndarray] = []
        for position, axis in ((2, axes[1]), (1, axes[0])):
            if axis.kernel == 1 and axis.begin == 0:
                continue
            is_last = position == 1 or (axes[0].kernel, axes[0].begin) == (1, 0)
            into = block if direct and is_last else space.scratch(x.shape, x.dtype)
            scratch += [] if into is block else [into]
            _slide(space, combine, x, position, axis, into)
            x = into
        if x is not block:
            space.call(np.copyto, block, x[:, selected[0], selected[1]])
        for array in scratch:
            space.free_scratch(array)
        finish(space, block, slice(0, axes[0].windows))


def _slide(
    space: Space,
    combine: Callable[[np.ndarray], Any],
    x: np.ndarray,
    position: int,
    axis: Axis,
    y: np.ndarray,
) -> None:
    """Reduce the taps of a window at each pixel, along one axis."""
    unit = math.prod(x.shape[position + 1 :])
    taps = [tap * axis.dilation - axis.begin for tap in range(axis.kernel)]
    run, sums = x.reshape(-1), y.reshape(-1)
    start, stop = unit * max(0, -taps[0]), x.size - unit * max(0, taps[-1])

    def at(tap: int) -> np.ndarray:
        return run[start + unit * tap : stop + unit * tap]

    if start < stop:
        _combine(space, combine, [at(tap) for tap in taps], sums[start:stop])
    windows, results = np.moveaxis(x, position, 0), np.moveaxis(y, position, 0)
    for place in range(0, axis.stride * axis.windows, axis.stride):
        inside = [place + tap for tap in taps if 0 <= place + tap < axis.size]
        if len(inside) < len(taps):
            _combine(space, combine, [windows[p] for p in inside], results[place])


def _combine(
    space: Space, combine: Callable[[np.ndarray], Any], parts: Sequence[np.ndarray], y: np.ndarray
) -> None:
    if len(parts) == 1:
        space.call(np.copyto, y, parts[0])
        return
    into = combine(y)
    space.call(into, parts[0], parts[1])
    for part in parts[2:]:
        space.call(into, y, part)


def _is_trivial(axis: Axis) -> bool:
    return (axis.kernel, axis.stride, axis.begin, axis.windows) == (1, 1, 0, axis.size)


def _combine_along(
    space: Space,
    combine: Callable[[np.ndarray], Any],
    x: np.ndarray,
    position: int,
    axis: Axis,
    y: np.ndarray,
) -> None:
    """Reduce the taps of the windows along one axis into ``y``."""

    def at(array: np.ndarray, along: slice) -> np.ndarray:
        index = (*(slice(None),) * position, along)
        return array[index]

    taps = [tap for tap in axis.taps() if tap[0].start < tap[0].stop]
    # Start from a tap that is inside of the input in all windows; it exists unless windows are
    # narrower than their padding.
    everywhere = slice(0, axis.windows)
    first = next((tap for tap in taps if tap[0] == everywhere), None)
    assert first is not None, "_is_supported declines other windows"
    taps.remove(first)
    source = at(x, first[1])
    if not taps:
        space.call(np.copyto, y, source)
        return
    windows, places = taps.pop()
    for rest in (slice(0, windows.start), slice(windows.stop, axis.windows)):
        if rest.start < rest.stop:
            space.call(np.copyto, at(y, rest), at(source, rest))
    space.call(combine(at(y, windows)), at(source, windows), at(x, places))
    for windows, places in taps:
        space.call(combine(at(y, windows)), at(y, windows), at(x, places))


def _is_supported(x: np.ndarray, axes: Sequence[Axis]) -> bool:
    return (
        len(axes) == 2
        and x.dtype in (np.float32, np.float64)
        and x.size > 0
        and all(
            axis.windows and any(w == slice(0, axis.windows) for w, _ in axis.taps())
            for axis in axes
        )
    )


def _add_into(out: np.ndarray) -> Any:
    return functools.partial(np.add, out=out)


def _no_finish(space: Space, block: np.ndarray, places: slice) -> None:
    pass


def bind_max_pool(
    space: Space, x: np.ndarray, *, n_outputs: int = 1, storage_order: int = 0, **attributes: Any
) -> np.ndarray | None:
    axes = supported_axes(x, **attributes)
    if n_outputs > 1 or axes is None:
        return None
    refuse_empty_windows(axes)
    return _bind_pool(space, x, axes, *maximum_of(x.dtype))


def maximum_of(dtype: np.dtype) -> tuple[Any, Any]:
    """How taps are combined, and what is done with the results: float32 passes over NaN."""
    if dtype == np.float32:
        return largest_number_into, raise_to_finite
    return maximum_into, _no_finish


def bind_average_pool(
    space: Space, x: np.ndarray, *, count_include_pad: int = 0, **attributes: Any
) -> np.ndarray | None:
    axes = supported_axes(x, **attributes)
    if axes is None:
        return None
    counted = axes
    if count_include_pad:
        counted = tuple(a._replace(size=a.begin + a.size + a.end, begin=0, end=0) for a in axes)
    refuse_empty_windows(counted)
    counts = [np.array(taps_inside(axis)) for axis in counted]
    inverse = (1 / np.multiply.outer(*counts)).astype(x.dtype)
    uniform = (inverse == inverse.flat[0]).all()

    def finish(space: Space, block: np.ndarray, places: slice) -> None:
        factor = scalar(inverse.flat[0], x.dtype) if uniform else inverse[places, :, None]
        space.call(np.multiply, block, factor, block)

    return _bind_pool(space, x, axes, _add_into, finish)


def supported_axes(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    strides: Any = None,
    dilations: Any = None,
    pads: Any = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> tuple[Axis, ...] | None:
    axes = pool_axes(x.shape, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return axes if _is_supported(x, axes) else None


def bind_global_average_pool(space: Space, x: np.ndarray) -> np.ndarray | None:
    if x.dtype != np.float32 or x.ndim < 3 or x.size == 0:
        return None
    y = space.array((*x.shape[:2], *[1] * (x.ndim - 2)), x.dtype)
    mean_over_places(space, channels_last(x), y.reshape(x.shape[:2]))
    return y
