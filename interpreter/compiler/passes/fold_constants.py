"""Computes nodes whose inputs are all constants once, at load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from onnxwalk.interpreter.budget import tick
from onnxwalk.interpreter.compiler.constants import as_array, operator_keywords
from onnxwalk.interpreter.compiler.context import Context, captured_names, same_nodes
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.interpreter.ir.plan import Step
from onnxwalk.interpreter.runtime.call import call
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.records import replace

#: the largest result that is kept, in bytes, unless its inputs were larger
_MAX_BYTES = 1 << 20
#: the largest sum of all results, in bytes, unless the file's constants are larger
_MAX_ALL = 1 << 26
#: how many times as much memory an operator may use while it computes
_MOST_AT_ONCE = 16

Constants = Mapping[str, Tensor | SparseTensor]


def fold_constants(graph: Graph, context: Context) -> Graph:
    """Replace nodes that depend on constants only by initializers, also in subgraphs; the graph
    itself where there are none."""
    return _Folding(graph, context).graph(graph, {})


class _Folding:
    def __init__(self, graph: Graph, context: Context) -> None:
        self.context = context
        self.whole = graph
        self.left: int | None = None  # bytes of results that may be kept, once there are some

    def graph(self, graph: Graph, outer: Constants) -> Graph:
        """The graph after folding; ``outer`` has the constants of the graphs around it."""
        variable = {value.name for value in graph.inputs}
        initializers = dict(graph.initializers)
        constants = {n: outer[n] for n in captured_names(graph) if n in outer}
        constants |= {n: t for n, t in initializers.items() if n not in variable}
        kept = []
        for node in graph.nodes:
            tick()
            if not node.graphs and any(n not in constants for n in node.inputs if n):
                kept.append(node)
                for name in node.outputs:
                    constants.pop(name, None)
                continue
            computed = self.compute(node, constants)
            if computed is None:
                kept.append(node.with_graphs(partial(self.graph, outer=constants)))
                for name in node.outputs:
                    constants.pop(name, None)  # hides an outer constant of the same name
            else:
                initializers |= computed
                constants |= computed
        if same_nodes(kept, graph.nodes):
            return graph
        return replace(graph, nodes=tuple(kept), initializers=initializers)

    def compute(self, node: Node, constants: Constants) -> dict[str, Tensor] | None:
        """A node's outputs as constants; ``None`` if they aren't constant or are too large to keep.
        A node that fails is left in place, and raises its error when a run reaches it."""
        if any(name and name not in constants for name in node.inputs):
            return None
        operator = self.context.operator(node)
        assert operator is not None, "resolve() has looked up every operator"
        if "rng" in operator.reserved or node.graphs:
            return None
        inputs = [as_array(constants[name]) if name else None for name in node.inputs]
        most = max(_MAX_BYTES, sum(x.nbytes for x in inputs if x is not None))
        attributes = operator_keywords(node, operator, self.context)
        step = Step(
            partial(operator.function, **attributes),
            inputs=tuple(range(len(inputs))),
            outputs=tuple(range(len(node.outputs))),
            release=(),
            node=node,
            operator=operator,
            cost=partial(operator.cost, **attributes),
        )
        try:
            if operator.cost(*inputs, **attributes).memory > _MOST_AT_ONCE * most:
                return None  # the result would be too large to keep
            results = call(step, inputs)
        except Exception:
            return None
        if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
            return None
        tensors = {
            name: Tensor(name, element_type(result.dtype).code, np.asarray(result))
            for name, result in zip(node.outputs, results, strict=False)
            if name
        }
        if self.left is None:
            self.left = max(_MAX_ALL, sum(map(_nbytes, _constants(self.whole))))
        nbytes = sum(map(_nbytes, tensors.values()))
        if nbytes > min(most, self.left):
            return None
        self.left -= nbytes
        return tensors


def _constants(graph: Graph) -> Iterator[Tensor | SparseTensor]:
    """The constants of the file in a graph and its subgraphs."""
    yield from graph.initializers.values()
    for node in graph.nodes:
        for value in node.attributes.values():
            if isinstance(value, Tensor | SparseTensor):
                yield value
        for _, inner in node.graphs:
            yield from _constants(inner)


def _nbytes(tensor: Tensor | SparseTensor) -> int:
    return (tensor.values if isinstance(tensor, SparseTensor) else tensor).array.nbytes
