"""The walk: for each step of a plan, call, store, release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from interpreter.errors import OnnxWalkError, OperatorError
from interpreter.plan import NOTHING, Plan, Step

#: called after each step with the step, its input values and its output values
Hook = Callable[[Step, list[Any], Sequence[Any]], None]


def execute(plan: Plan, arguments: Sequence[Any], hook: Hook | None = None) -> list[Any]:
    """The plan's outputs for one value per input.

    Raises OperatorError naming the node when an operator refuses its inputs.
    """
    values = plan.template.copy()
    for slot, argument in zip(plan.inputs, arguments, strict=True):
        values[slot] = argument
    step = None
    try:
        for step in plan.steps:
            call, inputs, outputs, release, *_ = step
            arguments = [values[slot] for slot in inputs]
            results = call(*arguments)
            if type(results) is not tuple:
                results = (results,)
            if len(results) < len(outputs):
                raise ValueError(f"{len(results)} outputs came, the node names {len(outputs)}")
            for slot, result in zip(outputs, results, strict=False):
                values[slot] = result
            values[NOTHING] = None  # where results that nobody wants went
            if hook is not None:
                hook(step, arguments, results)
            for slot in release:
                values[slot] = None
    except OnnxWalkError:
        raise
    except Exception as error:
        assert step is not None
        raise operator_error(step, arguments, error) from error
    return [values[slot] for slot in plan.outputs]


def operator_error(step: Step, arguments: Sequence[Any], error: Exception) -> OperatorError:
    """What went wrong in a step, in one line: the node, the version, and what it was given."""
    given = ", ".join(describe(argument) for argument in arguments) or "no inputs"
    reason = str(error) or type(error).__name__
    if not isinstance(error, (ValueError, NotImplementedError)):
        reason = f"{type(error).__name__}: {reason}"
    return OperatorError(f"{step.node}, {step.operator}, of {given}: {' '.join(reason.split())}")


def describe(value: Any) -> str:
    """A value's dtype and shape, as "float32 (2, 3)"."""
    if isinstance(value, list):
        return f"sequence of {len(value)}"
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype} {value.shape}"
    return "nothing" if value is None else type(value).__name__
