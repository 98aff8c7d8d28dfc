"""Pools: the maximum, mean or norm of the values in each window, and MaxPool's partial inverse.

A maximum (or sum) over a box is one along each axis in turn, and along an axis it is taken tap by
tap over complete arrays. Padding is never built: a tap that falls outside the input is left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.fast.pool import (
    bind_average_pool,
    bind_global_average_pool,
    bind_max_pool,
)
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.cost import (
    PER_ARRAY,
    PER_CALL,
    PER_ITEM,
    cast_copies,
    fill_cost,
    reshape_bytes,
)
from onnxwalk.ops.shared.values import as_ints
from onnxwalk.ops.shared.windows import (
    AUTO_PAD,
    BLOCK_BYTES,
    Axis,
    average_counts,
    per_axis,
    pool_axes,
    refuse_empty_windows,
    roi_cells,
    window_axes,
    working_dtype,
)


@op("MaxPool", since=1, without=["ceil_mode", "dilations", "storage_order"])
@op("MaxPool", since=8, without=["ceil_mode", "dilations"])
@op("MaxPool", since=10)
@attributes_of(window_axes)
def max_pool(x, *, kernel_shape, storage_order=0, n_outputs=1, **windows):
    """y[n, c, o] = the largest x[n, c, o * stride + k * dilation - pad] over taps k inside x

    x (N, C, D1 … Dn); y (N, C, O1 … On). The second output, int64 and of y's shape, says where in
    the flattened x the maximum lies (the first of equals); with storage_order=1 the spatial axes
    are flattened with the first of them running fastest.

    NaN is larger than everything, except for float32 without the second output: then NaN is passed
    over, and nothing is less than the lowest finite number. The spec doesn't say, ONNX Runtime and
    TensorFlow do so, and hence files of Keras models mean that.

    Spec: MaxPool-1, MaxPool-8 (Indices), MaxPool-10 (dilations, ceil_mode), MaxPool-12 (int8,
    uint8), MaxPool-22 (bfloat16).
    """
    axes = pool_axes(x.shape, kernel_shape, **windows)
    refuse_empty_windows(axes)
    if n_outputs < 2 and x.dtype == np.float32:
        lowest = np.finfo(np.float32).min
        return np.fmax(_reduce_windows(np.fmax, x, axes, lowest), lowest)
    y = _reduce_windows(np.maximum, x, axes, _lowest_value(x.dtype))
    if n_outputs < 2:
        return y
    if storage_order not in (0, 1):
        raise ValueError(f"storage_order {storage_order} should be 0 or 1")
    return y, _argmax_of_windows(x, axes, column_major=storage_order == 1)


max_pool.bind(bind_max_pool)


def _lowest_value(dtype: np.dtype) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _reduce_windows(
    ufunc: np.ufunc, x: np.ndarray, axes: Sequence[Axis], nothing: Any
) -> np.ndarray:
    """``ufunc`` over all taps of all windows; ``nothing`` is its value for no taps."""
    if x.nbytes <= BLOCK_BYTES or len(x) < 2:
        return _reduce_axes(ufunc, x, axes, nothing)
    # A few samples at a time, so that intermediate results stay in the cache.
    samples = max(1, BLOCK_BYTES // 2 // x[0].nbytes)
    shape = (*x.shape[:2], *(axis.windows for axis in axes))
    y = np.empty_like(x, shape=shape, order="K")
    for start in range(0, len(x), samples):
        block = slice(start, start + samples)
        y[block] = _reduce_axes(ufunc, x[block], axes, nothing)
    return y


def _reduce_axes(ufunc: np.ufunc, x: np.ndarray, axes: Sequence[Axis], nothing: Any) -> np.ndarray:
    for position, axis in enumerate(axes, 2):
        if (axis.kernel, axis.stride, axis.begin, axis.windows) != (1, 1, 0, axis.size):
            x = _reduce_axis(ufunc, x, position, axis, nothing)
    return x


def _reduce_axis(
    ufunc: np.ufunc, x: np.ndarray, position: int, axis: Axis, nothing: Any
) -> np.ndarray:
    """``ufunc`` over the taps of windows along one axis. Keeps the memory order of ``x``."""
    taps = list(axis.taps())
    shape = list(x.shape)
    shape[position] = axis.windows
    y = np.empty_like(x, shape=tuple(shape), order="K")

    def at(along: slice) -> tuple[slice, ...]:
        return (*(slice(None),) * position, along)

    # Start from a tap that lies inside the input in every window: the next tap is combined with it
    # in one pass, and windows without a next tap copy it.
    all_windows = slice(0, axis.windows)
    full_tap = next((tap for tap in taps if tap[0] == all_windows), None)
    if full_tap is None or len(taps) == 1:
        y[...] = nothing
    else:
        taps.remove(full_tap)
        windows, places = taps.pop()
        source = x[at(full_tap[1])]
        y[at(slice(0, windows.start))] = source[at(slice(0, windows.start))]
        ufunc(source[at(windows)], x[at(places)], out=y[at(windows)])
        y[at(slice(windows.stop, None))] = source[at(slice(windows.stop, None))]
    for windows, places in taps:
        ufunc(y[at(windows)], x[at(places)], out=y[at(windows)])
    return y


def _argmax_of_windows(x: np.ndarray, axes: Sequence[Axis], *, column_major: bool) -> np.ndarray:
    """For each window the index into the flattened ``x`` of its maximum, the first of equals."""
    spatial = x.shape[2:]
    index = np.arange(math.prod(spatial), dtype=np.int64).reshape(
        spatial, order="F" if column_major else "C"
    )
    channels = np.arange(x.shape[0] * x.shape[1], dtype=np.int64)
    channels = channels.reshape(*x.shape[:2], *[1] * len(spatial))
    shape = (*x.shape[:2], *(axis.windows for axis in axes))
    largest = np.zeros(shape, x.dtype)
    where = np.full(shape, -1, np.int64)
    for taps in product(*(axis.taps() for axis in axes)):
        windows: Any = (..., *(window for window, _ in taps))
        places: Any = (..., *(place for _, place in taps))
        value, best, at = x[places], largest[windows], where[windows]
        larger = (at < 0) | (value > best) | ((value != value) & (best == best))
        np.copyto(best, value, where=larger)
        np.copyto(at, index[places], where=larger)
    return where + channels * math.prod(spatial)


@op("AveragePool", since=1, without=["ceil_mode", "dilations", "count_include_pad"])
@op("AveragePool", since=7, without=["ceil_mode", "dilations"])
@op("AveragePool", since=10, without=["dilations"])
@op("AveragePool", since=19)
@attributes_of(window_axes)
def average_pool(x, *, count_include_pad=0, kernel_shape, **windows):
    """y[n, c, o] = the mean of x[n, c, o * stride + k * dilation - pad] over taps k inside x

    x (N, C, D1 … Dn); y (N, C, O1 … On). With count_include_pad the sum is divided by the number
    of taps in x or its padding; what ceil_mode reaches beyond the padding never counts.

    Spec: AveragePool-1, AveragePool-7 (count_include_pad), AveragePool-10 (ceil_mode),
    AveragePool-19 (dilations), AveragePool-22 (bfloat16).
    """
    axes = pool_axes(x.shape, kernel_shape, **windows)
    work = working_dtype(x.dtype)
    sums = _reduce_windows(np.add, x.astype(work, copy=False), axes, 0)
    counts = average_counts(axes, count_include_pad)
    return (sums / counts.astype(work)).astype(x.dtype, copy=False)


average_pool.bind(bind_average_pool)


@op("LpPool", since=2, without=["ceil_mode", "dilations"])
@op("LpPool", since=18)
@attributes_of(window_axes)
def lp_pool(x, *, kernel_shape, p=2, **windows):
    """y[n, c, o] = (sum over taps k of |x[n, c, o * stride + k * dilation - pad]| ** p) ** (1 / p)

    x (N, C, D1 … Dn); y (N, C, O1 … On).

    Spec: LpPool-2, LpPool-18 (dilations, ceil_mode), LpPool-22 (bfloat16).
    """
    axes = pool_axes(x.shape, kernel_shape, **windows)
    sums = _reduce_windows(np.add, _powers(x, p), axes, 0)
    return _root(sums, p).astype(x.dtype, copy=False)


@op("LpPool", since=1)
@attributes_of(lp_pool, without=["ceil_mode", "dilations"])
def lp_pool_1(x, *, kernel_shape=None, p=2.0, **windows):
    """LpPool whose p may be a fraction. Spec: LpPool-1."""
    if kernel_shape is None:
        raise ValueError("LpPool needs kernel_shape")
    return lp_pool(x, kernel_shape=kernel_shape, p=p, **windows)


def _powers(x: np.ndarray, p: float) -> np.ndarray:
    """|x| ** p, in the dtype to add up in."""
    if p <= 0:
        raise ValueError(f"p {p} should be positive")
    x = x.astype(working_dtype(x.dtype), copy=False)
    return x * x if p == 2 else np.abs(x) ** x.dtype.type(p)


def _root(sums: np.ndarray, p: float) -> np.ndarray:
    return np.sqrt(sums) if p == 2 else sums ** sums.dtype.type(1 / p)


@op("GlobalAveragePool", since=1)
def global_average_pool(x):
    """y[n, c] = mean of x[n, c]; x (N, C, D1 … Dn), y (N, C, 1 … 1)

    Spec: GlobalAveragePool-1, GlobalAveragePool-22 (bfloat16).
    """
    return (_global_sum(x) / _spatial_size(x)).astype(x.dtype, copy=False)


global_average_pool.bind(bind_global_average_pool)


@op("GlobalLpPool", since=2)
def global_lp_pool(x, *, p=2):
    """y[n, c] = (sum of |x[n, c]| ** p) ** (1 / p); x (N, C, D1 … Dn), y (N, C, 1 … 1)

    Spec: GlobalLpPool-2, GlobalLpPool-22 (bfloat16).
    """
    _spatial_size(x)
    return _root(_global_sum(_powers(x, p)), p).astype(x.dtype, copy=False)


@op("GlobalLpPool", since=1, until=2)
def global_lp_pool_1(x, *, p=2.0):
    """GlobalLpPool whose p may be a fraction. Spec: GlobalLpPool-1."""
    return global_lp_pool(x, p=p)


@op("GlobalMaxPool", since=1)
def global_max_pool(x):
    """y[n, c] = largest of x[n, c]; x (N, C, D1 … Dn), y (N, C, 1 … 1)

    Spec: GlobalMaxPool-1, GlobalMaxPool-22 (bfloat16).
    """
    _spatial_size(x)
    return np.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def _spatial_size(x: np.ndarray) -> int:
    if x.ndim < 3 or 0 in x.shape[2:]:
        raise ValueError(f"input {x.shape} should be (N, C, D1, …) with something to pool")
    return math.prod(x.shape[2:])


def _global_sum(x: np.ndarray) -> np.ndarray:
    """The sum over all spatial axes. Not as a product with ones, though that is faster: BLAS may
    round its columns differently, and channels that are equal should have equal sums."""
    _spatial_size(x)
    return np.sum(x, tuple(range(2, x.ndim)), working_dtype(x.dtype), keepdims=True)


# Maxima (and sums) are computed along one axis after the other, with two arrays at a time. Plain
# calls process a few samples at a time, bound ones all samples, and may reorder x before.


def _cost_of_sums(x: np.ndarray, axes: Sequence[Axis], item: int) -> Cost:
    shape, sizes, work = list(x.shape), [0, x.size], 0
    samples = max(1, BLOCK_BYTES // 2 // max(1, x[:1].size * item))
    for position, axis in enumerate(axes, 2):
        shape[position] = axis.windows
        sizes.append(size(shape))
        work += axis.kernel * (2 * PER_ITEM + 5 * sizes[-1])
        work += axis.kernel * PER_CALL * (1 + len(x) // samples)
    largest = max(sum(sizes[i : i + 3]) for i in range(len(sizes) - 1))
    taps = 2 * PER_ARRAY * max((axis.kernel for axis in axes), default=0)
    return Cost(item * largest + taps + 40 * sum(axis.windows for axis in axes), work)


def cost_of_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int] = (),
    count_include_pad: int = 0,
    p: float = 2,
    storage_order: int = 0,
    n_outputs: int = 1,
    _powers: int = 0,
    _mean: bool = False,
    **windows: Any,
) -> Cost:
    """``_powers``: the number of copies of x for its powers; ``_mean``: sums are divided by
    counts."""
    axes = pool_axes(x.shape, kernel_shape, **windows)
    summed = bool(_powers) or _mean
    item = working_dtype(x.dtype).itemsize if summed else x.itemsize
    cost = _cost_of_sums(x, axes, item)
    count = size(axis.windows for axis in axes)
    y = x.shape[0] * x.shape[1] * count
    memory, work = cost.memory, cost.work + 60 * (y + x.size)
    if summed:
        memory += _powers * item * x.size + item * y + (x.itemsize * y if x.itemsize < 4 else 0)
        memory += cast_copies(working_dtype(x.dtype), x)
    if _mean:
        memory += 24 * count
    if n_outputs > 1:  # the maxima and their places, once more when those get their channels
        memory = max(memory, x.itemsize * y + (x.itemsize + 20) * y + 8 * size(x.shape[2:]))
        memory += 8 * size(x.shape[2:]) + 2 * PER_ARRAY * sum(kernel_shape)
        work += size(kernel_shape) * (10 * y + 10 * PER_CALL)
    return Cost(memory, work)


max_pool.cost(cost_of_pool)
cost_of_average_pool = average_pool.cost(functools.partial(cost_of_pool, _mean=True))
lp_pool.cost(functools.partial(cost_of_pool, _powers=2))
lp_pool_1.cost(functools.partial(cost_of_pool, _powers=2))


@global_average_pool.cost
@global_max_pool.cost
def cost_of_global_pool(x: np.ndarray) -> Cost:
    """Sums in float, and means; maxima need no more."""
    item = working_dtype(x.dtype).itemsize
    return Cost((2 * item + x.itemsize) * math.prod(x.shape[:2]), 100 * x.size)


@global_lp_pool.cost
@global_lp_pool_1.cost
def cost_of_global_lp_pool(x: np.ndarray, *, p: float = 2) -> Cost:
    work = working_dtype(x.dtype)
    copies = 1 if p == 2 else 2
    memory = cast_copies(work, x) + copies * work.itemsize * x.size + 24 * math.prod(x.shape[:2])
    return Cost(memory, (60 if p == 2 else 800) * x.size)


@op("MaxUnpool", since=9)
def max_unpool(x, i, output_shape=None, *, kernel_shape, pads=None, strides=None):
    """y.flat[i] = x, and zero elsewhere: the partial inverse of MaxPool, whose outputs are x and i

    x and i (N, C, O1 … On), i int64; y has output_shape, or D = (O - 1) * stride + kernel - pads.

    Spec: MaxUnpool-9, MaxUnpool-22 (bfloat16).
    """
    rank = x.ndim - 2
    if rank < 1 or rank != len(kernel_shape) or i.shape != x.shape:
        raise ValueError(
            f"input {x.shape} and indices {i.shape} should have the same shape, of rank "
            f"{len(kernel_shape) + 2} for kernel_shape {list(kernel_shape)}"
        )
    shape = _unpooled_shape(x, output_shape, kernel_shape, pads, strides)
    if len(shape) != x.ndim or min(shape) < 0:
        raise ValueError(f"output_shape {list(shape)} and input {x.shape} are incompatible")
    y = np.zeros(math.prod(shape), x.dtype)
    if i.size and not (i.min() >= 0 and i.max() < y.size):
        raise ValueError(
            f"indices from {i.min()} to {i.max()} are out of range for an output of {list(shape)}"
        )
    y[i.reshape(-1)] = x.reshape(-1)
    return y.reshape(shape)


def _unpooled_shape(
    x: np.ndarray,
    output_shape: np.ndarray | None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
) -> tuple[int, ...]:
    rank = x.ndim - 2
    if output_shape is not None:
        # The indices refer to the output, like those of MaxPool. ONNX's own case takes them to
        # refer to the smaller shape, which is padded: github.com/onnx/onnx/issues/2398.
        shape = as_ints(output_shape)
        if len(shape) == x.ndim and shape[:2] != x.shape[:2]:
            raise ValueError(f"output_shape {list(shape)} should begin with {x.shape[:2]}")
        return shape
    strides = per_axis("strides", strides, rank, default=1, least=1)
    pads = per_axis("pads", pads, 2 * rank, default=0, least=0)
    spatial = zip(x.shape[2:], strides, kernel_shape, pads[:rank], pads[rank:], strict=True)
    return x.shape[:2] + tuple(
        (size - 1) * stride + kernel - begin - end for size, stride, kernel, begin, end in spatial
    )


@max_unpool.cost
def cost_of_max_unpool(
    x: np.ndarray,
    i: np.ndarray,
    output_shape: np.ndarray | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Cost:
    cost = fill_cost(_unpooled_shape(x, output_shape, kernel_shape, pads, strides), x.dtype)
    return Cost(cost.memory + reshape_bytes(x, i), cost.work + 30 * x.size)


@op("MaxRoiPool", since=1)
def max_roi_pool(x, rois, *, pooled_shape, spatial_scale=1.0):
    """y[r, c, i, j] = largest value of x[batch, c] in cell (i, j) of a grid laid over region r

    x (N, C, H, W), rois (R, 5) as [batch, x1, y1, x2, y2], corners included, rounded after scaling;
    y (R, C, pooled height, pooled width). A cell takes every pixel that it touches; an empty one
    gives 0.

    Spec: MaxRoiPool-1, MaxRoiPool-22 (bfloat16).
    """
    if x.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5 or len(pooled_shape) != 2:
        raise ValueError(
            f"input {x.shape}, rois {rois.shape} and pooled_shape {list(pooled_shape)} "
            "should be (N, C, H, W), (R, 5) and two numbers"
        )
    batch = rois[:, 0].astype(np.int64)
    if batch.size and not (batch.min() >= 0 and batch.max() < len(x)):
        raise ValueError(
            f"batch indices {batch.min()} to {batch.max()} of rois should be below {len(x)}"
        )
    y = np.zeros((len(rois), x.shape[1], *pooled_shape), x.dtype)
    for place, cell in roi_cells(x.shape, rois, pooled_shape, spatial_scale):
        y[place] = x[cell].max(axis=(1, 2))
    return y


@max_roi_pool.cost
def cost_of_max_roi_pool(
    x: np.ndarray, rois: np.ndarray, *, pooled_shape: Sequence[int], **_: Any
) -> Cost:
    """A call for each cell. Cells touch, so that two of them may read the same pixel; one cell at a
    time may be copied."""
    rows, columns = (max(0, int(n)) for n in pooled_shape)
    regions, channels = len(rois), x.shape[1]
    pixels = channels * (x.shape[2] + 2 * rows) * (x.shape[3] + 2 * columns)
    cost = fill_cost((regions, channels, rows, columns), x.dtype)
    memory = cost.memory + 80 * rois.size + PER_ARRAY * (rows + columns) + x[:1].nbytes
    calls = regions * (rows + 1) * (columns + 1)
    return Cost(memory, cost.work + calls * 4 * PER_CALL + 10 * regions * pixels)


@max_pool.flops
@average_pool.flops
@lp_pool.flops
@lp_pool_1.flops
def flops_of_pool(outputs, x, *, kernel_shape=None, **_):
    return outputs[0].size * math.prod(kernel_shape or (1,))


declare(global_average_pool, global_max_pool, flops=flops.per_input)
declare(
    max_pool, average_pool, lp_pool, lp_pool_1, global_average_pool, global_max_pool,
    global_lp_pool, global_lp_pool_1, batch_axis=batch.first_axis,
)  # fmt: skip
declare(max_pool, average_pool, lp_pool, lp_pool_1, choices=AUTO_PAD)
max_pool.counts_outputs(False)
max_roi_pool.no_gradient_of("rois")
