"""The binder of Conv: choice of algorithm and blocks.

All algorithms work channels-last: a value that is logically (N, C, H, W) is stored as (N, H, W, C),
so that the channels of a pixel are contiguous, and a row of a GEMM. The result is an NCHW view of
such memory, which the next convolution can use without a copy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast import winograd
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import einsum_into
from onnxwalk.ops.fast.epilogue import Epilogue
from onnxwalk.ops.shared.axes import channels_first, channels_last
from onnxwalk.ops.shared.products import bind_product, lay_out
from onnxwalk.ops.shared.windows import Axis, is_pointwise, window_view

#: bytes of a block of columns or results: fits the second-level cache
_BLOCK = 1 << 18


class Weights:
    """The weights of one node, in the layout of each algorithm, created when first used.

    ``w``: data may be unaligned; that of a layout is aligned.
    """

    def __init__(self, w: np.ndarray, group: int) -> None:
        self.w = w
        self.group = group
        self._laid_out: dict[Callable[..., Any], Any] = {}

    @functools.cached_property
    def as_one_row(self) -> Weights:
        """Weights (M, C, W) as weights for images of one row."""
        return Weights(self.w[:, :, None], self.group)

    def __call__(self, layout: Callable[[np.ndarray, int], Any]) -> Any:
        if layout not in self._laid_out:
            laid_out = layout(self.w, self.group)  # may be a view, if w is in that order
            self._laid_out[layout] = np.require(laid_out, requirements="A")
        return self._laid_out[layout]

    def forget(self, layout: Callable[[np.ndarray, int], Any]) -> None:
        """Free a layout that isn't multiplied after all."""
        self._laid_out.pop(layout, None)


def bind_conv(
    space: Space,
    x: np.ndarray,
    weights: Weights,
    axes: Sequence[Axis],
    epilogue: Epilogue,
    residual: np.ndarray | None = None,
) -> np.ndarray | None:
    """The result (N, M, H, W), channels-last; ``None`` where there is no fast form."""
    w, group = weights.w, weights.group
    if len(axes) == 1 and w.ndim == 3:
        return _bind_1d(space, x, weights, axes, epilogue, residual)
    if len(axes) != 2 or x.dtype != np.float32 or w.dtype != np.float32 or not x.size * w.size:
        return None
    per_group, multiplier = w.shape[1], w.shape[0] // group
    shape = (len(x), w.shape[0], *(axis.windows for axis in axes))
    if group > 1:
        bind = _depthwise if per_group == multiplier == 1 else _grouped
        if bind is _grouped and _is_better_in_planes(w, axes):
            bind = _grouped_planes
    elif is_pointwise(axes) and all(a.stride == 1 and a.begin == a.end == 0 for a in axes):
        bind = _pointwise
    elif per_group <= 4:
        bind = _few_channels
    elif (tile := _winograd_tile(x, weights, axes, shape)) is not None:
        bind = functools.partial(_winograd, tile)
    else:
        bind = bind_columns
    if residual is not None and residual.shape != shape:
        return None
    if epilogue.pool:
        if min(shape[2:]) < 2 or residual is not None or group > 1 or bind is _pointwise:
            return None
        y = space.image((*shape[:2], shape[2] // 2, shape[3] // 2), x.dtype)
    else:
        y = space.image(shape, x.dtype)
    rows = None if residual is None else channels_last(residual)
    bind(space, x, weights, axes, epilogue, channels_last(y), rows)
    return y


def _bind_1d(space, x, weights, axes, epilogue, residual) -> np.ndarray | None:
    """Conv over (N, C, W), as images of one row."""
    margin, space.margin = space.margin, (0, 0, 0, 0)
    flat = axes[0]._replace(size=1, kernel=1, stride=1, dilation=1, begin=0, end=0, windows=1)
    y = bind_conv(
        space,
        x[:, :, None],
        weights.as_one_row,
        (flat, *axes),
        epilogue,
        None if residual is None or residual.ndim != 3 else residual[:, :, None],
    )
    space.margin = margin
    return None if y is None else y[:, :, 0]


def _by_row(w: np.ndarray, group: int) -> np.ndarray:
    """(M, C, H, W) as (H * W * C, M)"""
    if w.shape[2:] == (1, 1):
        return lay_out(w.reshape(w.shape[:2]).T)  # BLAS needs no copy
    return lay_out(np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(-1, w.shape[0]))


def _pointwise(space, x, weights, axes, epilogue, y, residual) -> None:
    """1×1: a GEMM over the pixels, with no copy."""
    x = channels_last(x)
    w = weights(_by_row)
    source = to_channels_last(space, x)
    n, height, width, _ = y.shape
    if (
        has_dense_rows(y)
        and has_dense_rows(source)
        and (residual is None or has_dense_rows(residual))
    ):
        # The image's rows don't matter: treat it as one long row.
        source, y = source.reshape(1, -1, 1, source.shape[-1]), y.reshape(1, -1, 1, y.shape[-1])
        residual = None if residual is None else residual.reshape(y.shape)
        n, height, width, _ = y.shape
    # BLAS repacks the weights for each block: use enough pixels for that, if the cache allows.
    pixels = max(_BLOCK // (4 * max(w.shape)), min(2 * min(w.shape), 384))
    for sample in range(n):
        for top, bottom in split_range(height, max(1, pixels // width)):
            index = (sample, slice(top, bottom))
            rows = source[index].reshape(-1, source.shape[-1])
            _product(space, rows, w, y, index, epilogue, residual)


def _product(space, rows, w, y, index, epilogue, residual, *, width=0, with_bias=True) -> None:
    """epilogue(rows @ w) into a part of y. ``width``: pixels in a row, if they are pooled."""
    into = y[index]
    block = into
    if epilogue.pool:
        shape = (*into.shape[:-3], 2 * into.shape[-3], width, into.shape[-1])
        block = space.scratch(shape, into.dtype)
    elif not has_dense_rows(into):
        block = space.scratch(into.shape, into.dtype)
    bind_product(space, rows, w, block.reshape(-1, block.shape[-1]))
    rest = None if residual is None else residual[index]
    epilogue.apply(space, block, into, rest, with_bias=with_bias)
    if block is not into:
        space.free_scratch(block)


def bind_columns(space, x, weights, axes, epilogue, y, residual) -> None:
    """The windows of a block of rows as the rows of a matrix (im2col), then a GEMM."""
    w = weights(_by_row)
    depth = len(w)
    windows = window_view(pad_channels_last(space, x, axes), axes, 1)  # (N, H, W, taps, taps, C)
    height, width = (axis.windows for axis in axes)
    step = 2 if epilogue.pool else 1  # rows of windows for one row of the result
    together = max(1, 2 * _BLOCK // (4 * depth * height * width))
    rows_at_once = max(1, min(height, 2 * _BLOCK // (4 * depth * width)))
    together = 1 if rows_at_once < height else together
    rows_at_once = max(1, rows_at_once // step) * step
    columns = space.scratch((min(together, len(x)) * rows_at_once * width, depth), x.dtype)
    for first, last in split_range(len(x), together):
        for top, bottom in split_range(height // step, rows_at_once // step):
            index = (slice(first, last), slice(top, bottom))
            source = windows[first:last, top * step : bottom * step]
            gathered = columns[: math.prod(source.shape[:3])]
            space.call(np.copyto, gathered.reshape(source.shape), source)
            _product(space, gathered, w, y, index, epilogue, residual, width=width)


def _by_group(w: np.ndarray, group: int) -> np.ndarray:
    """(M, C / g, H, W) as (g, H * W * C / g, M / g)"""
    parts = w.reshape(group, w.shape[0] // group, *w.shape[1:]).transpose(0, 3, 4, 2, 1)
    return lay_out(np.ascontiguousarray(parts).reshape(group, -1, parts.shape[-1]))


def _grouped(space, x, weights, axes, epilogue, y, residual) -> None:
    """Like ``bind_columns``, with a product for each group."""
    w = weights(_by_group)
    group, depth, outputs = w.shape
    windows = window_view(pad_channels_last(space, x, axes), axes, 1)  # (N, H, W, taps, taps, C)
    split = windows.reshape(*windows.shape[:-1], group, -1)
    split = split.transpose(0, 1, 2, 5, 3, 4, 6)  # (N, H, W, g, taps, taps, C / g)
    height, width = (axis.windows for axis in axes)
    rows_at_once = max(1, min(height, 2 * _BLOCK // (4 * depth * group * width)))
    columns = space.scratch((group, rows_at_once * width, depth), x.dtype)
    product = space.scratch((rows_at_once * width, group, outputs), x.dtype)
    for sample in range(len(x)):
        for top, bottom in split_range(height, rows_at_once):
            source = split[sample, top:bottom].transpose(2, 0, 1, 3, 4, 5)
            pixels = (bottom - top) * width
            gathered = columns.reshape(-1)[: group * pixels * depth]
            space.call(np.copyto, gathered.reshape(source.shape), source)
            block = product[:pixels]
            matrix = gathered.reshape(group, pixels, depth)
            bind_product(space, matrix, w, block.transpose(1, 0, 2))
            into = y[sample, top:bottom]
            rest = None if residual is None else residual[sample, top:bottom]
            epilogue.apply(space, block.reshape(into.shape), into, rest)


def _by_group_of_planes(w: np.ndarray, group: int) -> np.ndarray:
    """(M, C / g, H, W) as (g, M / g, C / g * H * W)"""
    return np.ascontiguousarray(w.reshape(group, w.shape[0] // group, -1))


def _is_better_in_planes(w: np.ndarray, axes: Sequence[Axis]) -> bool:
    """Whether ``_grouped_planes`` is faster than ``_grouped``."""
    if is_pointwise(axes) or any(axis.stride > 1 for axis in axes):
        return False
    return w.shape[1] <= (16 if axes[0].windows * axes[1].windows >= 400 else 8)


def _grouped_planes(space, x, weights, axes, epilogue, y, residual) -> None:
    """Like ``_grouped``, for groups of few channels, whose runs of memory are short: columns come
    from planes, where one tap of all windows is one run, and the products have long rows (3x3 of 32
    groups of 8 channels at 28: from 2.3 to 0.7 times ONNX Runtime's time)."""
    w = weights(_by_group_of_planes)
    group, outputs, depth = w.shape
    planes = pad_planes(space, x, axes)
    rows, columns = axes
    width = planes.shape[3]
    length = (rows.windows - 1) * width + columns.windows
    taps = (w.shape[2] // (rows.kernel * columns.kernel), rows.kernel, columns.kernel)
    step = planes.itemsize
    strides = (planes.strides[1], rows.dilation * width * step, columns.dilation * step, step)
    gathered = space.scratch((depth, length), x.dtype)
    product = space.scratch((group * outputs, rows.windows, width), x.dtype)
    by_group = product.reshape(group, outputs, -1)[:, :, :length]
    channels_last = product[:, :, : columns.windows].transpose(1, 2, 0)
    for sample in range(len(x)):
        for number in range(group):
            part = planes[sample, number * taps[0] : (number + 1) * taps[0]]
            runs = as_strided(part, (*taps, length), strides, writeable=False)
            space.call(np.copyto, gathered.reshape(runs.shape), runs)
            bind_product(space, w[number], gathered, by_group[number])
        into = y[sample]
        block = into if has_dense_rows(into) else space.scratch(into.shape, into.dtype)
        space.call(np.copyto, block, channels_last)
        epilogue.apply(space, block, into, None if residual is None else residual[sample])
        if block is not into:
            space.free_scratch(block)


def _winograd_tile(x, weights, axes, shape) -> int | None:
    """The tile size for Winograd's algorithm; ``None`` if it doesn't pay."""
    if any((a.stride, a.dilation) != (1, 1) or a.kernel != axes[0].kernel for a in axes):
        return None
    kernel, channels = axes[0].kernel, x.shape[1]
    if winograd.best_tile(shape, channels, kernel) is None:
        return None  # nor with some of the tiles; the weights needn't be read
    sizes = np.abs(weights.w)
    if not sizes.max() <= winograd.SPIKE * sizes.mean():
        return None
    tile = winograd.best_tile(shape, channels, kernel, winograd.exact_tiles(weights))
    if tile is None:
        weights.forget(winograd.weight_layout(2))  # of which it was seen whether it is exact
    return tile


def _winograd(m, space, x, weights, axes, epilogue, y, residual) -> None:
    """See ``ops.fast.winograd``."""
    tiled = [axis._replace(windows=-(-axis.windows // m) * m) for axis in axes]
    source = pad_channels_last(space, x, tiled)
    transformed = weights(winograd.weight_layout(m))
    winograd.bind_winograd(space, source, weights.w, transformed, m, epilogue, y, residual)


def _by_plane(w: np.ndarray, group: int) -> np.ndarray:
    """(M, C, H, W) as (C * H * W, M)"""
    return np.ascontiguousarray(w.reshape(len(w), -1).T)


def _few_channels(space, x, weights, axes, epilogue, y, residual) -> None:
    """For few channels, whose runs of memory are short: columns are gathered from planes, a row for
    each tap, and a row of ones for the bias."""
    w = weights(_by_plane)
    if epilogue.bias is not None:
        w = np.concatenate([w, epilogue.bias[None]])
    depth, outputs = w.shape
    height, width = (axis.windows for axis in axes)
    step = 2 if epilogue.pool else 1
    planes = pad_planes(space, x, axes)  # (N, C, H, W)
    windows = window_view(planes, axes, 2)  # (N, C, H, W, taps, taps)
    by_tap = windows.transpose(0, 1, 4, 5, 2, 3)
    taps = math.prod(by_tap.shape[1:4])
    rows_at_once = max(1, min(height, _BLOCK // (4 * max(depth, outputs) * width)) // step) * step
    columns = space.scratch((depth, rows_at_once * width), x.dtype)
    if epilogue.bias is not None:
        space.call(columns[-1].fill, 1)
    for sample in range(len(x)):
        for top, bottom in split_range(height // step, rows_at_once // step):
            source = by_tap[sample, :, :, :, top * step : bottom * step]
            gathered = columns[:, : source.shape[-2] * width]
            space.call(np.copyto, gathered[:taps].reshape(source.shape), source)
            index = (sample, slice(top, bottom))
            _product(
                space, gathered.T, w, y, index, epilogue, residual, width=width, with_bias=False
            )


def _by_tap(w: np.ndarray, group: int) -> np.ndarray:
    """(C, 1, H, W) as (H, W, C)"""
    return np.ascontiguousarray(w[:, 0].transpose(1, 2, 0))


def _depthwise(space, x, weights, axes, epilogue, y, residual) -> None:
    """A filter for each channel: a sum of products over the taps, not a GEMM.

    At stride 1, neighbouring windows of all channels are one run of memory, for which the weights
    are repeated: einsum is fastest with runs of 1000 to 2000 floats.
    """
    w = weights(_by_tap)
    columns = axes[1]
    _, height, width, channels = y.shape
    count = 1
    if columns.stride == columns.dilation == 1:
        most = max(1, min(width, 2048 // channels))
        count = next(n for n in range(most, 0, -1) if width % n == 0)
    windows = window_view(pad_channels_last(space, x, axes), axes, 1)  # (N, H, W, taps, taps, C)
    shape = (*windows.shape[:2], width // count, *windows.shape[3:5], channels * count)
    strides = list(windows.strides)
    strides[2] *= count
    runs = as_strided(windows, shape, strides, writeable=False)
    repeated = np.tile(w, count)
    for sample in range(len(x)):
        for top, bottom in split_range(height, max(1, _BLOCK // row_bytes(y))):
            into = y[sample, top:bottom]
            block = into if has_dense_rows(into) else space.scratch(into.shape, into.dtype)
            sums = block.reshape(bottom - top, width // count, channels * count)
            space.call(einsum_into(sums), "yzijn,ijn->yzn", runs[sample, top:bottom], repeated)
            rest = None if residual is None else residual[sample, top:bottom]
            epilogue.apply(space, block, into, rest)
            if block is not into:
                space.free_scratch(block)


# ------------------------------------------------------------------------------------- helpers


def pad_channels_last(space: Space, x: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """(N, C, H, W) as (N, H + padding, W + padding, C), channels-last, padded with zeros."""
    (top, bottom), (left, right) = ((axis.begin, axis.reach) for axis in axes)
    source = channels_last(x)
    bordered = space.with_border(x, (top, left, bottom, right))
    if bordered is not None and bordered.strides[1] == x.itemsize:
        return channels_last(bordered)
    n, h, w, c = source.shape
    padded = space.scratch((n, top + h + bottom, left + w + right, c), x.dtype)
    space.call(np.copyto, space.fill_border(padded, (top, left, bottom, right)), source)
    return padded


def pad_planes(space: Space, x: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """(N, C, H, W) padded with zeros, each channel contiguous."""
    (top, bottom), (left, right) = ((axis.begin, axis.reach) for axis in axes)
    n, c, h, w = x.shape
    padded = space.scratch((n, c, top + h + bottom, left + w + right), x.dtype)
    inside = space.fill_border(channels_last(padded), (top, left, bottom, right))
    space.call(np.copyto, channels_first(inside), x)
    return padded


def to_channels_last(space: Space, x: np.ndarray) -> np.ndarray:
    """The array if the channels of a pixel are contiguous, else a copy in which they are."""
    if x.strides[-1] == x.itemsize:
        return x
    copy = space.scratch(x.shape, x.dtype)
    space.call(np.copyto, copy, x)
    return copy


def has_dense_rows(x: np.ndarray) -> bool:
    """Whether (…, C) can be reshaped to a matrix of pixels without a copy."""
    return bool(x.flags.c_contiguous)


def row_bytes(y: np.ndarray) -> int:
    """Bytes of one row of pixels of (N, H, W, C)."""
    return max(1, y.shape[2] * y.shape[3] * y.itemsize)
