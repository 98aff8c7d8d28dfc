"""Weights that a conversion rearranges on every run are rearranged once, in the file."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fold(graph: Any) -> None:
    """Apply, in place, what only moves the elements of an initializer about.

    Transpose, Reshape, Squeeze, Unsqueeze and Identity of initializers, in the top graph; the
    arithmetic of small constants is folded by tf2onnx and TensorFlow already.
    """
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    folded: list[Any] = []
    kept: list[Any] = []
    for node in graph.node:  # in topological order
        name = node.output[0] if node.output else ""
        known = all(source in tensors for source in node.input)
        if node.op_type not in _MOVES or name in outputs or not known:
            kept.append(node)
            continue
        attributes = {a.name: list(a.ints) or a.i for a in node.attribute}
        arrays = [numpy_helper.to_array(tensors[source]) for source in node.input]
        result = np.ascontiguousarray(_MOVES[node.op_type](*arrays, **attributes))
        tensors[name] = numpy_helper.from_array(result, name)
        graph.initializer.append(tensors[name])
        folded.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused(graph, {node.output[0]: node.input[0] for node in folded})


def _drop_unused(graph: Any, origin: dict[str, str]) -> None:
    """Remove initializers nobody reads; a folded one takes over the name of a removed original."""
    from export.convert import walk

    reads = Counter(name for node in walk(graph) for name in node.input)
    reads.update(value.name for value in graph.output)
    unused = {tensor.name for tensor in graph.initializer if not reads[tensor.name]}
    names: dict[str, str] = {}
    for tensor in graph.initializer:
        source = tensor.name
        while source in origin:
            source = origin[source]
        if tensor.name in origin and tensor.name not in unused and source in unused:
            names[tensor.name] = source
            unused.discard(source)  # taken
    kept = [t for t in graph.initializer if reads[t.name]]
    for tensor in kept:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in walk(graph):
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _reshape(x: NDArray[Any], shape: NDArray[Any], allowzero: int = 0) -> NDArray[Any]:
    sizes = [x.shape[i] if n == 0 and not allowzero else int(n) for i, n in enumerate(shape)]
    return x.reshape(sizes)


def _squeeze(x: NDArray[Any], axes: NDArray[Any] | None = None) -> NDArray[Any]:
    return np.squeeze(x, None if axes is None else tuple(int(a) for a in axes))


def _unsqueeze(x: NDArray[Any], axes: NDArray[Any]) -> NDArray[Any]:
    return np.expand_dims(x, tuple(int(a) for a in axes))


def _transpose(x: NDArray[Any], perm: list[int] | None = None) -> NDArray[Any]:
    return np.transpose(x, perm)


_MOVES = {
    "Identity": lambda x: x,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
