"""The walk: for each step of a plan, call, store, release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.runtime.call import StepIterator, call, call_with_bodies


def execute(plan: Plan, arguments: Sequence[Any]) -> list[Any]:
    """The plan's outputs for one value per input.

    Raises OperatorError naming the node when an operator refuses its inputs.
    """
    steps = walk(plan, arguments)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            results: list[Any] = end.value
            return results


def walk(
    plan: Plan,
    arguments: Sequence[Any],
    inside: Callable[[Step, list[Any]], StepIterator] | None = None,
) -> StepIterator:
    """Step by step: each step, its input values and its output values, when it has been computed.
    What is not needed any more is let go before the next. Returns the plan's outputs.

    ``inside`` walks through the steps within one that runs other graphs, and returns its results.

    Raises OperatorError naming the node when an operator refuses its inputs.
    """
    values = plan.template.copy()
    for slot, argument in zip(plan.inputs, arguments, strict=True):
        values[slot] = argument
    for step in plan.steps:
        arguments = [values[slot] for slot in step.inputs]
        if inside is not None and step.calls is not None:
            results = yield from call_with_bodies(step, arguments, inside)
        else:
            results = call(step, arguments)
        for slot, result in zip(step.outputs, results, strict=False):
            values[slot] = result
        values[NOTHING] = None  # where results that nobody wants went
        yield step, arguments, results
        for slot in step.release:
            values[slot] = None
        arguments = results = ()  # or they would live on during the next step
    return [values[slot] for slot in plan.outputs]
