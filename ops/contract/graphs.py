"""How an operator runs its subgraphs: one call at a time, made by its caller.

Such an operator is a generator. It yields each call, ``(body, inputs)``, is sent the tuple of the
outputs, and returns its own result::

    @op("If", since=1)
    @runs_graphs
    def if_(cond, *, then_branch, else_branch):
        return (yield (then_branch if cond else else_branch), ())

So the caller can stop on the way and show the values inside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from onnxwalk.ops.contract.records import record

T = TypeVar("T")

#: yields (body, inputs), is sent the body's outputs, returns a T
Calls: TypeAlias = "Generator[tuple[Callable[..., Any], tuple[Any, ...]], tuple[Any, ...], T]"


@record(frozen=True)
class Subgraphs:
    """Where the outputs of an operator's subgraphs go: to outputs of the node, and for the body of
    a loop to inputs of the next iteration."""

    #: branch(condition): the attribute whose graph is run (once) for this first input
    branch: Callable[[Any], str] | None = None
    #: index of the first output of a graph that is an output of the node; None: none is
    outputs_from: int | None = None
    #: carried(inputs of the graph, **attributes): how many of the graph's outputs, from the first
    #: on, are inputs of the next iteration
    carried: Callable[..., int] | None = None
    #: whether iterations after the first read the node's inputs again (slices of them, for example)
    rereads: bool = True
    #: whether the inputs of a graph grow from call to call, as the past of a language model does
    grows: bool = False


def runs_graphs(operator: Callable[..., Calls[Any]]) -> Callable[..., Any]:
    """A plain function from a generator of calls, which becomes its attribute ``calls``."""

    @functools.wraps(operator)
    def run(*inputs: Any, **keywords: Any) -> Any:
        calls = operator(*inputs, **keywords)
        try:
            body, arguments = next(calls)
            while True:
                body, arguments = calls.send(body(*arguments))
        except StopIteration as end:
            return end.value

    run.__dict__["calls"] = operator
    return run
