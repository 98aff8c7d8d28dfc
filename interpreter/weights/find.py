"""Lists the trainable weights of a file: by the exporter's record, or by who reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxwalk.interpreter.ir.model import Graph, Model, Node, Tensor
from onnxwalk.interpreter.weights.record import Weight, read_weights

#: the inputs of an operator that are weights, if they are initializers
_WEIGHT_INPUTS: dict[tuple[str, str], tuple[int, ...]] = {
    **dict.fromkeys([("", "Conv"), ("", "ConvTranspose"), ("", "Gemm")], (1, 2)),
    **dict.fromkeys([("", "RNN"), ("", "GRU")], (1, 2, 3)),
    ("", "LSTM"): (1, 2, 3, 7),
    ("", "DeformConv"): (1, 3),
    ("", "MatMul"): (0, 1),
    ("", "Gather"): (0,),
    ("", "PRelu"): (1,),
    ("", "RMSNormalization"): (1,),
    **dict.fromkeys(
        [
            ("", "BatchNormalization"),  # its mean and variance have no gradient
            ("", "GroupNormalization"),
            ("", "InstanceNormalization"),
            ("", "LayerNormalization"),
        ],
        (1, 2),
    ),
    ("com.microsoft", "FusedConv"): (1, 2),
    ("com.microsoft", "FusedGemm"): (1, 2),
    ("com.microsoft", "FusedMatMul"): (0, 1),
    ("com.microsoft", "Attention"): (1, 2),
    ("com.microsoft", "BiasGelu"): (1,),
    ("com.microsoft", "FastGelu"): (1,),
    ("com.microsoft", "SkipLayerNormalization"): (2, 3, 4),
    ("com.microsoft", "SkipSimplifiedLayerNormalization"): (2, 3),
    ("com.microsoft", "EmbedLayerNormalization"): (2, 3, 4, 5, 6),
}
#: operators whose result, plus an initializer, is a layer with a bias
_PRODUCTS = ("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul")
#: operators that only move the elements of a weight, or change their type
_MOVES = ("Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_FLOATS = (1, 10, 11, 16)  # float, float16, double, bfloat16
_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


def trainable_weights(source: Any) -> tuple[Weight, ...]:
    """The weights of a file that training changes by their gradients, in the file's order.

    ``source``: a Session or a Model. Where the exporter recorded Keras's variables
    (``to_onnx(trainable=True)``) they are those that Keras would train. In other files they are the
    initializers of a float type that the operators read as weights: kernels, tables, biases (also
    of an Add after a product), scales of normalizations; and of B of an RNN, LSTM or GRU that adds
    both halves where one of them is all zeros, the other alone, as it is one bias.

    Raises InvalidModelError for a record that doesn't fit the file.
    """
    model: Model = getattr(source, "model", source)
    recorded = read_weights(model)
    if recorded is not None:
        return tuple(weight for weight in recorded if weight.trainable and weight.initializer)
    return tuple(_find(model.graph))


def _find(graph: Graph) -> Iterator[Weight]:
    origins: dict[str, str] = {name: name for name in graph.initializers}
    readers: dict[str, list[Node]] = {}
    products: set[str] = set()
    for node in _walk(graph):
        moved = origins.get(node.inputs[0]) if node.inputs else None
        if node.is_one_of(*_MOVES) and moved is not None:
            origins[node.outputs[0]] = moved
            continue
        is_product = node.is_one_of(*_PRODUCTS)
        if is_product or (node.is_one_of(*_MOVES) and products & set(node.inputs[:1])):
            products.add(node.outputs[0])
        for name in _weight_inputs(node, products):
            if name in origins:
                readers.setdefault(origins[name], []).append(node)
    for name, tensor in graph.initializers.items():
        if name in readers and isinstance(tensor, Tensor) and tensor.element in _FLOATS:
            yield _weight(name, tensor.array, readers[name])


def _weight_inputs(node: Node, products: set[str]) -> tuple[str, ...]:
    """The inputs of a node that are weights where they are initializers."""
    if node.is_one_of("Add") and products & set(node.inputs):
        return node.inputs
    if node.is_one_of("Einsum"):
        return node.inputs
    places = _WEIGHT_INPUTS.get((node.domain, node.op_type), ())
    return tuple(node.inputs[i] for i in places if i < len(node.inputs))


def _weight(name: str, array: np.ndarray, readers: list[Node]) -> Weight:
    part = next((p for p in (_single_bias(name, array, n) for n in readers) if p), ())
    return Weight(name, name, array[part].shape, part=part)


def _single_bias(name: str, array: np.ndarray, node: Node) -> tuple[slice, ...]:
    """Of B (directions, 2 · gates · units): the half that is the bias, if the other is zero; () if
    both are weights, or this isn't B."""
    if not node.is_one_of(*_GATES) or node.inputs[3:4] != (name,) or array.ndim != 2:
        return ()
    if node.op_type == "GRU" and node.attributes.get("linear_before_reset", 0):
        return ()  # one half is inside of what the reset gate multiplies
    half = array.shape[1] // 2
    for start in (half, 0):
        if not array[:, start : start + half].any():
            return slice(0, len(array)), slice(half - start, 2 * half - start)
    return ()


def _walk(graph: Graph) -> Iterator[Node]:
    """Every node, also those of subgraphs."""
    for node in graph.nodes:
        yield node
        for _, inner in node.graphs:
            yield from _walk(inner)
