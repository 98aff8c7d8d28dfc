"""Checks that graphs are well formed: every value is defined once, before it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnxwalk.interpreter.budget import tick
from onnxwalk.interpreter.compiler.context import every_node
from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.interpreter.ir.model import Function, Graph, Model, ValueInfo

_MOST_SHOWN = 10

FunctionKey = tuple[str, str, str]
Scopes = tuple[set[str], ...]


def check(model: Model) -> None:
    """Raise InvalidModelError with all problems in the structure of the graphs."""
    problems = list(_graph_problems(model.graph, (), ""))
    for key, function in model.functions.items():
        name = ".".join(part for part in key if part)
        problems += _graph_problems(_as_graph(function), (), f"function {name}: ")
    if recursive := _recursive_functions(model.functions):
        problems.append("functions that call themselves: " + ", ".join(recursive))
    if problems:
        raise combine_problems(model.source, problems)


def combine_problems(source: str, problems: list[str]) -> InvalidModelError:
    """One error for all problems, of which it shows the first ten."""
    shown = "; ".join(problems[:_MOST_SHOWN])
    more = len(problems) - _MOST_SHOWN
    return InvalidModelError(f"{source}: {shown}" + (f"; and {more} more" if more > 0 else ""))


def _recursive_functions(functions: Mapping[FunctionKey, Function]) -> list[str]:
    """The names of the functions that call themselves, directly or through others."""
    calls = {
        key: {
            called
            for node in every_node(_as_graph(function))
            if (called := (node.domain, node.op_type, node.overload)) in functions
        }
        for key, function in functions.items()
    }
    # A function that calls no other, or is called by none, is on no cycle: remove it, and repeat.
    while True:
        called_by_any = set().union(*calls.values())
        circle = {key: called & calls.keys() for key, called in calls.items()}
        circle = {key: called for key, called in circle.items() if called and key in called_by_any}
        if circle == calls:
            return [".".join(filter(None, key)) for key in calls]
        calls = circle


def _as_graph(function: Function) -> Graph:
    inputs, outputs = map(ValueInfo, function.inputs), map(ValueInfo, function.outputs)
    return Graph(function.name, function.nodes, tuple(inputs), tuple(outputs))


def _graph_problems(graph: Graph, outer: Scopes, where: str) -> Iterator[str]:
    """``outer``: the names that each of the surrounding graphs defines."""
    defined: set[str] = set()
    scopes = (*outer, defined)
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        if any(not value.name for value in values):
            yield f"{where}a graph {kind} has no name"
    for value in graph.inputs:
        if value.name in defined:
            yield f"{where}input '{value.name}' is defined twice"
        defined.add(value.name)
    constants = set(graph.initializers) - defined
    later = {name for node in graph.nodes for name in node.outputs}
    defined |= constants
    for node in graph.nodes:
        for name in node.inputs:
            tick()
            if name and not any(name in scope for scope in scopes):
                reason = (
                    "is used before it is computed: the nodes are not in topological order"
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
