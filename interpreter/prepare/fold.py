"""Nodes whose inputs are all constants are computed once, at load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from interpreter.budget import current, tick
from interpreter.model import Graph, Node, Tensor
from interpreter.prepare.compile import as_array, bound_attributes
from interpreter.prepare.context import Context, captured
from ops.dtypes import element_type

#: a result is kept as a constant up to this size, or up to that of what it was computed from
_MAX_BYTES = 1 << 20
#: an operator may need so many times as much while it computes
_MOST_AT_ONCE = 16


def fold_constants(graph: Graph, context: Context) -> Graph:
    """Replace what can be computed now by initializers, in subgraphs too."""
    return _fold(graph, context, {})


def _fold(graph: Graph, context: Context, outer: Mapping[str, Any]) -> Graph:
    needed = captured(graph)
    variable = {value.name for value in graph.inputs}
    initializers = dict(graph.initializers)
    constants = {n: outer[n] for n in needed if n in outer}
    constants |= {n: t for n, t in initializers.items() if n not in variable}
    kept = []
    for node in graph.nodes:
        computed = _compute(node, context, constants)
        if computed is None:
            kept.append(_fold_within(node, context, constants))
            for name in node.outputs:
                constants.pop(name, None)  # hides an outer constant of the same name
        else:
            initializers |= computed
            constants |= computed
    return replace(graph, nodes=tuple(kept), initializers=initializers)


def _fold_within(node: Node, context: Context, constants: Mapping[str, Any]) -> Node:
    changed = {name: _fold(inner, context, constants) for name, inner in node.graphs}
    return replace(node, attributes={**node.attributes, **changed}) if changed else node


def _compute(node: Node, context: Context, constants: Mapping[str, Any]) -> dict[str, Any] | None:
    """A node's outputs as constants; ``None`` if they can't be known or aren't worth keeping."""
    if any(name and name not in constants for name in node.inputs):
        return None
    operator = context.operator(node)
    assert operator is not None, "resolve() has looked up every operator"
    if "rng" in operator.reserved or node.graphs:
        return None
    tick()
    inputs = [as_array(constants[name]) if name else None for name in node.inputs]
    read = sum(x.nbytes for x in inputs if x is not None)
    attributes = bound_attributes(node, operator, context)
    try:
        # What is too large to be kept needn't be computed.
        if operator.needs(*inputs, **attributes).memory > _MOST_AT_ONCE * max(_MAX_BYTES, read):
            return None
        results = operator.function(*inputs, **attributes)
    except Exception:
        return None  # left in place: if it is ever reached, the run says what is wrong
    results = results if isinstance(results, tuple) else (results,)
    if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        return None
    arrays = [np.asarray(result) for result in results]
    if sum(array.nbytes for array in arrays) > max(_MAX_BYTES, read):
        return None
    if (budget := current()) is not None:
        budget.take(sum(array.nbytes for array in arrays))
    return {
        name: Tensor(name, element_type(array.dtype).code, array)
        for name, array in zip(node.outputs, arrays, strict=False)
        if name
    }
