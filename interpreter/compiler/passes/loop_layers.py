"""Reads a Loop as a recurrent layer, if it provably is one."""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.compiler.passes.cells import (
    Constant,
    Counter,
    Expression,
    Iteration,
    Outer,
    Select,
    State,
    Unknown,
)
from onnxwalk.interpreter.compiler.passes.layers import Layer, find_layer
from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.compiler.passes.size_rules import Size
from onnxwalk.interpreter.compiler.passes.sizes import Sizes
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.records import record

#: weights and tables below this can't give a sum of products that isn't finite
_MODERATE = 1e15


@record(frozen=True)
class LoopLayer:
    """A Loop that is a recurrent layer, and which of the layer's results its outputs are."""

    node: Node
    layer: Layer
    x: str  # the inputs (T, N, I), in the order of the file
    backward: bool  # the loop reads x from the end
    mask: str  # (T, N, 1), in the same order; "": none
    shape: tuple[Size, Size, int]  # (T, N, H)
    #: name -> "h" or "c"
    finals: dict[str, str]
    #: the initial states by letter, those that aren't zero
    initial: dict[str, str]
    #: name of stacked elements -> the value at masked steps: "kept" or "zero"
    stacked: dict[str, str]


class LoopReader:
    """Reads the Loops of a graph in its order, as each may be the input of the next."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self.sizes = Sizes(links)
        self._finite: set[str] = set()  # outputs of layers, constants

    def read(self, node: Node) -> LoopLayer | None:
        """The layer that a Loop is; ``None`` if it isn't known to be one."""
        try:
            found = self._read(node)
        except Unknown:
            return None
        time, batch, hidden = found.shape
        for name in found.stacked:
            self.sizes.note(name, (time, batch, hidden))
        for name in found.finals:
            self.sizes.note(name, (batch, hidden))
        if self._stays_finite(found.layer) and not found.initial:
            self._finite.update(found.stacked, found.finals)
        return found

    def _read(self, node: Node) -> LoopLayer:
        body: Graph = node.attributes["body"]
        given = node.inputs[2:]
        if len(body.inputs) != 2 + len(given) or len(body.outputs) <= len(given):
            raise Unknown
        initial = [self._at_start(k, name) for k, name in enumerate(given)]
        iteration = Iteration(body, initial, self._links)
        results = [iteration.value(value.name) for value in body.outputs[1:]]
        carried, elements = results[: len(given)], results[len(given) :]
        for k, output in enumerate(node.outputs[: len(given)]):
            if not (output and self._links.is_read(output)) and not iteration.reads(2 + k):
                carried[k] = None  # it comes to nothing
        for before, after in zip(initial, carried, strict=True):
            if isinstance(before, Counter) and after not in (None, Counter(1)):
                raise Unknown
        mask, by_product, news = _unmask(carried)
        layer = self._find(news, initial)
        shape = self._check_shapes(layer, mask)
        self._check_trips(node, iteration, shape[0])
        letters = {layer.h: "h", layer.c: "c"}
        zeros = {k: self._is_zero(given[k], shape[1:]) for k in range(len(given))}
        if mask and (not zeros[layer.h] or (layer.c is not None and not zeros[layer.c])):
            raise Unknown
        if by_product and not self._stays_finite(layer):
            raise Unknown  # 0 times what isn't finite is NaN, and stays
        finals = {}
        for k, name in enumerate(node.outputs[: len(given)]):
            if not name or not self._links.is_read(name):
                continue
            if letters.get(k) is None and not (
                self._is_output(carried[k], k, news[layer.h], mask) and zeros[k]
            ):
                raise Unknown
            finals[name] = letters.get(k) or "h"
        stacked = {}
        for name, element in zip(node.outputs[len(given) :], elements, strict=True):
            if name:
                stacked[name] = self._masked_value(element, layer, carried, zeros, mask)
        x, backward = self.flipped(layer.source)
        m, other = self.flipped(mask) if mask else ("", backward)
        if other != backward:
            x, m, backward = layer.source, mask, False
        return LoopLayer(
            node, layer, x, backward, m, shape, finals,
            {a: given[k] for k, a in letters.items() if k is not None and not zeros[k]},
            stacked,
        )  # fmt: skip

    def _stays_finite(self, layer: Layer) -> bool:
        """Whether states that start finite stay so."""
        weights = (layer.w, layer.r, layer.b)
        bounded = layer.activation != "Relu" and all(map(_is_moderate, weights))
        return bounded and self.is_finite(layer.source)

    def _at_start(self, k: int, name: str) -> Expression:
        """What a carried value is at the start of an iteration: the number of the iteration if
        it starts as an integer 0 (and is counted up, which the caller checks)."""
        constant = self._links.constant(name) if name else None
        if constant is not None and not constant.ndim and constant.dtype.kind == "i":
            if constant != 0:
                raise Unknown
            return Counter(0)
        return State(k)

    def _find(self, news: list[Expression], initial: list[Expression]) -> Layer:
        for k, before in enumerate(initial):
            if isinstance(before, State):
                try:
                    return find_layer(k, news)
                except Unknown:
                    continue
        raise Unknown

    def _check_shapes(self, layer: Layer, mask: str) -> tuple[Size, Size, int]:
        """(T, N, H). Raises Unknown unless inputs are (T, N, I) and the mask is (T, N, 1)."""
        x = self.sizes.shape(layer.source)
        if x is None or len(x) != 3:
            raise Unknown
        if mask and self.sizes.shape(mask) != (x[0], x[1], 1):
            raise Unknown
        return x[0], x[1], layer.hidden

    def _check_trips(self, node: Node, iteration: Iteration, length: Size) -> None:
        """Raises Unknown unless the loop runs exactly ``length`` times."""
        body: Graph = node.attributes["body"]
        if not node.inputs[0] or self.sizes.numbers(node.inputs[0]) != (length,):
            raise Unknown
        if node.inputs[1] and not self._begins(node.inputs[1], length):
            raise Unknown
        condition = body.outputs[0].name
        passed_on = condition == body.inputs[1].name
        if not passed_on and not iteration.lasts(condition, length, self.sizes):
            raise Unknown

    def _begins(self, name: str, length: Size) -> bool:
        """Whether a condition holds unless ``length`` is 0."""
        constant, node = self._links.constant(name), self._links.maker.get(name)
        if constant is not None:
            return bool(constant.all())
        if node is None:
            return False
        if self._links.is_operator(node, "And", "Identity"):
            return all(self._begins(n, length) for n in node.inputs)
        return self._links.is_operator(node, "Less") and (
            [self.sizes.numbers(n) for n in node.inputs] == [(0,), (length,)]
        )

    def _is_zero(self, name: str, shape: tuple[Size, ...]) -> bool:
        """Whether a value consists of zeros, of a shape."""
        constant, node = self._links.constant(name), self._links.maker.get(name)
        if constant is None and node is not None:
            if self._links.is_operator(node, "Expand"):
                constant = self._links.constant(node.inputs[0])
            elif self._links.is_operator(node, "ConstantOfShape"):
                value = node.attributes.get("value")
                constant = np.zeros(1) if value is None else value.array
        zero = constant is not None and not np.any(constant) and not np.signbit(constant).any()
        return zero and self.sizes.shape(name) == shape

    def _is_output(self, after: Expression, k: int, h: Expression, mask: str) -> bool:
        """Whether a carried value is the layer's output: h, or where masked what it was before."""
        if not mask:
            return after is h
        return isinstance(after, Select) and after.new is h and after.old == State(k)

    def _masked_value(
        self,
        element: Expression,
        layer: Layer,
        carried: list[Expression],
        zeros: dict[int, bool],
        mask: str,
    ) -> str:
        """What stands at masked steps of a stacked output, "kept" or "zero"."""
        if not mask:
            if element is not carried[layer.h]:
                raise Unknown
            return "kept"
        h = carried[layer.h]
        if not isinstance(element, Select) or element.new is not h.new or element.source != mask:
            raise Unknown
        old = element.old
        starts_at_zero = isinstance(old, State) and zeros[old.index]
        if starts_at_zero and self._is_output(carried[old.index], old.index, h.new, mask):
            return "kept"
        _, batch, hidden = self._check_shapes(layer, mask)
        if isinstance(old, Constant):
            zero = not old.values.any() and old.values.ndim <= 2
        else:
            zero = isinstance(old, Outer) and self._is_zero(old.name, (batch, hidden))
        if not zero:
            raise Unknown
        return "zero"

    def flipped(self, name: str) -> tuple[str, bool]:
        """The value of which this is the reverse along axis 0, if so, and whether it is."""
        node = self._links.maker.get(name)
        if node is None:
            return name, False
        if self._links.is_operator(node, "ReverseSequence"):
            axes = node.attributes.get("time_axis", 0), node.attributes.get("batch_axis", 1)
            if axes == (0, 1) and self._are_full(node.inputs[1], node.inputs[0]):
                return node.inputs[0], True
        reverse = {0: slice(-1, None, -1)}
        if self._links.is_operator(node, "Slice") and self.sizes.slices(node) == reverse:
            return node.inputs[0], True
        return name, False

    def _are_full(self, lengths: str, x: str) -> bool:
        """Whether all ``lengths`` are that of x's axis 0."""
        shape, node = self.sizes.shape(x), self._links.maker.get(lengths)
        if shape is None or node is None or not self._links.is_operator(node, "Expand"):
            return False
        return self.sizes.numbers(node.inputs[0]) == (shape[0],)

    def is_finite(self, name: str) -> bool:
        """Whether a value never has an infinity or NaN."""
        if name in self._finite:
            return True
        constant, node = self._links.constant(name), self._links.maker.get(name)
        if constant is not None:
            if _is_moderate(constant):
                self._finite.add(name)  # an embedding is asked for by each direction
                return True
            return False
        if node is None or node.domain:
            return False
        if self._links.is_operator(node, "Concat"):
            return all(map(self.is_finite, node.inputs))
        moves = "Gather Transpose ReverseSequence Slice Squeeze Unsqueeze Identity".split()
        return self._links.is_operator(node, *moves) and self.is_finite(node.inputs[0])


def _unmask(carried: list[Expression]) -> tuple[str, bool, list[Expression]]:
    """The mask ("" if there is none), whether it selects by products, and the carried values as
    they are at steps that aren't masked. Raises Unknown if a value has another mask."""
    selects = {k: x for k, x in enumerate(carried) if isinstance(x, Select)}
    if not selects:
        return "", False, carried
    sources = {x.source for x in selects.values()}
    if len(sources) > 1 or any(x.old != State(k) for k, x in selects.items()):
        raise Unknown
    states = [k for k, x in enumerate(carried) if not isinstance(x, Counter | None)]
    if any(k not in selects for k in states):
        raise Unknown
    news = [x.new if isinstance(x, Select) else x for x in carried]
    return sources.pop(), any(x.by_product for x in selects.values()), news


def _is_moderate(x: np.ndarray) -> bool:
    # a NaN is passed on, and is not less than anything
    return not x.size or bool(x.min() > -_MODERATE and x.max() < _MODERATE)
