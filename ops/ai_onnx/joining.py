"""Operators that join tensors and take them apart: Concat and Split. Parts are views."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.copies import bind_concat
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_ITEM, total_bytes
from onnxwalk.ops.shared.values import all_ints


@op("Concat", since=4)
def concat(*inputs, axis, out=None):
    """The inputs joined along ``axis``. Spec: Concat-4, Concat-11."""
    return concatenate(inputs, axis, out)


concat.bind(bind_concat)


@op("Concat", since=1, until=4)
def concat_1(*inputs, axis=None):
    """Concat whose ``axis`` is 1 unless given. Spec: Concat-1."""
    return concatenate(inputs, 1 if axis is None else axis)


def concatenate(
    inputs: Sequence[np.ndarray], axis: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Concatenate tensors of one type that differ at most in the size of ``axis``."""
    if not inputs:
        raise ValueError("Concat needs at least one input")
    first = inputs[0]
    axis = normalize_axis(axis, first.ndim)
    for other in inputs[1:]:
        if other.dtype != first.dtype:
            raise ValueError(f"can't concatenate {first.dtype} and {other.dtype}")
        if (
            other.ndim != first.ndim
            or other.shape[:axis] != first.shape[:axis]
            or other.shape[axis + 1 :] != first.shape[axis + 1 :]
        ):
            raise ValueError(f"can't concatenate {first.shape} and {other.shape} on axis {axis}")
    return np.concatenate(inputs, axis=axis, out=out)


@concat.cost
@concat_1.cost
def cost_of_concat(*inputs: np.ndarray, **_: Any) -> Cost:
    memory = total_bytes(inputs)
    return Cost(memory, memory + PER_ITEM * len(inputs))


@concat.vjp
@concat_1.vjp
def vjp_of_concat(dy, *, inputs_shape, axis):
    along = normalize_axis(1 if axis is None else axis, dy.ndim)
    return split_views(dy, [shape[along] for shape in inputs_shape], along)


@op("Split", since=18)
def split(input, split=None, *, axis=0, num_outputs=None):
    """Views of consecutive parts: of the lengths in ``split``, or ``num_outputs`` equal ones.

    When the size isn't a multiple of ``num_outputs``, the last part is smaller. Spec: Split-18.
    """
    axis = normalize_axis(axis, input.ndim)
    if (split is None) == (num_outputs is None):
        raise ValueError("Split needs either the input 'split' or the attribute 'num_outputs'")
    if split is not None:
        return split_views(input, all_ints(split), axis)
    total = input.shape[axis]
    length = -(-total // num_outputs) if num_outputs > 0 else 0
    last = total - length * (num_outputs - 1)
    if length < 0 or last < 0 or num_outputs < 1:
        raise ValueError(f"can't split size {total} into {num_outputs} parts")
    return split_views(input, (length,) * (num_outputs - 1) + (last,), axis)


@op("Split", since=13)
def split_13(input, split=None, *, axis=0, n_outputs):
    """Views of parts of the lengths in ``split``, or one equal part per output. Spec: Split-13."""
    return _split(input, None if split is None else all_ints(split), axis, n_outputs)


@op("Split", since=2)
def split_2(input, *, split=None, axis=0, n_outputs):
    """Split with the lengths as an attribute. Spec: Split-2, Split-11."""
    return _split(input, split, axis, n_outputs)


@op("Split", since=1, until=2)
def split_1(input, lengths=None, *, split=None, axis=None, n_outputs):
    """Split with the lengths as an attribute or an input. Spec: Split-1."""
    if lengths is not None:
        if not np.isfinite(lengths).all():  # they come in the input's type
            raise ValueError(f"lengths {lengths.tolist()} should be integers")
        split = [int(length) for length in all_ints(lengths)]
    return _split(input, split, 0 if axis is None else axis, n_outputs)


def _split(
    input: np.ndarray, lengths: Sequence[int] | None, axis: int, n_outputs: int
) -> tuple[np.ndarray, ...]:
    axis = normalize_axis(axis, input.ndim)
    if lengths is None:
        total = input.shape[axis]
        if total % n_outputs:
            raise ValueError(f"can't split size {total} into {n_outputs} equal parts")
        lengths = (total // n_outputs,) * n_outputs
    return split_views(input, lengths, axis)


def split_views(input: np.ndarray, lengths: Sequence[int], axis: int) -> tuple[np.ndarray, ...]:
    """Views of consecutive parts of these lengths, which must add up to the size of the axis."""
    if sum(lengths) != input.shape[axis] or min(lengths, default=0) < 0:
        raise ValueError(f"parts of {tuple(lengths)} don't add up to size {input.shape[axis]}")
    ends = list(itertools.accumulate(lengths))
    index: list[Any] = [slice(None)] * input.ndim
    views = []
    for end, length in zip(ends, lengths, strict=True):
        index[axis] = slice(end - length, end)
        views.append(input[tuple(index)])
    return tuple(views)


@split.vjp
@split_13.vjp
@split_2.vjp
@split_1.vjp
def vjp_of_split(*dys, ys_shape, axis):
    dtype = next(dy.dtype for dy in dys if dy is not None)
    parts = [
        np.zeros(shape, dtype) if dy is None else dy
        for dy, shape in zip(dys, ys_shape, strict=True)
    ]
    return np.concatenate(parts, 0 if axis is None else axis)


split_1.no_gradient_of("lengths")


@split.cost
@split_13.cost
@split_2.cost
@split_1.cost
def cost_of_split(
    input: np.ndarray,
    lengths: np.ndarray | None = None,
    *,
    split: Sequence[int] | None = None,
    num_outputs: int | None = None,
    n_outputs: int = 0,
    **_: Any,
) -> Cost:
    counts = [0 if x is None else len(np.ravel(x)) for x in (lengths, split)]
    return cost_of_views(input, max(*counts, num_outputs or 0, n_outputs))


def cost_of_views(input: np.ndarray, count: int) -> Cost:
    """A view for each part, and its length and end as Python integers."""
    return Cost((PER_ARRAY + 96 + 16 * input.ndim) * count, 2 * PER_ITEM * count)


declare(
    concat, concat_1, split, split_2, split_1, split_13,
    flops=flops.zero,
)  # fmt: skip


@concat.batch_axis
@concat_1.batch_axis
def batch_axis_of_concat(samples, inputs, outputs, *, axis, **_):
    """All inputs have the samples on one axis, which is not the one that is joined."""
    batch.require(len(set(samples)) == 1 and samples[0] != axis % inputs[0].ndim)
    return [samples[0]]
