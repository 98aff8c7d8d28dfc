"""The walk: for each step of a plan, call, store, release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.runtime.call import StepIterator, call, call_with_bodies


def execute(plan: Plan, arguments: Sequence[Any]) -> list[Any]:
    """The plan's outputs for one value per input.

    Raises OperatorError naming the node if an operator rejects its inputs.
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
    """Yields each step with its input and output values after computing it; values that no later
    step reads are released before the next one. Returns the plan's outputs.

    ``inside`` walks through the subgraphs of a step that runs some, and returns its results.

    Raises OperatorError naming the node if an operator rejects its inputs.
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
        values[NOTHING] = None  # where unused results are stored
        yield step, arguments, results
        for slot in step.release:
            values[slot] = None
        arguments = results = ()  # so that they can be freed before the next step ends
    return [values[slot] for slot in plan.outputs]
