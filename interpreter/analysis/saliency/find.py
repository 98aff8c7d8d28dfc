"""Which values of a graph saliency is about: the one that is explained, and those it is traced
back to."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from dataclasses import replace

from onnxwalk.interpreter.compiler.assume import assume
from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.compiler.gradients.differentiate import FLOATS, flowing_to
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Graph, Node, TensorType, ValueInfo
from onnxwalk.interpreter.session import Session
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

#: what turns scores into probabilities or a class
_SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid")
_CHOOSING = ("ArgMax", "Hardmax")
#: what only arranges numbers, by its first input
_ARRANGING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
#: what may follow a convolution and is counted to it
_ACTIVATIONS = (
    "BatchNormalization", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish",
    "PRelu", "Relu", "Selu", "Softplus", "Swish", "Tanh",
)  # fmt: skip
_CONVOLUTIONS = ("Conv", "ConvTranspose")
#: sizes, not values: what is computed from them doesn't depend on the input's numbers
_SIZES = ("Shape", "Size")


def _looks_up(node: Node, ids: Collection[str]) -> bool:
    """Whether a node looks up vectors in a table, by ids among ``ids``."""
    if node.op_type == "EmbedLayerNormalization":
        return True
    return node.is_one_of("Gather") and node.inputs[0] not in ids


class Places:
    """The values of a session's graph, as far as saliency asks for them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.graph: Graph = session.graph
        self.context = session._program.context
        self.types: dict[str, str] = {}
        for _ in type_problems(self.graph, self.context, self.types):
            pass
        self.made_by = {name: node for node in self.graph.nodes for name in node.outputs if name}
        self.readers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in names_used(node):
                self.readers.setdefault(name, []).append(node)

    def is_real(self, name: str) -> bool:
        """Whether a value is a tensor of floating-point numbers; ``True`` also if that isn't
        known."""
        kind = self.types.get(name, "")
        return not kind or kind in FLOATS

    def reached_from(self, of: str) -> set[str]:
        """The values that the gradient of ``of`` flows to. Raises InvalidInputError."""
        return flowing_to(self.graph, self.context, of)

    def scores(self) -> tuple[str, str, bool]:
        """The value before the last softmax or sigmoid, the output that is computed from it, and
        whether a sigmoid lies between. Without any of these it is the first output of
        floating-point numbers itself.

        Raises InvalidInputError for a model without such an output.
        """
        outputs = [output.name for output in self.graph.outputs]
        found = [(*self._before_squashing(output), output) for output in outputs]
        # what would be an input is no score of it
        found = [f if f[0] in self.made_by else (f[2], False, f[2]) for f in found]
        real = [(name, output, sigmoid) for name, sigmoid, output in found if self.is_real(name)]
        if not real:
            listed = ", ".join(map(repr, outputs)) or "none"
            raise InvalidInputError(
                f"{self.session.model.source}: no output has floating-point numbers ({listed}), so "
                "there is nothing to take a gradient of; name a value with of= (--of)"
            )
        return real[0]

    def _before_squashing(self, output: str) -> tuple[str, bool]:
        found = name = output
        while (node := self.made_by.get(name)) is not None and node.domain == "":
            if node.op_type in _SQUASHING:
                return node.inputs[0], node.op_type == "Sigmoid"
            if node.op_type in _CHOOSING:
                found = node.inputs[0]
            elif node.op_type not in _ARRANGING:
                break
            name = node.inputs[0]
        return found, False

    def embedded(self, inputs: Iterable[str]) -> dict[str, list[str]]:
        """For each input that has no gradient itself, the first values of floating-point numbers
        that are computed from it: those that a Gather looks up in a table for ids, else those
        that a Cast converts it to."""
        tables: dict[str, list[str]] = {}
        others: dict[str, list[str]] = {}
        for source in inputs:
            derived = {source}
            for node in self.graph.nodes:
                if node.is_one_of(*_SIZES) or derived.isdisjoint(names_used(node)):
                    continue
                outputs = [name for name in node.outputs if name]
                real = [name for name in outputs if self.is_real(name)]
                derived.update(name for name in outputs if name not in real)
                is_table = _looks_up(node, derived)
                if real:
                    (tables if is_table else others).setdefault(source, []).append(real[0])
        return tables or others

    def convolutions(self, reached: Collection[str]) -> list[tuple[str, int]]:
        """The outputs of the convolutions among ``reached``, the last first, each after the
        normalization and the activation that follow it; and the axis of the channels."""
        convolutions = (
            node
            for node in reversed(self.graph.nodes)
            if node.is_one_of(*_CONVOLUTIONS) and node.outputs[0] in reached
        )
        return [self._followed(node)[-1] for node in convolutions]

    def channel_axis(self, name: str) -> int:
        """The axis of the channels of maps: 1, but of what follows a convolution and was turned."""
        for node in self.graph.nodes:
            if node.is_one_of(*_CONVOLUTIONS):
                for other, axis in self._followed(node):
                    if other == name:
                        return axis
        return 1

    def _followed(self, convolution: Node) -> list[tuple[str, int]]:
        """The output of a convolution and those of what belongs to it, and their channels' axes."""
        found = [(name := convolution.outputs[0], axis := 1)]
        while len(readers := self.readers.get(name, [])) == 1:
            node, name = readers[0], readers[0].outputs[0]
            if node.is_one_of("Transpose") and axis in node.attributes.get("perm", ()):
                axis = list(node.attributes["perm"]).index(axis)  # an activation may follow
            elif self._belongs(node):
                found.append((name, axis))
            else:
                break
        return found

    def _belongs(self, node: Node) -> bool:
        """Whether a node is the bias, the normalization or the activation of the one before."""
        if node.is_one_of("Add", "Mul"):
            return any(name in self.graph.initializers for name in node.inputs)
        return node.is_one_of(*_ACTIVATIONS)

    def opened_at(self, names: Collection[str], of: str) -> Session:
        """A session that computes ``of`` and has the values of these names as inputs."""
        if not (inner := [name for name in names if name in self.made_by]):
            return self.session
        codes = {element.name: code for code, element in ELEMENT_TYPES.items()}
        added = []
        for name in inner:
            kind = self.types.get(name, "").rpartition("(")[2].rstrip(")")
            added.append(ValueInfo(name, TensorType(codes.get(kind, 1))))
        aside = {name: self._unused(f"{name}, computed") for name in inner}
        nodes = [
            node
            if aside.keys().isdisjoint(node.outputs)
            else replace(node, outputs=tuple(aside.get(name, name) for name in node.outputs))
            for node in self.graph.nodes
        ]
        graph = replace(
            self.graph,
            nodes=tuple(nodes),
            inputs=(*self.graph.inputs, *added),
            outputs=(ValueInfo(of),),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were shown when the session was loaded
            model, _ = assume(self.session.model)
            return Session(replace(model, graph=graph, functions={}), **self.session._options)

    def _unused(self, name: str) -> str:
        while name in self.made_by or name in self.types:
            name += "'"
        return name
