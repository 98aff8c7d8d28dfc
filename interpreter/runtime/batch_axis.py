"""Determines whether a graph treats the samples of a batch independently.

If so, threads can compute parts of a batch in parallel, each with its own bound plan: NumPy
releases the interpreter lock inside its functions. The axis of the samples is followed from the
inputs to the outputs by the ``batch_axis`` rule of each operator; one without a rule, or that mixes
samples, rules it out.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.ir.plan import NOTHING
from onnxwalk.interpreter.runtime.bound import Bound

#: smaller batches are not split: handing work to a thread costs 30 to 80 µs
_FEWEST_SAMPLES = 16


def sample_axes(bound: Bound) -> list[int] | None:
    """The batch axis of each output, given that it is the first axis of all inputs; ``None`` if
    the graph mixes samples, or the batch is too small to split."""
    values = bound.values
    axes: dict[int, int | None] = dict.fromkeys(range(len(values)))
    sizes = set()
    for slot in bound.plan.inputs:
        if not isinstance(values[slot], np.ndarray) or values[slot].ndim == 0:
            return None
        axes[slot] = 0
        sizes.add(values[slot].shape[0])
    if len(sizes) != 1 or min(sizes) < _FEWEST_SAMPLES:
        return None
    try:
        for step in bound.plan.steps:
            in_axes = [axes[slot] for slot in step.inputs]
            if all(axis is None for axis in in_axes):
                continue  # the same for all samples, or dependent on shapes only
            arrays = [values[slot] for slot in step.inputs]
            results = [values[slot] for slot in step.outputs]
            out_axes = step.operator.batch_axis(in_axes, arrays, results, step.node.attributes)
            for slot, axis in zip(step.outputs, out_axes, strict=False):
                if slot != NOTHING:
                    axes[slot] = axis
    except Exception:  # Mixed, or the rule doesn't apply
        return None
    known = [axis for slot in bound.plan.outputs if (axis := axes[slot]) is not None]
    return known if len(known) == len(bound.plan.outputs) else None
