"""What a conversion leaves to be worked out on every run is worked out once, in the file."""

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


def static_reshapes(graph: Any) -> None:
    """Reshape to (batch size, constants …) becomes Reshape to (-1, constants …), in place.

    Keras's Flatten and Reshape ask for the batch size, which takes half a dozen nodes.
    """
    from onnx import numpy_helper

    producers = {name: node for node in graph.node for name in node.output}
    constants = {t.name: t for t in graph.initializer if np.prod(t.dims) <= 8}
    made: dict[tuple[int, ...], str] = {}

    def values(name: str) -> NDArray[Any] | None:
        return numpy_helper.to_array(constants[name]) if name in constants else None

    for node in graph.node:
        if node.op_type != "Reshape" or any(a.name == "allowzero" and a.i for a in node.attribute):
            continue
        shape = _shape_parts(producers, node.input[1], values)
        if shape is None or shape.count(-1) != 1 or min(shape) < -1 or 0 in shape:
            continue
        if tuple(shape) not in made:
            name = made[tuple(shape)] = f"{node.name}/shape"
            graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        node.input[1] = made[tuple(shape)]
    _drop_dead(graph)


def _shape_parts(producers: dict[str, Any], name: str, values: Any) -> list[int] | None:
    """The elements of a concatenated shape, -1 for each single one that is not constant."""
    node = producers.get(name)
    if node is not None and node.op_type == "Cast":
        return _shape_parts(producers, node.input[0], values)
    if node is None or node.op_type != "Concat":
        return None
    parts: list[int] = []
    for source in node.input:
        known = values(source)
        if known is not None:
            if (known < 1).any():
                return None
            parts += [int(v) for v in known.reshape(-1)]
        elif _is_single(producers, source, values):
            parts.append(-1)
        else:
            return None
    return parts


def _is_single(producers: dict[str, Any], name: str, values: Any) -> bool:
    """Whether a vector is known to have one element."""
    node = producers.get(name)
    if node is None:
        return False
    if node.op_type == "Cast":
        return _is_single(producers, node.input[0], values)
    if node.op_type == "Unsqueeze":  # of a scalar: the result is a vector
        return True
    if node.op_type == "Slice" and len(node.input) < 5:
        start, end = values(node.input[1]), values(node.input[2])
        if start is None or end is None or start.size != 1:
            return False
        return int(start.item()) >= 0 and int(end.item()) - int(start.item()) == 1
    if node.op_type == "Gather":
        index = values(node.input[1])
        return index is not None and index.shape == (1,)
    return False


def _drop_dead(graph: Any) -> None:
    """Remove nodes whose results nobody reads, and then their constants."""
    from export.convert import walk

    while True:
        reads = {name for node in walk(graph) for name in node.input}
        reads |= {value.name for value in graph.output}
        kept = [node for node in graph.node if reads & set(node.output)]
        if len(kept) == len(graph.node):
            break
        del graph.node[:]
        graph.node.extend(kept)
    _drop_unused(graph, {})


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
