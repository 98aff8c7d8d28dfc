"""Is the graph well formed? Every value is defined once, before it is used."""

from __future__ import annotations

from collections.abc import Iterator

from interpreter.budget import tick
from interpreter.errors import InvalidModelError
from interpreter.model import Graph, Model

_MOST_SHOWN = 10

Scopes = tuple[set[str], ...]


def check(model: Model) -> None:
    """Raise InvalidModelError naming all that is wrong with the structure of the graphs."""
    problems = list(_graph_problems(model.graph, (), ""))
    for key, function in model.functions.items():
        name = ".".join(part for part in key if part)
        inputs = set(function.inputs)
        produced = inputs | {name for node in function.nodes for name in node.outputs}
        problems += [
            f"function {name}: output '{output}' is not defined"
            for output in function.outputs
            if output not in produced
        ]
    if problems:
        raise invalid(model.source, problems)


def invalid(source: str, problems: list[str]) -> InvalidModelError:
    """One error for everything that was found."""
    shown = "; ".join(problems[:_MOST_SHOWN])
    more = len(problems) - _MOST_SHOWN
    return InvalidModelError(f"{source}: {shown}" + (f"; and {more} more" if more > 0 else ""))


def _graph_problems(graph: Graph, outer: Scopes, where: str) -> Iterator[str]:
    """``outer``: the names that are defined around the graph, by the graph that defines them."""
    defined: set[str] = set()
    scopes = (*outer, defined)
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        if any(not value.name for value in values):
            yield f"{where}a graph {kind} has no name"
    for value in graph.inputs:
        if value.name in defined:
            yield f"{where}input '{value.name}' is there twice"
        defined.add(value.name)
    constants = set(graph.initializers) - defined
    later = {name for node in graph.nodes for name in node.outputs}
    defined |= constants
    for node in graph.nodes:
        tick()
        for name in node.inputs:
            if name and not any(name in scope for scope in scopes):
                reason = (
                    "is used before the node that gives it: the nodes are not in order"
                    if name in later
                    else "is not defined"
                )
                yield f"{where}{node}: input '{name}' {reason}"
        for attribute, inner in node.graphs:
            yield from _graph_problems(inner, scopes, f"{where}{node}, {attribute}: ")
        for name in node.outputs:
            if name and name in defined:
                yield f"{where}{node}: output '{name}' is defined twice"
            defined.add(name)
    for value in graph.outputs:
        if value.name and not any(value.name in scope for scope in scopes):
            yield f"{where}output '{value.name}' is not defined"
