"""What rewrites look up in a graph: the node that computes a value, its readers, its formula."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.compiler.context import Context, names_used
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.records import replace

#: a value by the name of a variable, a number, or (operator, pattern of each input …)
Pattern: TypeAlias = "str | float | tuple[Any, ...]"

_COMMUTATIVE = ("Add", "Mul")


class Links:
    """The values of a graph: the nodes that compute and read them, and constants."""

    def __init__(self, graph: Graph, context: Context) -> None:
        self.graph = graph
        self.context = context
        self.is_operator = context.is_operator
        self.maker, self._readers = _makers_and_readers(graph)
        self.operators = {op_type for _, op_type in graph.operators}
        self._outputs = {value.name for value in graph.outputs}
        self._variable = {value.name for value in graph.inputs}

    def is_read(self, name: str) -> bool:
        """Whether a node reads a value, or it is an output of the graph."""
        return name in self._readers or name in self._outputs

    def readers(self, name: str) -> list[Node]:
        """The nodes that read a value."""
        return self._readers.get(name, [])

    def only_reader(self, name: str) -> Node | None:
        """The one node that reads a value, once, if it isn't an output of the graph either."""
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def constant(self, name: str) -> np.ndarray | None:
        """The array of a value that is the same in every run."""
        if name not in self.graph.initializers or name in self._variable:
            return None
        tensor = self.graph.initializers[name]
        return tensor.to_dense() if isinstance(tensor, SparseTensor) else tensor.array

    def number(self, name: str) -> float | None:
        """The number in a constant with one element."""
        array = self.constant(name)
        if array is None or array.size != 1 or array.dtype.kind not in "fiu":
            return None
        return float(array.reshape(-1)[0])

    def match(self, pattern: Pattern, name: str) -> dict[str, str] | None:
        """The names that the variables of a pattern match, if a value is computed that way."""
        return next(self.matches(pattern, name), None)

    def matches(self, pattern: Pattern, name: str) -> Iterator[dict[str, str]]:
        """All matches of a pattern with the way in which a value is computed."""
        if operators_of(pattern) <= self.operators:
            yield from self._matches(pattern, name, {})

    def _matches(
        self, pattern: Pattern, name: str, bound: dict[str, str]
    ) -> Iterator[dict[str, str]]:
        if isinstance(pattern, str):
            if bound.setdefault(pattern, name) == name:
                yield bound
            return
        if isinstance(pattern, (int, float)):
            number = self.number(name)
            if number is not None and np.isclose(number, pattern, rtol=1e-6, atol=0):
                yield bound
            return
        operator, *inputs = pattern
        node = self.maker.get(name)
        if node is None or not self.is_operator(node, operator) or node.outputs[0] != name:
            return
        if len(node.inputs) < len(inputs):
            return
        orders = (
            itertools.permutations(node.inputs)
            if operator in _COMMUTATIVE
            else [node.inputs[: len(inputs)]]
        )
        for order in orders:
            yield from self._match_all(inputs, order, dict(bound))

    def _match_all(
        self, patterns: Sequence[Pattern], names: Sequence[str], bound: dict[str, str]
    ) -> Iterator[dict[str, str]]:
        if not patterns:
            yield bound
            return
        for match in self._matches(patterns[0], names[0], dict(bound)):
            yield from self._match_all(patterns[1:], names[1:], match)


#: of graphs that are still there: most rewrites leave a graph as it is, and the next asks again
_indexes: weakref.WeakKeyDictionary[Graph, tuple[dict[str, Node], dict[str, list[Node]]]] = (
    weakref.WeakKeyDictionary()
)


def _makers_and_readers(graph: Graph) -> tuple[dict[str, Node], dict[str, list[Node]]]:
    """The node that computes each value, and the nodes that read it, once for each time."""
    found = _indexes.get(graph)
    if found is None:
        maker = {name: node for node in graph.nodes for name in node.outputs if name}
        readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                if name in readers:
                    readers[name].append(node)
                else:
                    readers[name] = [node]
            if node.graphs:
                for name in names_used(node) - set(node.inputs):
                    readers.setdefault(name, []).append(node)
        found = _indexes[graph] = maker, readers
    return found


@functools.cache
def operators_of(pattern: Pattern) -> frozenset[str]:
    """The operators in a pattern."""
    if not isinstance(pattern, tuple):
        return frozenset()
    return frozenset({pattern[0]}).union(*map(operators_of, pattern[1:]))


class Edits:
    """Nodes to replace or drop, and constants to add, collected while a graph is read."""

    def __init__(self, links: Links) -> None:
        self._links, self._graph = links, links.graph
        self._nodes: dict[int, tuple[Node, ...]] = {}
        self._constants: dict[str, Tensor] = {}

    def replace(self, node: Node, *by: Node) -> None:
        """Replace a node by others; by none to drop it."""
        self._nodes[id(node)] = by

    def is_edited(self, node: Node) -> bool:
        return id(node) in self._nodes

    def only_reader(self, name: str) -> Node | None:
        """As ``Links.only_reader``; ``None`` if that node has been edited."""
        reader = self._links.only_reader(name)
        return None if reader is None or self.is_edited(reader) else reader

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a constant; returns its name, with primes if that is in use."""
        while name in self._graph.initializers or name in self._constants:
            name += "'"
        self._constants[name] = Tensor(name, element_type(array.dtype).code, array)
        return name

    def graph(self) -> Graph:
        """The graph after the edits."""
        if not self._nodes:
            return self._graph
        return replace(
            self._graph,
            nodes=tuple(
                n for node in self._graph.nodes for n in self._nodes.get(id(node), (node,))
            ),
            initializers={**self._graph.initializers, **self._constants},
        )
