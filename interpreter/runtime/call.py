"""Calls the operator of one step: budget, output count, errors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

from onnxwalk.interpreter.budget import Budget, current_budget
from onnxwalk.interpreter.display import describe
from onnxwalk.interpreter.errors import (
    LimitError,
    OnnxWalkError,
    OperatorError,
    RunStopped,
    memory_reason,
    refuses_memory,
)
from onnxwalk.interpreter.ir.plan import Step

_MOST_SHOWN = 10  # inputs, in a message

#: yields each step with its inputs and outputs, and returns the results
StepIterator: TypeAlias = "Generator[tuple[Step, list[Any], Sequence[Any]], None, Any]"


def call(step: Step, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs of a step, at least as many as its node has.

    Raises OperatorError naming the node if the operator rejects its inputs, LimitError if its cost
    is more than what is left of the budget.
    """
    budget = current_budget()
    try:
        if budget is not None:
            budget.check_step(step, arguments)
        return _check(step, step.call(*arguments), budget)
    except Exception as error:
        raise name_error(step, arguments, error) from _cause(error)


def call_with_bodies(
    step: Step, arguments: list[Any], inside: Callable[[Step, list[Any]], StepIterator]
) -> StepIterator:
    """As ``call``; ``inside`` walks through the subgraphs of the step."""
    budget = current_budget()
    try:
        if budget is not None:
            budget.check_step(step, arguments)
        results = yield from inside(step, arguments)
        return _check(step, results, budget)
    except Exception as error:
        raise name_error(step, arguments, error) from _cause(error)


def _check(step: Step, results: Any, budget: Budget | None) -> tuple[Any, ...]:
    if type(results) is not tuple:
        results = (results,)
    if len(results) < len(step.outputs):
        raise ValueError(
            f"operator returned {len(results)} outputs, but the node has {len(step.outputs)}"
        )
    if budget is not None:
        budget.check_results(results)
    return results


def name_error(step: Step, arguments: Sequence[Any], error: Exception) -> OnnxWalkError:
    """The error in one line that begins with the node, the operator's version and the inputs. An
    error from a subgraph already names the inner node."""
    if isinstance(error, RunStopped) and step.bodies:
        return RunStopped((*error.inside, (step.node.op_type, step.node.name)))
    if isinstance(error, LimitError) and not error.is_located:
        text = f"{_call(step, arguments)}: {error}"
        return LimitError(text, is_located=True, of_memory=error.of_memory)
    if isinstance(error, OnnxWalkError):
        return error
    reason = str(error) or type(error).__name__
    of_memory = refuses_memory(error)
    if of_memory:
        reason = memory_reason(error)
    if of_memory or isinstance(error, RecursionError):
        text = f"{_call(step, arguments)}: {reason}"
        return LimitError(text, is_located=True, of_memory=of_memory)
    if not isinstance(error, (ValueError, NotImplementedError)):
        reason = f"{type(error).__name__}: {reason}"
    text = f"{_call(step, arguments)}: {' '.join(reason.split())}"
    return OperatorError(text, operator=step.node.op_type, node=step.node.name)


def _cause(error: Exception) -> BaseException | None:
    """The cause of the named error: onnxwalk's own errors have all details in their message."""
    return error.__cause__ if isinstance(error, OnnxWalkError) else error


def _call(step: Step, arguments: Sequence[Any]) -> str:
    inputs = ", ".join(map(describe, arguments[:_MOST_SHOWN])) or "no inputs"
    if (more := len(arguments) - _MOST_SHOWN) > 0:
        inputs += f" and {more:,} more"
    return f"{step.node}, {step.operator}, of {inputs}"
