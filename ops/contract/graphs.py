"""How an operator runs the graphs among its attributes: one call at a time, each of them asked for.

Such an operator is written as a generator. It yields every call, ``(body, inputs)``, is sent the
tuple of the outputs, and returns what it computes::

    @op("If", since=1)
    @runs_graphs
    def if_(cond, *, then_branch, else_branch):
        return (yield (then_branch if cond else else_branch), ())

Whoever makes the calls can thus stop on the way and show what is inside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

#: yields (body, inputs), is sent the body's outputs, returns a T
Calls: TypeAlias = "Generator[tuple[Callable[..., Any], tuple[Any, ...]], tuple[Any, ...], T]"


@dataclass(frozen=True)
class Graphs:
    """What becomes of the outputs of an operator's graphs: outputs of the node, and of those of a
    loop's body some inputs of the next iteration."""

    #: branch(condition): the attribute whose graph is run, once, if the first input is this
    branch: Callable[[Any], str] | None = None
    #: the first output of a graph that is an output of the node; None: none of them is
    outputs_from: int | None = None
    #: carried(inputs of the graph, **attributes): how many of a graph's first outputs the next
    #: iteration gets
    carried: Callable[..., int] | None = None
    #: whether iterations after the first read the node's inputs again, such as slices of them
    rereads: bool = True


def runs_graphs(operator: Callable[..., Calls[Any]]) -> Callable[..., Any]:
    """The plain function of an operator that is written as a generator of calls, which it has as
    its attribute ``calls``."""

    @functools.wraps(operator)
    def run(*inputs: Any, **keywords: Any) -> Any:
        calls = operator(*inputs, **keywords)
        try:
            body, given = next(calls)
            while True:
                body, given = calls.send(body(*given))
        except StopIteration as end:
            return end.value

    run.__dict__["calls"] = operator
    return run
