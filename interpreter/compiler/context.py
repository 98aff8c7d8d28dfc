"""The operators and opsets that every stage of the compiler uses, and walks over nodes."""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.ops import Operator, Registry
from onnxwalk.ops import registry as builtin_operators
from onnxwalk.ops.contract.derived import find_operator
from onnxwalk.ops.contract.records import record


@record(frozen=True)
class Context:
    """The operators to choose from, the opsets to choose by, and the session's random numbers.

    ``seed``: of these numbers, or the generator itself. ``release``: called when large constants of
    the file have been laid out anew, and needn't be in memory any more.
    """

    registry: Registry
    opsets: Mapping[str, int]
    seed: int | np.random.Generator | None = None
    release: Callable[[], None] = lambda: None
    _operators: dict[tuple[str, str, int], Operator | None] = field(
        default_factory=dict, repr=False
    )
    #: constants of the file as arrays, while a plan has them: plans for other inputs and outputs
    #: share them
    aligned: weakref.WeakValueDictionary[Tensor | SparseTensor, np.ndarray] = field(
        default_factory=weakref.WeakValueDictionary, repr=False
    )
    #: the types of the outputs of calls whose types fit, which ``types`` has found already: by
    #: domain, operator, opset, types of the inputs, number of outputs
    output_types: dict[tuple[Any, ...], Sequence[str]] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def rng(self) -> np.random.Generator:
        """Made when first asked for: few models draw numbers, and NumPy imports 20 modules."""
        return np.random.default_rng(self.seed)

    def opset(self, node: Node) -> int | None:
        """The opset of a node's domain; ``None`` if it isn't imported."""
        return self.opsets.get(node.domain) if node.opset is None else node.opset

    def operator(self, node: Node) -> Operator | None:
        """The operator of a node; ``None`` if none is registered."""
        opset = self.opset(node)
        if opset is None:
            return None
        key = (node.domain, node.op_type, opset)
        if key not in self._operators:  # each rewrite asks for every node
            self._operators[key] = find_operator(self.registry, *key)
        return self._operators[key]

    def is_operator(self, node: Node, *names: str, domain: str = "") -> bool:
        """Whether a node is one of these built-in operators of a domain."""
        return node.is_one_of(*names, domain=domain) and self.is_builtin(node)

    def is_builtin(self, node: Node) -> bool:
        """Whether a node's operator is the built-in one, not one of a user's registry."""
        opset = self.opset(node)
        if opset is None or self.registry is builtin_operators:
            return opset is not None
        builtin = builtin_operators.lookup(node.domain, node.op_type, opset)
        return builtin is not None and self.operator(node) is builtin


#: the results of ``captured_names``, which every stage calls for every subgraph
_captured: weakref.WeakKeyDictionary[Graph, frozenset[str]] = weakref.WeakKeyDictionary()


def captured_names(graph: Graph) -> frozenset[str]:
    """The outer names that a subgraph, or one within it, reads."""
    if graph not in _captured:
        defined = {value.name for value in graph.inputs} | set(graph.initializers)
        outer: set[str] = set()
        for node in graph.nodes:
            outer |= names_used(node) - defined
            defined |= set(node.outputs)
        outer |= {value.name for value in graph.outputs} - defined
        _captured[graph] = frozenset(outer)
    return _captured[graph]


def names_used(node: Node) -> set[str]:
    """The values that a node reads: its inputs, and those that its subgraphs capture."""
    names = set(node.inputs)
    names.discard("")
    for _, graph in node.graphs:
        names |= captured_names(graph)
    return names


def same_nodes(nodes: Sequence[Node], others: Sequence[Node]) -> bool:
    """Whether these are the same nodes, in the same order."""
    return len(nodes) == len(others) and all(map(operator.is_, nodes, others))


def every_node(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph and of its subgraphs."""
    for node in graph.nodes:
        yield node
        for _, inner in node.graphs:
            yield from every_node(inner)
