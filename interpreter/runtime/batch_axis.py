"""Determines whether a graph treats the samples of a batch independently.

If so, threads can compute parts of a batch in parallel, each with its own bound plan: NumPy
releases the interpreter lock inside its functions. And batches that came apart can be run together.
The axis of the samples is followed from the inputs to the outputs by the ``batch_axis`` rule of
each operator; one without a rule, or that mixes samples, rules it out. So does a value that is
computed from how many samples there are (Shape), unless it is only what a Reshape reshapes to.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.ir.plan import NOTHING
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.ops.shared import batch

#: smaller batches are not split: handing work to a thread costs 30 to 80 µs
_FEWEST_SAMPLES = 16


def axes_to_split(bound: Bound) -> list[int] | None:
    """As ``sample_axes``, but ``None`` also if splitting the batch doesn't pay."""
    sizes = [np.shape(bound.values[slot])[:1] for slot in bound.plan.inputs]
    if min(sizes, default=()) < (_FEWEST_SAMPLES,):
        return None
    for step in bound.plan.steps:
        worth = step.operator.facts.get("worth_splitting")
        if worth is not None and not worth([bound.values[slot] for slot in step.outputs]):
            return None
    return sample_axes(bound)


def sample_axes(bound: Bound) -> list[int] | None:
    """The batch axis of each output, given that it is the first axis of all inputs; ``None`` if
    the graph mixes samples, or if there are fewer than two, which don't tell."""
    values = bound.values
    axes: dict[int, int | None] = dict.fromkeys(range(len(values)))
    counting: set[int] = set()  # slots whose values depend on how many samples there are
    sizes = set()
    for slot in bound.plan.inputs:
        if not isinstance(values[slot], np.ndarray) or values[slot].ndim == 0:
            return None
        axes[slot] = 0
        sizes.add(values[slot].shape[0])
    if len(sizes) != 1 or min(sizes) < 2:
        return None
    try:
        for step in bound.plan.steps:
            in_axes = [axes[slot] for slot in step.inputs]
            counts = not counting.isdisjoint(step.inputs)
            if all(axis is None for axis in in_axes):  # the same for all samples
                if counts:
                    counting |= {*step.outputs} - {NOTHING}
                continue
            if counts and step.operator.facts.get("batch_axis") is not batch.reshape:
                return None
            arrays = [None if slot in counting else values[slot] for slot in step.inputs]
            results = [values[slot] for slot in step.outputs]
            out_axes = step.operator.batch_axis(in_axes, arrays, results, step.node.attributes)
            for slot, axis in zip(step.outputs, out_axes, strict=False):
                if slot != NOTHING:
                    axes[slot] = axis
                    if axis is None:
                        counting.add(slot)
    except Exception:  # MixedSamples, or the rule doesn't apply
        return None
    known = [axis for slot in bound.plan.outputs if (axis := axes[slot]) is not None]
    return known if len(known) == len(bound.plan.outputs) else None
