"""Quantized tensors: the grid on which their numbers lie, and the name that they had before.

A tensor is quantized if a node reads it together with a scale and a zero point, as QuantizeLinear
writes, and DequantizeLinear and the operators that compute on integers (QLinearConv and the like)
read it. So are the weights of MatMulInteger and ConvInteger, whose scale is multiplied in later.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from onnxwalk.interpreter.constants import as_array, own_tensors
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor

#: what quantizers append to the name of a tensor, and what stands behind it
_ENDINGS = re.compile(
    r"(_(De)?[Qq]uantizeLinear(_(Input|Output))?|_(de)?quantized|_quant|/(De|Q)uantizeLinear"
    r"(_output)?|_q(int8|uint8)?|_u?int[48])(_\d+|:\d+)?$"
)


class Grid(NamedTuple):
    """real = (integer - zero_point) · scale; ``scale`` is a number, or a vector along ``axis``."""

    scale: np.ndarray
    zero_point: np.ndarray | None
    axis: int

    @property
    def step(self) -> float:
        """The largest distance of two numbers of the grid that follow each other."""
        return float(np.max(np.abs(self.scale.astype(np.float64)), initial=0.0))

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape can lie on the grid."""
        rank = len(shape)
        if self.scale.size == 1:
            return True
        return (
            self.scale.ndim == 1
            and -rank <= self.axis < rank
            and shape[self.axis] == self.scale.size
        )

    def to_real(self, array: np.ndarray) -> np.ndarray:
        """The real numbers, in float32, that integers of the grid stand for."""
        scale = self.scale.reshape(-1).astype(np.float32)
        zero = np.zeros(1) if self.zero_point is None else self.zero_point.reshape(-1)
        shape = [1] * array.ndim
        if scale.size > 1:
            shape[self.axis] = scale.size
        zero = np.broadcast_to(zero.astype(np.float32), scale.shape)
        return (array.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)


class Grids(NamedTuple):
    """The grids of a graph: those of ``integers``, by the names of quantized tensors; those on
    which floats lie that were dequantized, ``reals``; and of each the name of the tensor
    ``before``."""

    integers: Mapping[str, Grid]
    reals: Mapping[str, Grid]
    before: Mapping[str, str]
    #: the names of scales and zero points
    parameters: Collection[str] = ()

    def step(self, name: str) -> float:
        """The step of a value's grid, in the unit of the value; 0 if it has none."""
        if name in self.integers:
            return 1.0
        return self.reals[name].step if name in self.reals else 0.0


def find_grids(graph: Graph) -> Grids:
    """The grids of the tensors of a graph whose scales are constants."""
    constants = own_tensors(graph)
    integers: dict[str, Grid] = {}
    reals: dict[str, Grid] = {}
    before: dict[str, str] = {}
    parameters: set[str] = set()
    dynamic = _DynamicWeights(graph, constants)
    for node in graph.nodes:
        axis = node.attributes.get("axis", 1)
        triples = [(*triple, axis) for triple in _triples(node, constants)]
        for name, scale, zero, axis in [*triples, *dynamic.find(node)]:
            if scale in constants and (not zero or zero in constants):
                grid = _make_grid(
                    as_array(constants[scale]),
                    as_array(constants[zero]) if zero else None,
                    axis,
                )
                if grid is not None:
                    integers.setdefault(name, grid)
                    parameters |= {scale, zero}
        if node.op_type == "QuantizeLinear":
            before[node.outputs[0]] = node.inputs[0]
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear" and node.inputs[0] in integers:
            reals[node.outputs[0]] = integers[node.inputs[0]]
            before[node.outputs[0]] = node.inputs[0]
    return Grids(integers, reals, before, frozenset(parameters))


_Constants = Mapping[str, "Tensor | SparseTensor"]


def _triples(node: Node, constants: _Constants) -> Iterator[tuple[str, str, str]]:
    """The quantized tensors that a node reads or computes, each with its scale and its zero point
    ("" if there is none)."""
    inputs = node.inputs
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = node.outputs[0] if node.op_type == "QuantizeLinear" else inputs[0]
        yield name, inputs[1], inputs[2] if len(inputs) > 2 else ""
    elif node.op_type.startswith(("QLinear", "QGemm")):
        index = 0
        while index < len(inputs):
            if _is_pair(inputs[index : index + 2], constants):  # that of the result
                yield node.outputs[0], inputs[index], inputs[index + 1]
                index += 2
            elif _is_pair(inputs[index + 1 : index + 3], constants) and not _is_bias(
                inputs[index], constants
            ):
                yield inputs[index], inputs[index + 1], inputs[index + 2]
                index += 3
            else:
                index += 1


class _DynamicWeights:
    """The weights of operators on integers whose other input is quantized as they run."""

    #: the places of a weight, its scale and its zero point
    _PLACES: ClassVar = {"MatMulIntegerToFloat": (1, 3, 5), "DynamicQuantizeMatMul": (1, 2, 3)}

    def __init__(self, graph: Graph, constants: _Constants) -> None:
        self._constants = constants
        self._makers = {name: node for node in graph.nodes for name in node.outputs}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)

    def find(self, node: Node) -> Iterator[tuple[str, str, str, int]]:
        """The weight that a node reads, its scale, its zero point ("" if there is none) and the
        axis of the scale."""
        inputs = [*node.inputs, *[""] * 6]
        if node.op_type in self._PLACES:
            weight, scale, zero = (inputs[place] for place in self._PLACES[node.op_type])
            yield weight, scale, zero, -1
        elif node.op_type in ("MatMulInteger", "ConvInteger") and inputs[1] in self._constants:
            for scale in self._scales(node.outputs[0]):
                yield inputs[1], scale, inputs[3], 0 if node.op_type == "ConvInteger" else -1

    def _scales(self, product: str) -> Iterator[str]:
        """The constant that a product of integers is multiplied with: alone, or first with the
        scale of the other input."""
        for cast in self._readers.get(product, ()):
            for node in self._readers.get(cast.outputs[0], ()) if cast.op_type == "Cast" else ():
                others = [name for name in node.inputs if name != cast.outputs[0]]
                maker = self._makers.get(others[0]) if others else None
                if maker is not None and maker.op_type == "Mul":
                    others = [*maker.inputs]
                if node.op_type == "Mul":
                    yield from (name for name in others if name in self._constants)


def _is_pair(names: Sequence[str], constants: _Constants) -> bool:
    """Whether these are a scale and a zero point."""
    if len(names) < 2 or not all(name in constants for name in names):
        return False
    scale, zero = (as_array(constants[name]) for name in names)
    return _make_grid(scale, zero, 1) is not None


def _is_bias(name: str, constants: _Constants) -> bool:
    return name in constants and as_array(constants[name]).dtype == np.int32


def _make_grid(scale: np.ndarray, zero_point: np.ndarray | None, axis: int) -> Grid | None:
    """The grid, unless these are no scale and no zero point of it, or those of blocks."""
    if "float" not in scale.dtype.name or scale.ndim > 1:
        return None
    if zero_point is None:
        return Grid(scale, None, axis)
    if "int" not in zero_point.dtype.name or zero_point.size not in (1, scale.size):
        return None
    return Grid(scale, zero_point, axis)


def _origins(name: str, before: Mapping[str, str]) -> Iterator[str]:
    """The names that a quantized tensor may have had in the file that it was made from, the likely
    ones first: that of the value that was quantized, and its own without what quantizers append."""
    seen: dict[str, None] = {}
    pending = [name]
    while pending:
        current = pending.pop(0)
        if current in seen:
            continue
        seen[current] = None
        if current in before:
            pending.append(before[current])
        shorter = _ENDINGS.sub("", current)
        if shorter and shorter != current:
            pending.append(shorter)
    yield from list(seen)[1:]


def find_counterparts(
    graph: Graph,
    grids: Grids,
    other: Graph,
    names: Collection[str],
    others: Collection[str],
    matched: Collection[str] = (),
) -> dict[str, str]:
    """For the quantized tensors among ``names`` of a graph: what stands in their place in the graph
    that it was made from, each of ``others`` once.

    That is what the same node reads there: quantizers fold a Relu into the rounding before it, so
    that a tensor may keep the name of what was before the Relu. Without such a node it is the one
    of the name that the tensor had before, unless that is among ``matched``.
    """
    quantized = grids.integers.keys() | grids.reals.keys()
    found: dict[str, str] = {}
    nodes = {key: node for node in other.nodes for key in (*node.outputs, node.name) if key}
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        keys = [node.name, _ENDINGS.sub("", node.name), *node.outputs]
        twin = next((nodes[key] for key in keys if key in nodes), None)
        for index, name in enumerate(node.inputs if twin else ()):
            place = index // 3 if node.op_type.startswith("QLinear") else index
            if twin and name in names and place < len(twin.inputs):
                origin = twin.inputs[place]
                if origin in others and name in quantized:
                    found.setdefault(origin, name)
    taken = set(found.values())
    for name in names:
        if name in taken or name in others or name not in quantized:
            continue
        earlier = (o for o in _origins(name, grids.before) if o in others)
        if (first := next(earlier, None)) is not None and first not in matched:
            found.setdefault(first, name)
    return {name: origin for origin, name in found.items() if name != origin}
