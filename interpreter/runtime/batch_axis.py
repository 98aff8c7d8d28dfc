"""Does a graph treat the samples of a batch one by one? Then two threads can take half of it each.

NumPy lets go of the interpreter lock inside its functions, so halves of a batch run side by side,
each with a bound plan of its own. Whether that is allowed is worked out by following the axis of
the samples from the inputs to the outputs, operator by operator; an operator that isn't known here,
or that mixes samples, forbids it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.ir.plan import NOTHING, Step
from onnxwalk.interpreter.runtime.bound import Bound


class Mixed(Exception):
    """The samples of a batch can't be told apart behind some operator."""


Axes = Sequence[int | None]  # for each value the axis of its samples; None: it has none
Rule = Callable[[Step, Axes, list[Any], list[Any]], list[int | None]]


def sample_axes(bound: Bound) -> list[int] | None:
    """The axis of each output that counts the samples, if the first axis of all inputs does and
    the graph keeps them apart; else ``None``."""
    values = bound.values
    axes: dict[int, int | None] = dict.fromkeys(range(len(values)))
    sizes = set()
    for slot in bound.plan.inputs:
        if not isinstance(values[slot], np.ndarray) or values[slot].ndim == 0:
            return None
        axes[slot] = 0
        sizes.add(values[slot].shape[0])
    if len(sizes) != 1:
        return None
    try:
        for step in bound.plan.steps:
            given = [axes[slot] for slot in step.inputs]
            if all(axis is None for axis in given):
                continue  # the same for all samples, or a matter of shapes
            if step.node.op_type in ("Shape", "Size"):
                continue
            rule = _RULES.get(step.node.op_type)
            arrays = [values[slot] for slot in step.inputs]
            results = [values[slot] for slot in step.outputs]
            if rule is None or step.node.domain not in ("", "com.microsoft"):
                return None
            for slot, axis in zip(step.outputs, rule(step, given, arrays, results), strict=False):
                if slot != NOTHING:
                    axes[slot] = axis
    except (Mixed, AttributeError, IndexError):
        return None
    found = [axes[slot] for slot in bound.plan.outputs]
    if any(axis is None for axis in found):
        return None
    return [axis for axis in found if axis is not None]


def _need(condition: bool) -> None:
    if not condition:
        raise Mixed


def _elementwise(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    """Counted from the end the samples must be in one place, where others have one element."""
    from_end = {x.ndim - axis for x, axis in zip(arrays, axes, strict=True) if axis is not None}
    _need(len(from_end) == 1 and "broadcast" not in step.node.attributes)
    place = from_end.pop()
    for x, axis in zip(arrays, axes, strict=True):
        if axis is None and x is not None and x.ndim >= place:
            _need(x.shape[x.ndim - place] == 1)
    return [results[0].ndim - place]


def _first(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    _need(all(axis in (0, None) for axis in axes) and axes[0] == 0)
    return [0]


def _transpose(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    perm = step.node.attributes.get("perm") or list(range(arrays[0].ndim))[::-1]
    assert axes[0] is not None
    return [list(perm).index(axes[0])]


def _reshape(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    """The samples keep an axis of their own, with as much before it and behind it."""
    axis, before, after = axes[0], arrays[0].shape, results[0].shape
    _need(axis is not None and axes.count(None) == len(axes) - 1)
    assert axis is not None
    for place, size in enumerate(after):
        if size == before[axis] and math.prod(after[:place]) == math.prod(before[:axis]):
            return [place]
    raise Mixed


def _gather(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    along = step.node.attributes.get("axis", 0) % arrays[0].ndim
    if axes[0] is None:
        assert axes[1] is not None
        return [along + axes[1]]
    _need(axes[1] is None and axes[0] != along)
    return [axes[0] if axes[0] < along else axes[0] + arrays[1].ndim - 1]


def _gather_nd(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    _need(list(axes) == [0, 0] and step.node.attributes.get("batch_dims", 0) >= 1)
    return [0]


def _matmul(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    a, b = arrays[:2]
    _need(min(a.ndim, b.ndim) >= 2)
    places = set()
    if axes[0] is not None:
        _need(axes[0] != a.ndim - 1)
        places.add(a.ndim - axes[0])
    if axes[1] is not None:
        _need(axes[1] < b.ndim - 2)
        places.add(b.ndim - axes[1])
    _need(len(places) == 1)
    return [results[0].ndim - places.pop()]


def _gemm(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    _need(axes[0] == 0 and not step.node.attributes.get("transA", 0))
    _need(all(axis is None for axis in axes[1:]))
    c = arrays[2] if len(arrays) > 2 else None
    _need(c is None or c.ndim < 2 or c.shape[0] == 1)
    return [0]


def _along_axis(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    """Something along one axis, or from one on (LayerNormalization)."""
    axis, rank = axes[0], arrays[0].ndim
    _need(axis is not None and axes.count(None) == len(axes) - 1)
    along = step.node.attributes.get("axis", -1) % rank
    if step.node.op_type == "LayerNormalization":
        assert axis is not None
        _need(axis < along)
    else:
        # Before opset 13 Softmax was over that axis and all behind it.
        assert axis is not None
        _need(axis < along or (axis != along and step.operator.since >= 13))
    return [axis] * len(results)


def _reduce(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    axis, rank = axes[0], arrays[0].ndim
    _need(axis is not None and axes.count(None) == len(axes) - 1)
    assert axis is not None
    reduced = step.node.attributes.get("axes")
    if len(arrays) > 1 and arrays[1] is not None:
        reduced = arrays[1].reshape(-1).tolist()
    reduced = [a % rank for a in reduced or ()]
    _need(len(reduced) > 0 and axis not in reduced)
    if step.node.attributes.get("keepdims", 1):
        return [axis]
    return [axis - sum(a < axis for a in reduced)]


#: values of a state, of all sequences together, from which on two threads gain by sharing a
#: recurrence: with fewer they mostly wait for each other between its calls (LSTM of 2 × 64 units,
#: 2.8 ms alone: 4.6 at batch 32, and 12.8 instead of 17.4 at batch 256)
_LARGE_STATE = 1 << 14


def _recurrent(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    """x (T, N, I), or ids (T, N); sequence_lens (N); states (D, N, H)"""
    states = [y for y in results[1:] if y is not None and y.ndim == 3]
    sizes = [y.size for y in states] or [math.prod(results[0].shape[1:])]  # of Y (T, D, N, H)
    _need(max(sizes) >= _LARGE_STATE)
    _need(axes[0] == 1 and not step.node.attributes.get("layout", 0))
    for position, (axis, x) in enumerate(zip(axes[1:], arrays[1:], strict=True), 1):
        if x is not None and axis is None:
            raise Mixed  # a state or a length for each sample that doesn't come from the inputs
        _need(x is None or axis == (0 if position == 1 else 1))
    return [2, 1, 1]


def _concat(step: Step, axes: Axes, arrays: list[Any], results: list[Any]) -> list[int | None]:
    axis = axes[0]
    _need(axis is not None and len(set(axes)) == 1)
    _need(axis != step.node.attributes.get("axis", 1) % arrays[0].ndim)
    return [axis]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        "Add Sub Mul Div Pow Max Min Relu LeakyRelu PRelu Elu Selu Sigmoid Tanh Clip Exp Log Sqrt "
        "Erf Gelu Swish HardSwish HardSigmoid Softplus Softsign Neg Abs Reciprocal Cast Not Equal "
        "Greater Less GreaterOrEqual LessOrEqual And Or Where Identity".split(),
        _elementwise,
    ),
    **dict.fromkeys(
        "Conv FusedConv MaxPool AveragePool GlobalAveragePool GlobalMaxPool".split(), _first
    ),
    **dict.fromkeys("Reshape Flatten Squeeze Unsqueeze".split(), _reshape),
    **dict.fromkeys("Softmax LogSoftmax LayerNormalization TopK ArgMax".split(), _along_axis),
    **dict.fromkeys("ReduceSum ReduceMean ReduceMax".split(), _reduce),
    **dict.fromkeys("RNN LSTM GRU".split(), _recurrent),
    "Transpose": _transpose,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Concat": _concat,
}
