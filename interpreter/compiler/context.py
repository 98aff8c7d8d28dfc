"""What every stage of the compiler needs to know besides the graph."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops import Operator, Registry, fused
from onnxwalk.ops import registry as builtin_operators
from onnxwalk.ops.contract.registry import FUSED_DOMAIN


@dataclass(frozen=True)
class Context:
    """The operators to choose from, the opsets to choose by, and the session's random numbers."""

    registry: Registry
    opsets: Mapping[str, int]
    rng: np.random.Generator
    _found: dict[tuple[str, str, int], Operator | None] = field(default_factory=dict, repr=False)

    def opset(self, node: Node) -> int | None:
        """The opset that a node is written in; ``None`` if its domain isn't imported."""
        return self.opsets.get(node.domain) if node.opset is None else node.opset

    def operator(self, node: Node) -> Operator | None:
        """What a node means, or ``None`` if nothing registered fits."""
        opset = self.opset(node)
        if opset is None:
            return None
        key = (node.domain, node.op_type, opset)
        if key not in self._found:  # each rewrite asks for every node
            registry = fused if node.domain == FUSED_DOMAIN else self.registry
            self._found[key] = registry.lookup(*key)
        return self._found[key]

    def is_operator(self, node: Node, *names: str, domain: str = "") -> bool:
        """Whether a node is one of these operators of a domain, as the spec defines them."""
        return node.is_one_of(*names, domain=domain) and self.is_builtin(node)

    def is_builtin(self, node: Node) -> bool:
        """Whether a node means what the spec says, not what a user's registry makes of it."""
        opset = self.opset(node)
        if opset is None or self.registry is builtin_operators:
            return opset is not None
        found = builtin_operators.lookup(node.domain, node.op_type, opset)
        return found is not None and self.operator(node) is found


#: what ``captured`` found: every stage asks it of every graph within graphs
_captured: weakref.WeakKeyDictionary[Graph, frozenset[str]] = weakref.WeakKeyDictionary()


def captured(graph: Graph) -> frozenset[str]:
    """The outer names that a subgraph, or one within it, reads."""
    if graph not in _captured:
        defined = {value.name for value in graph.inputs} | set(graph.initializers)
        needed: set[str] = set()
        for node in graph.nodes:
            needed |= names_read(node) - defined
            defined |= set(node.outputs)
        found = needed | {value.name for value in graph.outputs} - defined
        _captured[graph] = frozenset(found)
    return _captured[graph]


def names_read(node: Node) -> set[str]:
    """The values that a node reads: its inputs, and what its subgraphs take from outside."""
    names = {name for name in node.inputs if name}
    return names.union(*(captured(graph) for _, graph in node.graphs))


def every_node(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph and of the graphs within it."""
    for node in graph.nodes:
        yield node
        for _, inner in node.graphs:
            yield from every_node(inner)
