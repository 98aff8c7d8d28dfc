"""The walk: for each step of a plan, call, store, release."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.budget import current
from onnxwalk.interpreter.errors import LimitError, OnnxWalkError, OperatorError
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step

_MOST_SHOWN = 10  # inputs, in a message

#: called after each step with the step, its input values and its output values
Hook = Callable[[Step, list[Any], Sequence[Any]], None]
#: gives each step with its input and output values, and returns the results
Walked: TypeAlias = "Generator[tuple[Step, list[Any], Sequence[Any]], None, Any]"


def execute(plan: Plan, arguments: Sequence[Any], hook: Hook | None = None) -> list[Any]:
    """The plan's outputs for one value per input.

    Raises OperatorError naming the node when an operator refuses its inputs.
    """
    steps = walk(plan, arguments)
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            return end.value
        if hook is not None:
            hook(*event)
        del event  # its values needn't live any longer


def walk(
    plan: Plan, arguments: Sequence[Any], inside: Callable[[Step, list[Any]], Walked] | None = None
) -> Walked:
    """Step by step: each step, its input values and its output values, when it has been computed.
    What is not needed any more is let go before the next. Returns the plan's outputs.

    ``inside`` walks through the steps within one that runs other graphs, and returns its results.

    Raises OperatorError naming the node when an operator refuses its inputs.
    """
    budget = current()
    values = plan.template.copy()
    for slot, argument in zip(plan.inputs, arguments, strict=True):
        values[slot] = argument
    for step in plan.steps:
        call, inputs, outputs, release, *_ = step
        arguments = [values[slot] for slot in inputs]
        try:
            if budget is not None:
                budget.before(step, arguments)
            if inside is not None and step.calls is not None:
                results = yield from inside(step, arguments)
            else:
                results = call(*arguments)
            if type(results) is not tuple:
                results = (results,)
            if len(results) < len(outputs):
                raise ValueError(f"{len(results)} outputs came, the node names {len(outputs)}")
            if budget is not None:
                budget.after(results)
        except LimitError as error:
            raise located(step, arguments, error) from None
        except OnnxWalkError:
            raise
        except Exception as error:
            raise operator_error(step, arguments, error) from error
        for slot, result in zip(outputs, results, strict=False):
            values[slot] = result
        values[NOTHING] = None  # where results that nobody wants went
        yield step, arguments, results
        for slot in release:
            values[slot] = None
        arguments = results = ()  # or they would live on during the next step
    return [values[slot] for slot in plan.outputs]


def located(step: Step, arguments: Sequence[Any], error: LimitError) -> LimitError:
    """The error with the step in front where it happened; within a subgraph, the inner one."""
    if error.is_located:
        return error
    return LimitError(
        f"{_call(step, arguments)}: {error}", is_located=True, of_memory=error.of_memory
    )


def operator_error(step: Step, arguments: Sequence[Any], error: Exception) -> OnnxWalkError:
    """What went wrong in a step, in one line: the node, the version, and what it was given."""
    reason = str(error) or type(error).__name__
    if isinstance(error, MemoryError | RecursionError):
        return LimitError(f"{_call(step, arguments)}: {reason}", is_located=True)
    if not isinstance(error, (ValueError, NotImplementedError)):
        reason = f"{type(error).__name__}: {reason}"
    return OperatorError(f"{_call(step, arguments)}: {' '.join(reason.split())}")


def _call(step: Step, arguments: Sequence[Any]) -> str:
    given = ", ".join(describe(argument) for argument in arguments[:_MOST_SHOWN]) or "no inputs"
    if (more := len(arguments) - _MOST_SHOWN) > 0:
        given += f" and {more:,} more"
    return f"{step.node}, {step.operator}, of {given}"


def describe(value: Any) -> str:
    """A value's dtype and shape, as "float32 (2, 3)"."""
    if isinstance(value, list):
        return f"sequence of {len(value)}"
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype} {value.shape}"
    return "nothing" if value is None else type(value).__name__
