"""The body of a Loop, read as what one step does: steps of sequences, states, counters, constants.

TensorFlow's loops carry everything, weights and lengths too, and count for themselves. Here the
carried values that never change are the outer values, constants among them are folded, and a value
is known to be "the step's row of a sequence" or "the number of the step" by how it is computed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from onnxwalk.interpreter.compiler.context import captured_names
from onnxwalk.interpreter.compiler.passes.fold_constants import fold_constants
from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.compiler.passes.sizes import Sizes, is_number_cast, is_zero
from onnxwalk.interpreter.ir.model import Graph, Node, Tensor, TensorType
from onnxwalk.ops.contract.dtypes import element_type


class Select(NamedTuple):
    """``new`` where the mask (a sequence of the outer graph) is true, else ``old``."""

    mask: str
    new: str
    old: str
    by_product: bool  # mask·new + (1 - mask)·old, where what isn't chosen should be finite


class Carried(NamedTuple):
    """A value that iterations change: its names in the body, before and after, and outside."""

    before: str
    after: str
    initial: str
    output: str


class LoopBody:
    """What a Loop's iterations do. ``is_readable`` tells whether it has a form to look at."""

    def __init__(self, node: Node, links: Links) -> None:
        self.node, self.outer = node, links
        self.sizes = Sizes(links)
        body: Graph = node.attributes["body"]
        self.is_readable = (
            not any(inner.graphs for inner in body.nodes)
            and len(node.inputs) >= 2
            and len(body.inputs) == len(node.inputs)
            and len(body.outputs) == len(node.outputs) + 1
        )
        if not self.is_readable:
            return
        self._read(body)

    def _read(self, body: Graph) -> None:
        makers = {name: inner for inner in body.nodes for name in inner.outputs}
        count = len(body.inputs) - 2
        names = [value.name for value in body.inputs]
        results = [_skip_identities(value.name, makers) for value in body.outputs]
        same = {k for k in range(count) if results[1 + k] == names[2 + k]}
        #: the outer name of each value that all iterations share
        self.shared = {names[2 + k]: self.node.inputs[2 + k] for k in same}
        self.shared |= {name: name for name in captured_names(body)}
        constants = {
            name: Tensor(name, element_type(array.dtype).code, array)
            for name, source in self.shared.items()
            if (array := self.outer.constant(source)) is not None
        }
        inputs = tuple(value for value in body.inputs if value.name not in constants)
        initializers = {**body.initializers, **constants}
        graph = replace(body, inputs=inputs, initializers=initializers)
        self.links = Links(fold_constants(graph, self.outer.context), self.outer.context)
        self.iteration, self._condition = names[:2]
        self._goes_on = results[0]
        changed = [
            Carried(names[2 + k], results[1 + k], self.node.inputs[2 + k], self.node.outputs[k])
            for k in range(count)
            if k not in same
        ]
        self._counters = {self.iteration}
        self._counters |= {value.before for value in changed if self._counts(value)}
        self.carried = [value for value in changed if value.before not in self._counters]
        self.counted = [value.output for value in changed if value.before in self._counters]
        #: each result that is stacked, in the body and outside
        stacked = [value.name for value in body.outputs[1 + count :]]
        self.stacked = list(zip(stacked, self.node.outputs[count:], strict=True))

    def unchanged(self) -> list[tuple[str, str]]:
        """The outputs of the Loop that are outer values, and these."""
        names = [value.name for value in self.node.attributes["body"].inputs[2:]]
        return [
            (output, self.shared[name])
            for output, name in zip(self.node.outputs, names, strict=False)
            if name in self.shared
        ]

    def source(self, name: str) -> str:
        """The value that a name is another name of."""
        return _skip_identities(name, self.links.maker)

    def made_by(self, name: str, *operators: str) -> Node | None:
        """The node that computes a value, if it is one of these operators."""
        node = self.links.maker.get(self.source(name))
        return node if node is not None and self.links.is_operator(node, *operators) else None

    # ---------------------------------------------------------------- sequences and counters

    def _counts(self, value: Carried) -> bool:
        """Whether a carried value begins with 0 and gains 1 in each iteration."""
        initial = self.outer.constant(value.initial)
        if initial is None or initial.size != 1 or initial.dtype.kind != "i" or initial.any():
            return False
        return self._adds_one(value.after, {value.before})

    def _adds_one(self, name: str, counters: set[str]) -> bool:
        node = self.made_by(name, "Add")
        if node is None:
            return False
        a, b = map(self.source, node.inputs)
        pairs = ((a, b), (b, a))
        return any(x in counters and self.links.number(y) == 1 for x, y in pairs)

    def row_of(self, name: str) -> str | None:
        """The outer sequence whose row of this step a value is."""
        node = self.made_by(name, "Gather")
        if node is None or node.attributes.get("axis", 0) != 0:
            return None
        sequence, index = map(self.source, node.inputs)
        if index not in self._counters or sequence not in self.shared:
            return None
        return self.shared[sequence]

    def takes_all_rows(self, sequence: str) -> bool:
        """Whether there is one iteration for each row of an outer sequence."""
        length = self.sizes.length(self.node.inputs[0]) if self.node.inputs[0] else None
        if length is None or length != self.sizes.of(sequence, 0, rank=3):
            return False
        begins = self.node.inputs[1]
        if begins and not self._begins(begins, length):
            return False
        if self._goes_on == self._condition:
            return True
        return self._is_true(self._goes_on, length)

    def _begins(self, name: str, length: object) -> bool:
        """Whether an outer condition is true if there are steps at all."""
        constant = self.outer.constant(name)
        if constant is not None:
            return constant.size == 1 and bool(constant.all())
        node = self.outer.maker.get(name)
        if node is None:
            return False
        if self.outer.is_operator(node, "And"):
            return all(self._begins(part, length) for part in node.inputs)
        if not self.outer.is_operator(node, "Less"):
            return False
        return self.outer.number(node.inputs[0]) == 0 and self._is_length(node.inputs[1], length)

    def _is_true(self, name: str, length: object) -> bool:
        """Whether a condition holds in each iteration but the last: of And and of step < length.
        (TensorFlow's exporter compares float32, which counts exactly to 16 million.)"""
        constant = self.links.constant(self.source(name))
        if constant is not None:
            return constant.size == 1 and bool(constant.all())
        node = self.made_by(name, "And", "Less")
        if node is None:
            return False
        if node.op_type == "And":
            return all(self._is_true(part, length) for part in node.inputs)
        step, end = (self._without_casts(part) for part in node.inputs)
        if step not in self._counters and not self._adds_one(step, self._counters):
            return False
        array = self.links.constant(end)
        if array is not None:
            return array.size == 1 and array.reshape(-1)[0] == length
        return end in self.shared and self._is_length(self.shared[end], length)

    def _is_length(self, name: str, length: object) -> bool:
        array = self.outer.constant(name)
        if array is not None:
            return array.size == 1 and array.reshape(-1)[0] == length
        return self.sizes.length(name) == length

    def _without_casts(self, name: str) -> str:
        while (node := self.made_by(name, "Cast")) is not None and is_number_cast(node):
            name = node.inputs[0]
        return self.source(name)

    # ---------------------------------------------------------------------------------- masks

    def select(self, name: str) -> Select | None:
        """A value as a choice by the step's row of a mask."""
        node = self.made_by(name, "Where")
        if node is not None:
            mask = self.row_of(node.inputs[0])
            return None if mask is None else Select(mask, *node.inputs[1:], by_product=False)
        node = self.made_by(name, "Add")
        parts = [self._masked(part) for part in node.inputs] if node is not None else []
        chosen = {is_new: (mask, value) for mask, is_new, value in filter(None, parts)}
        if set(chosen) != {True, False} or chosen[True][0] != chosen[False][0]:
            return None
        return Select(chosen[True][0], chosen[True][1], chosen[False][1], by_product=True)

    def _masked(self, name: str) -> tuple[str, bool, str] | None:
        """mask·value, or (1 - mask)·value: the mask, whether it is the first, and the value."""
        node = self.made_by(name, "Mul")
        for factor, value in (node.inputs, node.inputs[::-1]) if node is not None else ():
            cast = self.made_by(factor, "Cast")
            if cast is None or not is_number_cast(cast):
                continue
            opposite = self.made_by(cast.inputs[0], "Not")
            mask = self.row_of(cast.inputs[0] if opposite is None else opposite.inputs[0])
            if mask is not None:
                return mask, opposite is None, value
        return None

    def is_zero(self, name: str) -> bool:
        """Whether a value is zeros, of whatever shape."""
        name = self.source(name)
        if name in self.shared and self.links.constant(name) is None:
            return is_zero(self.outer, self.shared[name])
        return is_zero(self.links, name)

    def is_matrix(self, name: str) -> bool:
        """Whether an input or output of the body is declared with two axes."""
        body: Graph = self.node.attributes["body"]
        types = {value.name: value.type for value in (*body.inputs, *body.outputs)}
        kind = types.get(name)
        return isinstance(kind, TensorType) and kind.shape is not None and len(kind.shape) == 2

    def constant(self, name: str) -> np.ndarray | None:
        return self.links.constant(self.source(name))


def _skip_identities(name: str, makers: dict[str, Node]) -> str:
    while (node := makers.get(name)) is not None and node.is_one_of("Identity"):
        name = node.inputs[0]
    return name
