"""The losses: each is a few nodes that are added to a graph, and what it says of the labels.

A loss is the mean over the samples, and over all further axes but that of the classes, as Keras's
are. Probabilities are only taken where there is no other way: if the output is that of a Softmax or
Sigmoid, the loss is computed from what goes into it, which is exact where probabilities round to 0
or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.ir.model import Graph, Node, Tensor, TensorType, ValueInfo
from onnxwalk.ops.contract.dtypes import element_type

#: how near to 0 and 1 probabilities may come, as in Keras
_EPSILON = 1e-7
#: the opset of the nodes of a loss, whatever the file's
_OPSET = 13

#: what labels are: the number of a class for each sample; a probability for each class; one for
#: each output; any number for each output
SPARSE, CATEGORICAL, BINARY, NUMBERS = "sparse", "categorical", "binary", "numbers"


class Nodes:
    """Nodes and constants that are added to a graph."""

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph, self._scope = graph, scope
        self._taken = {v.name for v in graph.inputs} | set(graph.initializers)
        self._taken |= {name for node in graph.nodes for name in node.outputs}
        self._nodes: list[Node] = []
        self._constants: dict[str, Tensor] = {}

    def name(self, name: str) -> str:
        """The name, with a number if the graph has it already."""
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name} ({number})", number + 1
        self._taken.add(found)
        return found

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output; returns that one's name."""
        output = self.name(f"{self._scope}/{op_type}")
        self._nodes.append(Node(op_type, inputs, (output,), attributes, name=output, opset=_OPSET))
        return output

    def constant(self, value: Any, dtype: Any) -> str:
        """Add a constant; returns its name."""
        name = self.name(f"{self._scope}/constant")
        array = np.asarray(value, dtype)
        self._constants[name] = Tensor(name, element_type(array.dtype).code, array)
        return name

    @property
    def added(self) -> frozenset[str]:
        """The names of the nodes."""
        return frozenset(node.name for node in self._nodes)

    def graph(self, *inputs: ValueInfo) -> Graph:
        """The graph with all of it, and further inputs."""
        return replace(
            self._graph,
            nodes=(*self._graph.nodes, *self._nodes),
            inputs=(*self._graph.inputs, *inputs),
            initializers={**self._graph.initializers, **self._constants},
        )


@dataclass(frozen=True)
class Target:
    """What a loss is computed of: ``output``, which is what a prediction is read from, and
    ``logits``, what goes into its Softmax or Sigmoid; "" if there is none."""

    output: str
    logits: str
    dtype: np.dtype


@dataclass(frozen=True)
class Loss:
    """A loss by its name in ``train(loss=…)``.

    ``final``: the operator at the end that it sees through. ``build``: adds the nodes to get the
    loss from a Target and the labels, and returns the loss's name.
    """

    name: str
    labels: str
    build: Callable[[Nodes, Target, str], str] = field(repr=False)
    final: str = ""
    #: whether the axis of the classes is 1, as ONNX has it, or the last one, as Keras has it
    classes_axis: int = -1


def _sparse(nodes: Nodes, target: Target, labels: str) -> str:
    labels = nodes.add("Reshape", labels, nodes.constant([-1], np.int64))
    scores = target.logits or _log(nodes, target.output, target.dtype)
    scores = nodes.add("Flatten", scores, axis=-1)
    return nodes.add("SoftmaxCrossEntropyLoss", scores, labels)


def _categorical(nodes: Nodes, target: Target, labels: str) -> str:
    if target.logits:
        logs = nodes.add("LogSoftmax", target.logits, axis=-1)
    else:
        last = nodes.constant([-1], np.int64)
        total = nodes.add("ReduceSum", target.output, last, keepdims=1)
        logs = _log(nodes, nodes.add("Div", target.output, total), target.dtype)
    last = nodes.constant([-1], np.int64)
    of_each = nodes.add("ReduceSum", nodes.add("Mul", labels, logs), last, keepdims=0)
    return nodes.add("Neg", _mean(nodes, of_each))


def _binary(nodes: Nodes, target: Target, labels: str) -> str:
    """-z·log(p) - (1 - z)·log(1 - p); of logits x the logs are -softplus(-x) and -softplus(x)."""
    rest = nodes.add("Sub", nodes.constant(1, target.dtype), labels)
    if target.logits:
        ones = nodes.add("Softplus", nodes.add("Neg", target.logits))
        zeros = nodes.add("Softplus", target.logits)
        total = nodes.add("Add", nodes.add("Mul", labels, ones), nodes.add("Mul", rest, zeros))
        return _mean(nodes, total)
    p = _clip(nodes, target.output, target.dtype)
    others = nodes.add("Sub", nodes.constant(1, target.dtype), p)
    ones, zeros = nodes.add("Log", p), nodes.add("Log", others)
    total = nodes.add("Add", nodes.add("Mul", labels, ones), nodes.add("Mul", rest, zeros))
    return nodes.add("Neg", _mean(nodes, total))


def _mean_squared(nodes: Nodes, target: Target, labels: str) -> str:
    difference = nodes.add("Sub", target.output, labels)
    return _mean(nodes, nodes.add("Mul", difference, difference))


def _mean_absolute(nodes: Nodes, target: Target, labels: str) -> str:
    return _mean(nodes, nodes.add("Abs", nodes.add("Sub", target.output, labels)))


def _softmax_cross_entropy(nodes: Nodes, target: Target, labels: str) -> str:
    return nodes.add("SoftmaxCrossEntropyLoss", target.logits or target.output, labels)


def _negative_log_likelihood(nodes: Nodes, target: Target, labels: str) -> str:
    return nodes.add("NegativeLogLikelihoodLoss", target.output, labels)


def _clip(nodes: Nodes, p: str, dtype: np.dtype) -> str:
    low, high = (nodes.constant(edge, dtype) for edge in (_EPSILON, 1 - _EPSILON))
    return nodes.add("Clip", p, low, high)


def _log(nodes: Nodes, p: str, dtype: np.dtype) -> str:
    return nodes.add("Log", _clip(nodes, p, dtype))


def _mean(nodes: Nodes, x: str) -> str:
    return nodes.add("ReduceMean", x, keepdims=0)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("sparse_categorical_crossentropy", SPARSE, _sparse, "Softmax"),
        Loss("categorical_crossentropy", CATEGORICAL, _categorical, "Softmax"),
        Loss("binary_crossentropy", BINARY, _binary, "Sigmoid"),
        Loss("mse", NUMBERS, _mean_squared),
        Loss("mae", NUMBERS, _mean_absolute),
        Loss("SoftmaxCrossEntropyLoss", SPARSE, _softmax_cross_entropy, "Softmax", classes_axis=1),
        Loss("NegativeLogLikelihoodLoss", SPARSE, _negative_log_likelihood, classes_axis=1),
    )
}
#: further names, as Keras has them
_ALIASES = {
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "MeanSquaredError": "mse",
    "MeanAbsoluteError": "mae",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "CategoricalCrossentropy": "categorical_crossentropy",
    "BinaryCrossentropy": "binary_crossentropy",
}


@dataclass(frozen=True)
class LossGraph:
    """A graph with a loss. ``labels``: the name of their input, "" if there is none; ``kind``: what
    they are. ``output``: the predictions, "" if the loss is an output of the file's own."""

    graph: Graph
    loss: str
    labels: str = ""
    kind: str = ""
    output: str = ""
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))
    #: the shape of the predictions, as far as it is known: sizes that aren't numbers can be any
    shape: tuple[Any, ...] | None = None
    #: the number of classes, or of outputs for each sample, if that is known
    classes: int | None = None
    classes_axis: int = -1
    #: whether the predictions are logits
    is_logits: bool = False
    #: the names of the nodes of the loss
    nodes: frozenset[str] = frozenset()

    def labels_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """The shape of labels for predictions of a shape."""
        if self.kind != SPARSE:
            return tuple(shape)
        axis = self.classes_axis % max(len(shape), 1)
        return (*shape[:axis], *shape[axis + 1 :])


def labels_misfit(losses: LossGraph, labels: np.ndarray, shape: Sequence[Any]) -> str:
    """The message for labels that don't fit predictions of a shape."""

    def text(sizes: Sequence[Any]) -> str:
        shown = ", ".join("?" if size is None else str(size) for size in sizes)
        return f"({shown},)" if len(sizes) == 1 else f"({shown})"

    return (
        f"labels have shape {text(labels.shape)}, but for output {losses.output!r}, which has "
        f"shape {text(shape)}, they must have shape {text(losses.labels_shape(shape))}"
    )


def add_loss(
    graph: Graph, context: Context, loss: str, *, output: str | None, from_logits: bool,
    shapes: Mapping[str, Any],
) -> LossGraph:  # fmt: skip
    """The graph with a loss of one of its outputs: one of ``LOSSES``, or the name of an output that
    is a scalar. ``shapes``: of the outputs, as far as they are known.

    Raises InvalidInputError for unknown names, and if it isn't clear which output is meant.
    """
    outputs = {value.name: value for value in graph.outputs}
    if not isinstance(loss, str):
        raise InvalidInputError(f"loss must be a name, not {loss!r}")
    found = LOSSES.get(_ALIASES.get(loss, loss))
    if found is None or loss in outputs:
        return _own_loss(graph, loss, outputs, output, shapes)
    if output is None and len(outputs) != 1:
        raise InvalidInputError(
            f"loss {loss!r} is of one output: pass output=, one of {', '.join(outputs)}"
        )
    name = output or next(iter(outputs))
    if name not in outputs:
        raise InvalidInputError(f"no output is named {name!r}{suggest(name, outputs)}")
    return _with_loss(graph, context, found, outputs[name], from_logits, shapes.get(name))


def _own_loss(
    graph: Graph, loss: str, outputs: Mapping[str, ValueInfo], output: str | None,
    shapes: Mapping[str, Any],
) -> LossGraph:  # fmt: skip
    if loss not in outputs:
        known = [*LOSSES, *_ALIASES, *outputs]
        raise InvalidInputError(
            f"loss {loss!r} is neither a known loss nor an output of the model"
            f"{suggest(loss, known)}"
        )
    shape = shapes.get(loss)
    if shape is not None and any(size != 1 for size in shape):
        raise InvalidInputError(
            f"output {loss!r} has shape {shape}: a loss must be a scalar; to compute one of it, "
            f"pass the name of a loss ({', '.join(LOSSES)})"
        )
    if output is not None:
        raise InvalidInputError(f"the loss is output {loss!r} of the model: output= isn't needed")
    return LossGraph(graph, loss)


def _with_loss(
    graph: Graph, context: Context, loss: Loss, output: ValueInfo, from_logits: bool, shape: Any
) -> LossGraph:
    declared = output.type
    dtype = declared.dtype if isinstance(declared, TensorType) else None
    dtype = np.dtype(np.float32) if dtype is None else dtype
    if dtype.kind not in "fV":
        raise InvalidInputError(
            f"output {output.name!r} is {dtype}: a loss needs floating-point numbers"
        )
    if shape is not None and not len(shape):
        raise InvalidInputError(
            f"output {output.name!r} is a scalar: pass its name as the loss itself"
        )
    rank = None if shape is None else len(shape)
    if loss.classes_axis == 1 and rank is not None and rank < 2:
        raise InvalidInputError(f"{loss.name} needs an output (N, C, …), not {shape}")
    if loss.labels in (SPARSE, CATEGORICAL) and rank == 1:
        raise InvalidInputError(
            f"{loss.name} needs an output (N, …, C), of classes for each sample: {output.name!r} "
            f"has shape {shape}"
        )
    logits = output.name
    if not from_logits:
        logits = find_logits(graph, context, output.name, loss.final, loss.classes_axis, rank)
    nodes = Nodes(graph, "loss")
    labels = nodes.name("labels")
    name = loss.build(nodes, Target(output.name, logits, dtype), labels)
    element = element_type(np.dtype(np.int64) if loss.labels == SPARSE else dtype).code
    axis = loss.classes_axis
    size = shape[axis] if rank is not None and rank >= abs(axis) else None
    return LossGraph(
        nodes.graph(ValueInfo(labels, TensorType(element))),
        name,
        labels,
        loss.labels,
        output.name,
        dtype,
        None if shape is None else tuple(shape),
        size if isinstance(size, int) else None,
        axis,
        from_logits,
        nodes.added,
    )


def find_logits(
    graph: Graph, context: Context, output: str, final: str, axis: int, rank: int | None
) -> str:
    """What goes into the Softmax (along the classes) or Sigmoid that computes an output; "" if
    something else does."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    node = makers.get(output)
    while node is not None and context.is_operator(node, "Identity"):
        node = makers.get(node.inputs[0])
    if node is None or not final or not context.is_operator(node, final):
        return ""
    if final == "Softmax":
        opset = context.opset(node) or 1
        found = node.attributes.get("axis", -1 if opset >= 13 else 1)
        if found != axis and (rank is None or found % rank != axis % rank):
            return ""
        if opset < 13 and (rank is None or found % rank != rank - 1):
            return ""  # it normalizes all axes from there on
    return node.inputs[0]
