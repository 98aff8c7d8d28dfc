"""Does a graph treat the samples of a batch one by one? Then two threads can take half of it each.

NumPy lets go of the interpreter lock inside its functions, so halves of a batch run side by side,
each with a bound plan of its own. Whether that is allowed is worked out by following the axis of
the samples from the inputs to the outputs, by what each operator has registered as its
``batch_axis``; one that has nothing, or mixes samples, forbids it.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.ir.plan import NOTHING
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.ops.contract.facts import Mixed


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
            arrays = [values[slot] for slot in step.inputs]
            results = [values[slot] for slot in step.outputs]
            found = step.operator.batch_axis(given, arrays, results, step.node.attributes)
            for slot, axis in zip(step.outputs, found, strict=False):
                if slot != NOTHING:
                    axes[slot] = axis
    except (Mixed, AttributeError, IndexError):
        return None
    outputs = [axes[slot] for slot in bound.plan.outputs]
    if any(axis is None for axis in outputs):
        return None
    return [axis for axis in outputs if axis is not None]
