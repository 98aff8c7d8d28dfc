"""The constants of a graph: initializers, and the values of Constant nodes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxwalk.interpreter.ir.model import Graph, SparseTensor, Tensor


def own_tensors(graph: Graph) -> dict[str, Tensor | SparseTensor]:
    """The tensors that the file stores for a graph, by name, without those of its subgraphs."""
    tensors: dict[str, Tensor | SparseTensor] = dict(graph.initializers)
    for node in graph.nodes:
        if node.op_type == "Constant" and not node.domain:
            for value in node.attributes.values():
                if isinstance(value, Tensor | SparseTensor):
                    tensors[node.outputs[0]] = value
    return tensors


def every_tensor(graph: Graph) -> Iterator[tuple[str, Tensor | SparseTensor]]:
    """Names and tensors of a graph and of its subgraphs."""
    yield from own_tensors(graph).items()
    for node in graph.nodes:
        for _, inner in node.graphs:
            yield from every_tensor(inner)


def as_array(tensor: Tensor | SparseTensor) -> np.ndarray:
    """A constant as a dense array."""
    return tensor.array if isinstance(tensor, Tensor) else tensor.to_dense()
