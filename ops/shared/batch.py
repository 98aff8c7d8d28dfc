"""Rules for the batch axis of the outputs: see ``Function.batch_axis``.

Each rule gets the batch axes of the inputs (``samples``), the inputs, the outputs and the
attributes; it returns the batch axes of the outputs, or raises MixedSamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.facts import MixedSamples

Samples = Sequence[int | None]
Values = Sequence[Any]
OutputAxes = list[int | None]


def require(condition: bool) -> None:
    """Raise MixedSamples unless the condition holds."""
    if not condition:
        raise MixedSamples


def first_input_axis(samples: Samples) -> int:
    """The batch axis of the first input, which must be the only one that has one."""
    axis = samples[0]
    if axis is None or any(other is not None for other in samples[1:]):
        raise MixedSamples
    return axis


def elementwise(
    samples: Samples, inputs: Values, outputs: Values, *, broadcast: int = 0, **_: Any
) -> OutputAxes:
    """Counted from the end, the batch axes must be equal, and have size 1 in the other inputs."""
    pairs = list(zip(inputs, samples, strict=True))
    from_end = {x.ndim - axis for x, axis in pairs if axis is not None}
    require(len(from_end) == 1 and not broadcast)
    place = from_end.pop()
    for x, axis in pairs:
        if axis is None and x is not None and x.ndim >= place:
            require(x.shape[x.ndim - place] == 1)
    return [outputs[0].ndim - place]


def first_axis(samples: Samples, inputs: Values, outputs: Values, **_: Any) -> OutputAxes:
    """(N, …) -> (N, …)"""
    require(samples[0] == 0 and set(samples) <= {0, None})
    return [0]


def same_size(samples: Samples, inputs: Values, outputs: Values, **_: Any) -> OutputAxes:
    """A reshape: the axis of the same size that has as many elements before it."""
    axis = first_input_axis(samples)
    before, after = inputs[0].shape, outputs[0].shape
    for place, size in enumerate(after):
        if size == before[axis] and math.prod(after[:place]) == math.prod(before[:axis]):
            return [place]
    raise MixedSamples


def reshape(
    samples: Samples,
    inputs: Values,
    outputs: Values,
    *,
    shape: Sequence[int] | None = None,
    allowzero: int = 0,
    **_: Any,
) -> OutputAxes:
    """Reshape to an attribute or the second input, which is ``None`` if it is computed from the
    number of samples. A target that isn't must leave that number open: (2, -1) has two rows for any
    number of samples."""
    place = same_size(samples[:1], inputs[:1], outputs)[0]
    assert place is not None
    target = shape if len(inputs) < 2 else inputs[1]
    if target is not None:
        size = target[place]
        require(size == -1 or (size == 0 and place == samples[0] and not allowzero))
    return [place]


def along_axis(
    samples: Samples, inputs: Values, outputs: Values, *, axis: int = -1, **_: Any
) -> OutputAxes:
    """Operators along one axis, which must not be the batch axis."""
    batch_axis = first_input_axis(samples)
    require(batch_axis != axis % inputs[0].ndim)
    return [batch_axis] * len(outputs)


def trailing_axes(
    samples: Samples, inputs: Values, outputs: Values, *, axis: int, **_: Any
) -> OutputAxes:
    """Operators over ``axis`` and all axes after it."""
    batch_axis = first_input_axis(samples)
    require(batch_axis < axis % inputs[0].ndim)
    return [batch_axis] * len(outputs)


def reduction(
    samples: Samples,
    inputs: Values,
    outputs: Values,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    **_: Any,
) -> OutputAxes:
    """Reductions over axes that are an attribute or the second input."""
    batch_axis = first_input_axis(samples)
    if len(inputs) > 1 and inputs[1] is not None:
        axes = inputs[1].reshape(-1).tolist()
    reduced = [axis % inputs[0].ndim for axis in axes or ()]
    require(len(reduced) > 0 and batch_axis not in reduced)
    return [batch_axis if keepdims else batch_axis - sum(axis < batch_axis for axis in reduced)]


def axis_reduction(
    samples: Samples, inputs: Values, outputs: Values, *, axis: int, keepdims: int, **_: Any
) -> OutputAxes:
    """Reductions over one axis."""
    return reduction(samples, inputs[:1], outputs, axes=[axis], keepdims=keepdims)


def no_samples(samples: Samples, inputs: Values, outputs: Values, **_: Any) -> OutputAxes:
    """The output depends on shapes only, and so on how many samples there are."""
    return [None]


def product(samples: Samples, inputs: Values, outputs: Values, **_: Any) -> OutputAxes:
    """A·B, where the samples are rows of A, or a batch axis of A and B."""
    a, b = inputs[:2]
    require(min(a.ndim, b.ndim) >= 2)
    require(samples[0] != a.ndim - 1 and (samples[1] is None or samples[1] < b.ndim - 2))
    from_end = {x.ndim - i for x, i in zip((a, b), samples[:2], strict=True) if i is not None}
    require(len(from_end) == 1)
    return [outputs[0].ndim - from_end.pop()]


#: values in a state, over all sequences, from which on two threads are faster than one: with fewer
#: they mostly wait for each other between the calls (LSTM of 2 × 64 units: 4.6 ms instead of 2.8 at
#: batch 32, 12.8 instead of 17.4 at batch 256)
_LARGE_STATE = 1 << 14


def large_state(outputs: Values) -> bool:
    """Whether it pays to split the samples of an RNN, LSTM or GRU with these outputs."""
    states = [y for y in outputs[1:] if isinstance(y, np.ndarray) and y.ndim == 3]
    sizes = [y.size for y in states] or [math.prod(outputs[0].shape[1:])]  # of Y (T, D, N, H)
    return max(sizes) >= _LARGE_STATE


def recurrence(
    samples: Samples, inputs: Values, outputs: Values, *, layout: int = 0, **_: Any
) -> OutputAxes:
    """RNN, LSTM, GRU: x (T, N, I), or ids (T, N); sequence_lens (N); states (D, N, H)"""
    require(samples[0] == 1 and not layout)
    for position, (axis, x) in enumerate(zip(samples[1:], inputs[1:], strict=True), 1):
        # each sample must have a state and a length of its own
        require(x is None or axis == (0 if position == 1 else 1))
    return [2, 1, 1]
