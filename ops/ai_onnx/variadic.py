"""Elementwise operators of any number of inputs: Max, Min, Sum and Mean.

The inputs broadcast against each other as NumPy's do (from opset 8 on) and are of one dtype, which
is the result's.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, broadcast, size
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, op
from onnxwalk.ops.fast.elementwise import variadic_binder
from onnxwalk.ops.shared import batch
from onnxwalk.ops.shared.cost import wide_copies
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import check_same_dtype, wide


@op("Max", since=6)
@op("Max", since=1, hints=CONSUMED_INPUTS)
def maximum(*data_0: np.ndarray) -> np.ndarray:
    """The largest of the inputs; nan where any is nan. Spec: Max-1, -6, -8, -12, -13."""
    _check_inputs(data_0, "Max")
    return functools.reduce(np.maximum, data_0)


@maximum.vjp
def vjp_of_maximum(dy, *data_0, wanted):
    return _vjp_of_extreme(np.greater, dy, data_0, wanted)


@op("Min", since=6)
@op("Min", since=1, hints=CONSUMED_INPUTS)
def minimum(*data_0: np.ndarray) -> np.ndarray:
    """The smallest of the inputs; nan where any is nan. Spec: Min-1, -6, -8, -12, -13."""
    _check_inputs(data_0, "Min")
    return functools.reduce(np.minimum, data_0)


@minimum.vjp
def vjp_of_minimum(dy, *data_0, wanted):
    return _vjp_of_extreme(np.less, dy, data_0, wanted)


def _vjp_of_extreme(beats, dy, inputs, wanted):
    """Where several inputs are equal, the first has the gradient (as in TensorFlow)."""
    best, winner = inputs[0], np.zeros(dy.shape, np.intp)
    for i, x in enumerate(inputs[1:], 1):
        wins = beats(x, best)
        winner = np.where(wins, i, winner)
        best = np.where(wins, x, best)
    return tuple(
        reduce_to(np.where(winner == i, dy, 0), x.shape) if want else None
        for i, (x, want) in enumerate(zip(inputs, wanted, strict=True))
    )


@op("Sum", since=6)
@op("Sum", since=1, hints=CONSUMED_INPUTS)
def sum_inputs(*data_0: np.ndarray) -> np.ndarray:
    """The sum of the inputs. Spec: Sum-1, -6, -8, -13."""
    _check_inputs(data_0, "Sum")
    total = functools.reduce(np.add, map(wide, data_0))
    return total.astype(data_0[0].dtype, copy=False)


@sum_inputs.vjp
def vjp_of_sum(dy, *, data_0_shape):
    return tuple(reduce_to(dy, shape) for shape in data_0_shape)


@op("Mean", since=6)
@op("Mean", since=1, hints=CONSUMED_INPUTS)
def average_inputs(*data_0: np.ndarray) -> np.ndarray:
    """The sum of the inputs over their number. Spec: Mean-1, -6, -8, -13."""
    _check_inputs(data_0, "Mean")
    total = functools.reduce(np.add, map(wide, data_0))
    return (total / len(data_0)).astype(data_0[0].dtype, copy=False)


@average_inputs.vjp
def vjp_of_average(dy, *, data_0_shape):
    return vjp_of_sum(dy / len(data_0_shape), data_0_shape=data_0_shape)


def _check_inputs(inputs: tuple[np.ndarray, ...], operator: str) -> None:
    if not inputs:
        raise ValueError(f"{operator} needs at least one input")
    for x in inputs[1:]:
        check_same_dtype(inputs[0], x)


def cost_of_variadic(*data_0: np.ndarray, **_: Any) -> Cost:
    """The result so far and the next one; for a mean, the sum and its quotient. Short floats are
    added up in float32."""
    count, first = size(broadcast(x.shape for x in data_0)), data_0[0]
    widest = max((wide_copies(x) for x in data_0), default=0)
    item = first.dtype.itemsize
    copies = (8 + item) * count + widest if widest else 2 * item * count
    return Cost(copies, 30 * count * len(data_0))


declare(
    maximum,
    minimum,
    sum_inputs,
    average_inputs,
    cost=cost_of_variadic,
    batch_axis=batch.elementwise,
)
maximum.bind(variadic_binder(np.maximum))
minimum.bind(variadic_binder(np.minimum))
sum_inputs.bind(variadic_binder(np.add))
average_inputs.bind(variadic_binder(np.add, is_mean=True))
