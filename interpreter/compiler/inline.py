"""Replaces calls of model-local functions by the functions' bodies."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from onnxwalk.interpreter.budget import current_budget
from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.interpreter.ir.model import Function, Graph, Model, Node, Reference
from onnxwalk.ops.contract.records import replace


def inline_functions(model: Model) -> Graph:
    """The model's graph without calls of its functions.

    Values of a body are prefixed with the call's name ("call/value"), so that they can be
    requested. A body's nodes keep the opset that the function imports.

    Raises InvalidModelError for calls that don't match the function.
    """
    if not model.functions:
        return model.graph
    return _Inliner(model).graph(model.graph, ())


class _Inliner:
    def __init__(self, model: Model) -> None:
        self.functions = model.functions
        self.source = model.source
        self.prefixes: set[str] = set()

    def graph(self, graph: Graph, calls: tuple[Any, ...]) -> Graph:
        return replace(graph, nodes=tuple(self.nodes(graph.nodes, calls)))

    def nodes(self, nodes: Iterable[Node], calls: tuple[Any, ...]) -> Iterable[Node]:
        """The nodes with calls expanded; ``calls`` are the functions that are being expanded."""
        budget = current_budget()
        for node in nodes:
            if budget is not None:
                budget.count_node()
                budget.check_nesting(len(calls), "calls of functions")
            key = (node.domain, node.op_type, node.overload)
            function = self.functions.get(key)
            if function is None:
                yield node.with_graphs(lambda graph: self.graph(graph, calls))
            else:
                yield from self.nodes(self.body(node, function), (*calls, key))

    def body(self, call: Node, function: Function) -> Iterable[Node]:
        """The function's nodes with the call's names and attributes in place of its own."""
        if len(call.inputs) > len(function.inputs) or len(call.outputs) > len(function.outputs):
            raise InvalidModelError(
                f"{self.source}: {call} has {len(call.inputs)} inputs and {len(call.outputs)} "
                f"outputs, but its function has {len(function.inputs)} and {len(function.outputs)}"
            )
        prefix = self.unique_prefix(call.name or function.name)
        names = dict.fromkeys(function.inputs, "")
        names |= dict(zip(function.inputs, call.inputs, strict=False))
        passed_through = []
        for inner, outer in zip(function.outputs, call.outputs, strict=False):
            if inner in names:  # an input that is also an output, or one value with two names
                passed_through.append((inner, outer))
            elif outer:
                names[inner] = outer
        arguments = {**function.defaults, **call.attributes}
        if unknown := set(call.attributes) - set(function.attributes) - set(function.defaults):
            raise InvalidModelError(
                f"{self.source}: {call} has unknown attributes for its function: {sorted(unknown)}"
            )
        for node in function.nodes:
            yield _expand(node, names, arguments, prefix, function.opsets)
        for inner, outer in passed_through:
            if outer:
                yield Node("Identity", (names[inner],), (outer,), opset=function.opsets.get("", 13))

    def unique_prefix(self, name: str) -> str:
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        prefix = next(n for n in names if n not in self.prefixes)
        self.prefixes.add(prefix)
        return prefix


def _expand(
    node: Node,
    names: dict[str, str],
    arguments: Mapping[str, Any],
    prefix: str,
    opsets: Mapping[str, int],
) -> Node:
    """A node of a function's body as a node of the caller's graph. Adds its outputs to ``names``;
    ``arguments``: the function's attributes, ``opsets``: the versions that it imports."""

    def rename(name: str) -> str:
        return names.setdefault(name, f"{prefix}/{name}") if name else ""

    attributes = {}
    for name, value in node.attributes.items():
        if isinstance(value, Reference):
            if value.name in arguments:
                attributes[name] = arguments[value.name]
        else:
            attributes[name] = value
    renamed = replace(
        node,
        inputs=tuple(rename(name) for name in node.inputs),
        outputs=tuple(rename(name) for name in node.outputs),
        attributes=attributes,
        name=f"{prefix}/{node.name}" if node.name else "",
        opset=opsets.get(node.domain) if node.opset is None else node.opset,
    )

    def rename_graph(graph: Graph) -> Graph:
        local = dict(names)  # the subgraph's own names must not leak into its surroundings
        for name in (*(value.name for value in graph.inputs), *graph.initializers):
            local[name] = f"{prefix}/{name}"
        return replace(
            graph,
            inputs=tuple(replace(v, name=local[v.name]) for v in graph.inputs),
            initializers={local[n]: t for n, t in graph.initializers.items()},
            nodes=tuple(_expand(n, local, arguments, prefix, opsets) for n in graph.nodes),
            outputs=tuple(
                replace(v, name=local.get(v.name, f"{prefix}/{v.name}")) for v in graph.outputs
            ),
        )

    return renamed.with_graphs(rename_graph)
