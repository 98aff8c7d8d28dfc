"""Softmax and its family: Softmax, LogSoftmax, Hardmax.

Until opset 13 the input was flattened to a matrix at ``axis``, and each row was one distribution;
from 13 on each line along ``axis`` is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, Rule
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.softmax import bind_log_softmax, bind_softmax, bind_softmax_flattened
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import (
    line_count,
    reshape_bytes,
    rounding,
    wide_copies,
    wide_itemsize,
)
from onnxwalk.ops.shared.numeric import in_float32, result_like, wide


@op("Softmax", since=13)
def softmax(x: np.ndarray, *, axis: int = -1, out: np.ndarray | None = None) -> np.ndarray:
    """exp(x) / sum(exp(x)) along one axis.

    Short floats are rounded after each operation, as in the spec's function body; only the sum is
    added up in float32. Spec: Softmax-13.
    """
    axis = normalize_axis(axis, x.ndim)
    y = result_like(x, out)
    if x.size == 0:
        return y
    # exp(x - max) / sum(exp(x - max)) is the same number and cannot overflow
    np.subtract(x, x.max(axis, keepdims=True), out=y)
    np.exp(y, out=y)
    total = wide(y).sum(axis, keepdims=True)
    return np.divide(y, total.astype(y.dtype, copy=False), out=y)


softmax.bind(bind_softmax)


@op("Softmax", since=1, until=13)
def softmax_flattened(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """exp(x) / sum(exp(x)) over axis, axis + 1, … together. Spec: Softmax-1, -11."""
    return softmax(_flatten(x, axis), axis=1).reshape(x.shape)


softmax_flattened.bind(bind_softmax_flattened)


@op("LogSoftmax", since=13)
@in_float32
def log_softmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """x - ln(sum(exp(x))) along one axis. Spec: LogSoftmax-13."""
    axis = normalize_axis(axis, x.ndim)
    if x.size == 0:
        return np.empty_like(x)
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


log_softmax.bind(bind_log_softmax)


@op("LogSoftmax", since=1, until=13)
def log_softmax_flattened(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """x - ln(sum(exp(x))) over axis, axis + 1, … together. Spec: LogSoftmax-1, -11."""
    return log_softmax(_flatten(x, axis), axis=1).reshape(x.shape)


@op("Hardmax", since=13)
def hardmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """1 at the first maximum along one axis, 0 elsewhere. Spec: Hardmax-13."""
    axis = normalize_axis(axis, x.ndim)
    y = np.zeros_like(x)
    if x.size:
        np.put_along_axis(y, x.argmax(axis, keepdims=True), x.dtype.type(1), axis)
    return y


@op("Hardmax", since=1, until=13)
def hardmax_flattened(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """1 at the first maximum over axis, axis + 1, … together. Spec: Hardmax-1, -11."""
    return hardmax(_flatten(x, axis), axis=1).reshape(x.shape)


def cost_of_softmax(copies: float, per_line: int, flattened: bool = False) -> Rule:
    """The rule for ``copies`` arrays of x's size and ``per_line`` numbers for each line of the
    axis."""

    def rule(x: np.ndarray, *, axis: int = 1 if flattened else -1, **_: Any) -> Cost:
        before = x.shape[: normalize_axis(axis, x.ndim)]
        lines = math.prod(before) if flattened else line_count(x, axis)
        memory = wide_itemsize(x.dtype) * (copies * x.size + per_line * lines)
        memory += wide_copies(x) + (reshape_bytes(x) if flattened else 0)
        if wide_copies(x):
            memory += x.nbytes
        return Cost(math.ceil(memory), (60 + rounding(x.dtype)) * x.size)

    return rule


softmax.cost(cost_of_softmax(1, 2))
softmax_flattened.cost(cost_of_softmax(1, 2, flattened=True))
log_softmax.cost(cost_of_softmax(2, 3))
log_softmax_flattened.cost(cost_of_softmax(2, 3, flattened=True))
hardmax.cost(cost_of_softmax(1, 10))
hardmax_flattened.cost(cost_of_softmax(1, 10, flattened=True))


def _flatten(x: np.ndarray, axis: int) -> np.ndarray:
    """x as a matrix: the axes before ``axis`` are the rows, the rest the columns."""
    axis = normalize_axis(axis, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


# ------------------------------------------------------------------------------------- gradients


@softmax.vjp
def vjp_of_softmax(dy, *, y, axis):
    """y·(dy - Σ dy·y)"""
    scaled = dy * y
    return scaled - y * scaled.sum(axis, keepdims=True)


@softmax_flattened.vjp
def vjp_of_softmax_flattened(dy, *, y, axis):
    dx = vjp_of_softmax(_flatten(dy, axis), y=_flatten(y, axis), axis=1)
    return dx.reshape(y.shape)


@log_softmax.vjp
def vjp_of_log_softmax(dy, *, y, axis):
    """dy - exp(y)·Σ dy"""
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


@log_softmax_flattened.vjp
def vjp_of_log_softmax_flattened(dy, *, y, axis):
    dx = vjp_of_log_softmax(_flatten(dy, axis), y=_flatten(y, axis), axis=1)
    return dx.reshape(y.shape)


declare(hardmax, hardmax_flattened, vjp=no_gradient)


# ------------------------------------------------------------------------------------------- facts

declare(softmax, log_softmax, hardmax, batch_axis=batch.along_axis)
declare(softmax_flattened, log_softmax_flattened, hardmax_flattened, batch_axis=batch.trailing_axes)
declare(softmax, softmax_flattened, log_softmax, log_softmax_flattened, flops=flops.per_output(4))
