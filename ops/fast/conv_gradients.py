"""Bound forms of what training makes of a Conv: one whose weights aren't constant, and its
gradients.

3×3 ones of many channels go by ``ops.fast.winograd_training``. Else all three are products with the
columns of windows (im2col), gathered block by block so that they stay in the cache: y = columns·w,
dw = columnsᵀ·dy, and dx is the convolution of dy with the weights turned round. Products of 300 to
2,000 rows run as fast as one over all of them (88 of 75 GFLOPS where the columns fill the memory),
and gathering takes a tenth of their time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast import winograd_training
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.conv import has_dense_rows, pad_channels_last, pad_planes, to_channels_last
from onnxwalk.ops.shared.products import bind_product
from onnxwalk.ops.shared.windows import Axis, window_view

#: bytes of a block of columns, and of columns of few channels
_BLOCK = 1 << 19
_SMALL_BLOCK = 1 << 17
#: elements of a vector with which a ufunc that broadcasts it is as quick as without
_LONG_ROW = 2048
#: up to how many channels the columns are gathered from planes, whose runs of memory are longer
_FEW = 4


def is_supported(axes: Sequence[Axis], group: int, *arrays: np.ndarray | None) -> bool:
    given = [x for x in arrays if x is not None]
    dtype = given[0].dtype
    return (
        group == 1
        and len(axes) == 2
        and dtype in (np.float32, np.float64)
        and all(x.dtype == dtype and x.size for x in given)
    )


def bind_varying_conv(
    space: Space, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Sequence[Axis]
) -> np.ndarray:
    """Conv with weights (M, C, H, W) that differ from run to run."""
    if _goes_by_tiles(x, axes, w.shape[1], len(w)):
        y = space.image((len(x), len(w), *(axis.windows for axis in axes)), x.dtype)
        source, result = np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1)
        winograd_training.bind_forward(space, source, w, b, axes, result)
        return y
    return _convolve(space, x, w.transpose(2, 3, 1, 0), b, axes)


def bind_gradients(
    space: Space,
    dy: np.ndarray,
    x: np.ndarray | None,
    w: np.ndarray | None,
    axes: Sequence[Axis],
    x_shape: Sequence[int],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The gradients of x, if w is given, and of the weights, if x is. The first is ``None``, too,
    where it is no convolution of dy, as for steps above 1."""
    if not _goes_by_tiles(dy, axes, x_shape[1], dy.shape[1]):
        dx = None if w is None else _bind_input_gradient(space, dy, w, axes)
        return dx, None if x is None else _bind_weights_gradient(space, x, dy, axes)
    dx = None if w is None else space.image(x_shape, dy.dtype)
    dw = None if x is None else space.array((dy.shape[1], x.shape[1], 3, 3), dy.dtype)
    source, into = (None if a is None else np.moveaxis(a, 1, -1) for a in (x, dx))
    winograd_training.bind_gradients(space, _pixels(space, dy), source, w, axes, into, dw)
    return dx, dw


def _goes_by_tiles(given: np.ndarray, axes: Sequence[Axis], channels: int, outputs: int) -> bool:
    return given.dtype == np.float32 and winograd_training.pays(axes, len(given), channels, outputs)


def _bind_input_gradient(
    space: Space, dy: np.ndarray, w: np.ndarray, axes: Sequence[Axis]
) -> np.ndarray | None:
    """The gradient of x; ``None`` where it is no convolution of dy, as for steps above 1."""
    back = [Axis(a.windows, a.kernel, 1, a.dilation, a.span - 1 - a.begin, 0, a.size) for a in axes]
    if any(a.stride > 1 for a in axes) or any(a.begin < 0 for a in back):
        return None
    return _convolve(space, dy, w[:, :, ::-1, ::-1].transpose(2, 3, 0, 1), None, back)


def _bind_weights_gradient(
    space: Space, x: np.ndarray, dy: np.ndarray, axes: Sequence[Axis]
) -> np.ndarray:
    """The gradient of the weights, (M, C, H, W)."""
    kernel, channels, outputs = tuple(a.kernel for a in axes), x.shape[1], dy.shape[1]
    d_rows = _pixels(space, dy)
    total = space.scratch((math.prod(kernel) * channels, outputs), x.dtype)
    part = space.scratch(total.shape, x.dtype)
    for number, (index, columns) in enumerate(_columns(space, x, axes)):
        rows = d_rows[index].reshape(-1, outputs)
        # the other way round, dyᵀ·columns, BLAS takes twice as long for few channels
        bind_product(space, columns.T, rows, part if number else total)
        if number:
            space.call(np.add, total, part, total)
    dw = space.array((outputs, channels, *kernel), x.dtype)
    by_tap = np.moveaxis(total.reshape(*_taps(axes, channels), outputs), -1, 0)
    space.call(np.copyto, _without_columns(dw, channels), by_tap)
    return dw


def bind_bias_gradient(space: Space, dy: np.ndarray) -> np.ndarray:
    """The sums over samples and places, as products with ones: in blocks, which round less."""
    rows = _pixels(space, dy).reshape(-1, dy.shape[1])
    db = space.array(rows.shape[1:], dy.dtype)
    bind_product(space, np.ones(len(rows), dy.dtype), rows, db)
    return db


def _convolve(
    space: Space,
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    axes: Sequence[Axis],
) -> np.ndarray:
    """x (N, C, H, W) and a kernel (H, W, C, M); the result is channels-last in memory."""
    outputs = kernel.shape[-1]
    matrix = space.scratch((*_taps(axes, x.shape[1]), outputs), x.dtype)
    in_order = kernel.transpose(2, 0, 1, 3) if x.shape[1] <= _FEW else kernel
    space.call(np.copyto, matrix, in_order)
    matrix = matrix.reshape(-1, outputs)
    y = space.image((len(x), outputs, *(axis.windows for axis in axes)), x.dtype)
    y_rows = np.moveaxis(y, 1, -1)
    if bias is not None:
        repeated = _repeated(space, bias, axes[1].windows)
    for index, columns in _columns(space, x, axes):
        into = y_rows[index]
        block = into if has_dense_rows(into) else space.scratch(into.shape, x.dtype)
        bind_product(space, columns, matrix, block.reshape(-1, outputs))
        if bias is not None:
            long = (-1, len(repeated))
            rows = block.reshape(long)
            space.call(np.add, rows, repeated, rows)
        if block is not into:
            space.call(np.copyto, into, block)
        if block is not into:
            space.free_scratch(block)
    return y


def _repeated(space: Space, bias: np.ndarray, width: int) -> np.ndarray:
    """The bias for several places of a row: a ufunc takes twice as long for short vectors."""
    count = next(n for n in range(max(1, _LONG_ROW // len(bias)), 0, -1) if width % n == 0)
    repeated = space.scratch((count, len(bias)), bias.dtype)
    space.call(np.copyto, repeated, bias)
    return repeated.reshape(-1)


def _taps(axes: Sequence[Axis], channels: int) -> tuple[int, ...]:
    """The taps of a window in the order of ``_columns``."""
    kernel = tuple(axis.kernel for axis in axes)
    return (channels, *kernel) if channels <= _FEW else (*kernel, channels)


def _without_columns(dw: np.ndarray, channels: int) -> np.ndarray:
    """(M, C, H, W) with its taps in the order of ``_columns``."""
    return dw if channels <= _FEW else dw.transpose(0, 2, 3, 1)


def _columns(
    space: Space, x: np.ndarray, axes: Sequence[Axis]
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """The windows of x, a block after the other: which samples and rows of windows they are, and a
    matrix with a row for each window, whose memory the next block overwrites."""
    height, width = (axis.windows for axis in axes)
    depth = math.prod(_taps(axes, x.shape[1]))
    block = _SMALL_BLOCK if x.shape[1] <= _FEW else _BLOCK
    most = max(1, block // (x.itemsize * depth * width))  # rows of windows
    if x.shape[1] <= _FEW:
        windows = window_view(pad_planes(space, x, axes), axes, 2)  # (N, C, O…, K…)
        by_tap = windows.transpose(1, 4, 5, 0, 2, 3)
        together, high = max(1, most // height), min(most, height)
        memory = space.scratch((depth * min(together, len(x)) * high * width,), x.dtype)
        for index in _blocks(len(x), height, together, high):
            source = by_tap[(slice(None),) * 3 + index]
            gathered = memory[: source.size].reshape(source.shape)
            space.call(np.copyto, gathered, source)
            yield index, gathered.reshape(depth, -1).T
        return
    windows = window_view(pad_channels_last(space, x, axes), axes, 1)  # (N, O…, K…, C)
    together, high = max(1, most // height), min(most, height)
    memory = space.scratch((min(together, len(x)) * high * width * depth,), x.dtype)
    for index in _blocks(len(x), height, together, high):
        source = windows[index]
        gathered = memory[: source.size].reshape(source.shape)
        space.call(np.copyto, gathered, source)
        yield index, gathered.reshape(-1, depth)


def _blocks(samples: int, height: int, together: int, high: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of samples, or of rows of one sample."""
    for first, last in split_range(samples, together if high == height else 1):
        for top, bottom in split_range(height, high):
            yield slice(first, last), slice(top, bottom)


def _pixels(space: Space, dy: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as contiguous (N, H, W, C)."""
    rows = to_channels_last(space, np.moveaxis(dy, 1, -1))
    if has_dense_rows(rows):
        return rows
    copy = space.scratch(rows.shape, rows.dtype)
    space.call(np.copyto, copy, rows)
    return copy
