"""Reductions along axes, ArgMax and ArgMin, and the cumulative sum and product.

Every reduction takes axes (none: all of them) and keepdims (1: the reduced axes stay, with one
element). The axes were an attribute at first and became an input in opset 13 (ReduceSum) or 18
(the others), together with noop_with_empty_axes=1, with which no axes means none of them. The
operation on each element (square, logarithm …) is done nevertheless.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, Rule
from onnxwalk.ops.contract.dtypes import is_short_float
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.reduce import (
    bind_reduce_mean,
    bind_reduce_sum,
    cumulative_binder,
    extreme_binder,
)
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.axes import normalize_axes, normalize_axis
from onnxwalk.ops.shared.cost import line_count, reduced_size, rounding, wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import dtype_limits, wide
from onnxwalk.ops.shared.sums import BLOCK, sum_over
from onnxwalk.ops.shared.values import as_ints

Axes = tuple[int, ...]
Reduction = Callable[[np.ndarray, Axes, Any], Any]


def reduction(
    name: str,
    *,
    axes_are_input_since: int = 18,
    copies: float = 0,
    real: bool = False,
    vjp: Callable[..., np.ndarray],
    bind: Callable[..., Any] | None = None,
) -> Callable[[Reduction], Reduction]:
    """Register a function of (data, axes, keepdims) as every version of an operator.

    There are ``copies`` of data at once; ``real``: integers become numbers of 8 bytes first;
    ``vjp``: the rule of its gradient.
    """
    cost = cost_of_reduction(copies, real)

    def register(function: Reduction) -> Reduction:
        @op(name, since=axes_are_input_since)
        def by_input(
            data: np.ndarray,
            axes: np.ndarray | None = None,
            *,
            keepdims: int = 1,
            noop_with_empty_axes: int = 0,
        ) -> np.ndarray:
            chosen = () if axes is None else as_ints(axes)
            return function(
                data, _choose_axes(data.ndim, chosen, noop_with_empty_axes), bool(keepdims)
            )

        @op(name, since=1, until=axes_are_input_since)
        def by_attribute(
            data: np.ndarray, *, axes: Sequence[int] | None = None, keepdims: int = 1
        ) -> np.ndarray:
            return function(data, _choose_axes(data.ndim, axes or (), 0), bool(keepdims))

        by_input.__doc__ = by_attribute.__doc__ = function.__doc__
        facts = {} if bind is None else {"bind": bind}
        declare(
            by_input,
            by_attribute,
            cost=cost,
            flops=flops.per_input,
            batch_axis=batch.reduction,
            vjp=vjp,
            **facts,
        )
        return function

    return register


def _choose_axes(rank: int, axes: Sequence[int], noop_with_empty_axes: int) -> Axes:
    if len(axes) == 0:
        return () if noop_with_empty_axes else tuple(range(rank))
    return normalize_axes(axes, rank)


def cost_of_reduction(copies: float, real: bool) -> Rule:
    def rule(
        data: np.ndarray, axes: Any = None, *, noop_with_empty_axes: int = 0, **_: Any
    ) -> Cost:
        chosen = () if axes is None else as_ints(axes)
        reduced = _choose_axes(data.ndim, chosen, noop_with_empty_axes)
        item, cast = wide_itemsize(data.dtype), wide_copies(data)
        if real and data.dtype.kind in "iu":
            item, cast = 8, 8 * data.size
        blocks = 0  # see ``ops.shared.sums``
        if len(reduced) == 1 and data.shape[reduced[0]] > 2 * BLOCK:
            blocks = item * data.size // 16
        memory = math.ceil(copies * item * data.size) + cast + blocks
        lines = reduced_size(data.shape, reduced)
        work = (10 + (60 if real or copies else 0)) * data.size + rounding(data.dtype) * lines
        return Cost(memory + 4 * item * lines, work)

    return rule


# ------------------------------------------------------------------------------- their gradients
# axes are an input or an attribute, as the version has it.


def _spread(y: np.ndarray, shape: Axes, axes: Any, keepdims: int, noop: int) -> np.ndarray:
    """A result of a reduction in the shape of the data that was reduced, as a view."""
    chosen = _choose_axes(len(shape), () if axes is None else as_ints(axes), noop)
    kept = y if keepdims else np.expand_dims(y, chosen)
    return np.broadcast_to(kept, shape)


def _vjp_of_sum(dy, *, data_shape, axes, keepdims, noop_with_empty_axes=0):
    return _spread(dy, data_shape, axes, keepdims, noop_with_empty_axes)


def _vjp_of_mean(dy, *, data_shape, axes, keepdims, noop_with_empty_axes=0):
    n = math.prod(data_shape) // max(dy.size, 1)
    return _spread(dy / max(n, 1), data_shape, axes, keepdims, noop_with_empty_axes)


def _vjp_of_max(dy, data, *, y, axes, keepdims, noop_with_empty_axes=0):
    """Equal shares for all that are the largest (or smallest), as in TensorFlow."""
    how = data.shape, axes, keepdims, noop_with_empty_axes
    chosen = _choose_axes(data.ndim, () if axes is None else as_ints(axes), noop_with_empty_axes)
    best = data == _spread(y, *how)
    return best * (_spread(dy, *how) / best.sum(chosen, dy.dtype, keepdims=True))


_vjp_of_min = _vjp_of_max


def _vjp_of_prod(dy, data, *, axes, keepdims, noop_with_empty_axes=0):
    """The product of the others: of those before and of those after, since one may be 0."""
    how = data.shape, axes, keepdims, noop_with_empty_axes
    chosen = _choose_axes(data.ndim, () if axes is None else as_ints(axes), noop_with_empty_axes)
    last = tuple(range(data.ndim - len(chosen), data.ndim))
    lines = np.moveaxis(data, chosen, last)
    count = math.prod(lines.shape[data.ndim - len(chosen) :])
    flat = lines.reshape(*lines.shape[: data.ndim - len(chosen)], count)
    before, after = np.ones_like(flat), np.ones_like(flat)
    np.multiply.accumulate(flat[..., :-1], -1, out=before[..., 1:])
    np.multiply.accumulate(flat[..., :0:-1], -1, out=after[..., -2::-1])
    others = np.moveaxis((before * after).reshape(lines.shape), last, chosen)
    return _spread(dy, *how) * others


def _vjp_of_l1(dy, data, *, axes, keepdims, noop_with_empty_axes=0):
    return _spread(dy, data.shape, axes, keepdims, noop_with_empty_axes) * np.sign(data)


def _vjp_of_sum_square(dy, data, *, axes, keepdims, noop_with_empty_axes=0):
    return _spread(2 * dy, data.shape, axes, keepdims, noop_with_empty_axes) * data


def _vjp_of_l2(dy, data, *, y, axes, keepdims, noop_with_empty_axes=0):
    """data / y; where all data are 0, 0."""
    scaled = dy / np.where(y == 0, 1, y)
    return _spread(scaled, data.shape, axes, keepdims, noop_with_empty_axes) * data


def _vjp_of_log_sum(dy, *, y, data_shape, axes, keepdims, noop_with_empty_axes=0):
    return _spread(dy * np.exp(-y), data_shape, axes, keepdims, noop_with_empty_axes)


def _vjp_of_log_sum_exp(dy, data, *, y, axes, keepdims, noop_with_empty_axes=0):
    """The softmax of the data."""
    how = data.shape, axes, keepdims, noop_with_empty_axes
    return _spread(dy, *how) * np.exp(data - _spread(y, *how))


# Short floats are summed and multiplied in float32 and rounded once; integers in their own dtype,
# where NumPy left to itself would use a longer one.


@reduction("ReduceSum", axes_are_input_since=13, bind=bind_reduce_sum, vjp=_vjp_of_sum)
def reduce_sum(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """Σ data; of nothing 0. Spec: ReduceSum-1, -11, -13."""
    return sum_over(data, axes, keepdims).astype(data.dtype, copy=False)


@reduction("ReduceMean", real=True, bind=bind_reduce_mean, vjp=_vjp_of_mean)
def reduce_mean(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """Σ data / n; of integers, cut to an integer. Spec: ReduceMean-1, -11, -13, -18."""
    n = math.prod(data.shape[axis] for axis in axes)
    if data.dtype.kind not in "iu":
        return (sum_over(data, axes, keepdims) / n).astype(data.dtype, copy=False)
    longest = np.dtype(np.int64 if data.dtype.kind == "i" else np.uint64)
    total = sum_over(data.astype(longest), axes, keepdims)
    if n == 0 and total.size:
        raise ValueError(f"ReduceMean of no elements is undefined for {data.dtype}")
    return (np.sign(total) * (np.abs(total) // longest.type(max(n, 1)))).astype(data.dtype)


@reduction("ReduceMax", bind=extreme_binder(np.maximum), vjp=_vjp_of_max)
def reduce_max(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """The largest of data; nan where there is one; of nothing -∞ or the dtype's lowest value.

    Spec: ReduceMax-1, -11, -12, -13, -18, -20 (bool).
    """
    if data.size:
        return np.maximum.reduce(data, axes, keepdims=keepdims)
    lowest = dtype_limits(data.dtype)[0] if data.dtype.kind in "biu" else -np.inf
    return _reduce_empty(data, axes, keepdims, lowest)


@reduction("ReduceMin", bind=extreme_binder(np.minimum), vjp=_vjp_of_min)
def reduce_min(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """The smallest of data; nan where there is one; of nothing +∞ or the dtype's highest value.

    Spec: ReduceMin-1, -11, -12, -13, -18, -20 (bool).
    """
    if data.size:
        return np.minimum.reduce(data, axes, keepdims=keepdims)
    highest = dtype_limits(data.dtype)[1] if data.dtype.kind in "biu" else np.inf
    return _reduce_empty(data, axes, keepdims, highest)


def _reduce_empty(data: np.ndarray, axes: Axes, keepdims: bool, value: Any) -> np.ndarray:
    shape = np.empty(data.shape, np.bool_).any(axes, keepdims=keepdims).shape
    return np.full(shape, value, data.dtype)


@reduction("ReduceProd", vjp=_vjp_of_prod)
def reduce_prod(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """Π data; of nothing 1. Spec: ReduceProd-1, -11, -13, -18."""
    factors = wide(data)
    product = np.multiply.reduce(factors, axes, factors.dtype, keepdims=keepdims)
    return product.astype(data.dtype, copy=False)


@reduction("ReduceL1", copies=1, vjp=_vjp_of_l1)
def reduce_l1(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """Σ |data|; of nothing 0. Spec: ReduceL1-1, -11, -13, -18."""
    return reduce_sum(np.abs(data), axes, keepdims)


@reduction("ReduceSumSquare", copies=1, vjp=_vjp_of_sum_square)
def reduce_sum_square(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """Σ data²; of nothing 0. Spec: ReduceSumSquare-1, -11, -13, -18."""
    return sum_over(np.square(wide(data)), axes, keepdims).astype(data.dtype, copy=False)


# Roots and logarithms of integers are taken in float64 and cut to integers, as a cast would.


def _to_float(data: np.ndarray) -> np.ndarray:
    return data.astype(np.float64) if data.dtype.kind in "iu" else wide(data)


@reduction("ReduceL2", copies=1, real=True, vjp=_vjp_of_l2)
def reduce_l2(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """√Σ data²; of nothing 0. Spec: ReduceL2-1, -11, -13, -18."""
    return np.sqrt(sum_over(np.square(_to_float(data)), axes, keepdims)).astype(
        data.dtype, copy=False
    )


@reduction("ReduceLogSum", real=True, vjp=_vjp_of_log_sum)
def reduce_log_sum(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """ln Σ data; of nothing -∞. Spec: ReduceLogSum-1, -11, -13, -18, -28 (floats only)."""
    return np.log(sum_over(_to_float(data), axes, keepdims)).astype(data.dtype, copy=False)


@reduction("ReduceLogSumExp", copies=2, real=True, vjp=_vjp_of_log_sum_exp)
def reduce_log_sum_exp(data: np.ndarray, axes: Axes, keepdims: Any) -> Any:
    """ln Σ exp(data); of nothing -∞. Spec: ReduceLogSumExp-1, -11, -13, -18, -28 (floats only)."""
    # = m + ln Σ exp(data - m), which with the largest value for m cannot overflow
    real = _to_float(data)
    largest = reduce_max(real, axes, True)
    largest = np.where(np.isfinite(largest), largest, real.dtype.type(0))
    logarithm = np.log(sum_over(np.exp(real - largest), axes, True)) + largest
    if not keepdims:
        logarithm = np.squeeze(logarithm, axes)
    return logarithm.astype(data.dtype, copy=False)


# ---------------------------------------------------------------------------- where the extreme is


@op("ArgMax", since=12)
@op("ArgMax", since=1, until=12, without=["select_last_index"])
def arg_max(
    data: np.ndarray, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> np.ndarray:
    """The index of the largest element along an axis, the first or the last if there are several.

    Spec: ArgMax-1, -11, -12, -13.
    """
    return _find_extreme(np.argmax, data, axis, keepdims, select_last_index)


@op("ArgMin", since=12)
@op("ArgMin", since=1, until=12, without=["select_last_index"])
def arg_min(
    data: np.ndarray, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> np.ndarray:
    """The index of the smallest element along an axis, the first or the last if there are several.

    Spec: ArgMin-1, -11, -12, -13.
    """
    return _find_extreme(np.argmin, data, axis, keepdims, select_last_index)


def _find_extreme(find: Any, data: np.ndarray, axis: int, keepdims: int, last: int) -> np.ndarray:
    axis = normalize_axis(axis, data.ndim)
    if data.shape[axis] == 0:
        raise ValueError(f"axis {axis} of shape {data.shape} is empty")
    if not last:
        return find(data, axis, keepdims=bool(keepdims)).astype(np.int64, copy=False)
    index = find(np.flip(data, axis), axis, keepdims=bool(keepdims))
    return np.asarray(data.shape[axis] - 1 - index, np.int64)


@arg_max.cost
@arg_min.cost
def cost_of_arg(data: np.ndarray, *, axis: int = 0, select_last_index: int = 0, **_: Any) -> Cost:
    """NumPy copies what doesn't lie in memory along the axis."""
    last = normalize_axis(axis, data.ndim) == data.ndim - 1
    straight = last and data.flags.c_contiguous and not select_last_index
    copies = 0 if straight else data.nbytes
    return Cost(copies + 24 * line_count(data, axis), 30 * data.size)


# ----------------------------------------------------------------------------------- running totals


@op("CumSum", since=11)
def cum_sum(x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0) -> np.ndarray:
    """yᵢ = x₀ + … + xᵢ along an axis; exclusive: up to xᵢ₋₁; reverse: from the end.

    Spec: CumSum-11, -14.
    """
    return _accumulate(np.add, 0, x, axis, exclusive, reverse)


cum_sum.bind(cumulative_binder(np.add, 0))


@op("CumProd", since=26)
def cum_prod(
    x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0
) -> np.ndarray:
    """yᵢ = x₀ · … · xᵢ along an axis; exclusive: up to xᵢ₋₁; reverse: from the end.

    Spec: CumProd-26.
    """
    return _accumulate(np.multiply, 1, x, axis, exclusive, reverse)


cum_prod.bind(cumulative_binder(np.multiply, 1))


def _accumulate(
    ufunc: np.ufunc, start: int, x: np.ndarray, axis: np.ndarray, exclusive: int, reverse: int
) -> np.ndarray:
    if axis.size != 1:
        raise ValueError(f"axis should be a scalar, got shape {axis.shape}")
    along = normalize_axis(axis.item(), x.ndim)
    lines = np.moveaxis(wide(x), along, -1)
    y = np.empty(x.shape, lines.dtype)
    running = np.moveaxis(y, along, -1)
    if reverse:
        lines, running = lines[..., ::-1], running[..., ::-1]
    if exclusive:
        running[..., :1] = start
        lines, running = lines[..., :-1], running[..., 1:]
    ufunc.accumulate(lines, -1, lines.dtype, running)
    return y.astype(x.dtype) if is_short_float(x.dtype) else y


@cum_sum.cost
@cum_prod.cost
def cost_of_cumulative(x: np.ndarray, axis: np.ndarray, **_: Any) -> Cost:
    memory = wide_copies(x) + wide_itemsize(x.dtype) * x.size
    work = (100 + rounding(x.dtype)) * x.size
    return Cost(memory + (x.nbytes if wide_copies(x) else 0), work)


@cum_sum.vjp
def vjp_of_cum_sum(dy, *, axis, exclusive, reverse):
    """The sum from the other side."""
    return cum_sum(dy, axis, exclusive=exclusive, reverse=int(not reverse))


@cum_prod.vjp
def vjp_of_cum_prod(dy, x, axis, *, exclusive, reverse):
    """For each factor, the sum of what it is in: the products up to the others."""
    along = normalize_axis(axis.item(), x.ndim)
    lines, d_lines = np.moveaxis(x, along, -1), np.moveaxis(dy, along, -1)
    if reverse:
        lines, d_lines = lines[..., ::-1], d_lines[..., ::-1]
    dx = np.empty_like(lines)
    for i in range(lines.shape[-1]):  # without a division, since a factor may be 0
        others = lines.copy()
        others[..., i] = 1
        products = np.multiply.accumulate(others, -1)
        used = (
            (d_lines[..., i + 1 :], products[..., i:-1])
            if exclusive
            else (d_lines[..., i:], products[..., i:])
        )
        dx[..., i] = (used[0] * used[1]).sum(-1)
    return np.moveaxis(dx[..., ::-1] if reverse else dx, -1, along)


declare(arg_max, arg_min, vjp=no_gradient)
declare(arg_max, arg_min, flops=flops.per_input, batch_axis=batch.axis_reduction)
cum_sum.flops(flops.per_input)
cum_prod.flops(flops.per_input)
