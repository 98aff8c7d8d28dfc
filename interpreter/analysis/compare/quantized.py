"""Quantized tensors: the grid on which their numbers lie, and the name that they had before.

A tensor is quantized if a node reads it together with a scale and a zero point, as QuantizeLinear
writes, and DequantizeLinear and the operators that compute on integers (QLinearConv and the like)
read it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from onnxwalk.interpreter.constants import as_array, own_tensors
from onnxwalk.interpreter.ir.model import Graph, Node

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
    for node in graph.nodes:
        for name, scale, zero in _triples(node):
            if scale in constants and (not zero or zero in constants):
                grid = _make_grid(
                    as_array(constants[scale]),
                    as_array(constants[zero]) if zero else None,
                    node.attributes.get("axis", 1),
                )
                if grid is not None:
                    integers.setdefault(name, grid)
        if node.op_type == "QuantizeLinear":
            before[node.outputs[0]] = node.inputs[0]
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear" and node.inputs[0] in integers:
            reals[node.outputs[0]] = integers[node.inputs[0]]
            before[node.outputs[0]] = node.inputs[0]
    return Grids(integers, reals, before)


def _triples(node: Node) -> Iterator[tuple[str, str, str]]:
    """A quantized tensor, its scale and its zero point ("" if there is none), wherever they may
    stand among the inputs of a node, or before one of its outputs."""
    inputs = node.inputs
    if node.op_type == "QuantizeLinear":
        yield node.outputs[0], inputs[1], inputs[2] if len(inputs) > 2 else ""
    elif node.op_type == "DequantizeLinear":
        yield inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else ""
    elif node.op_type.startswith(("QLinear", "QGemm")):
        yield from zip(inputs, inputs[1:], inputs[2:], strict=False)


def _make_grid(scale: np.ndarray, zero_point: np.ndarray | None, axis: int) -> Grid | None:
    """The grid, unless these are no scale and no zero point of it, or those of blocks."""
    if "float" not in scale.dtype.name or scale.ndim > 1:
        return None
    if zero_point is None:
        return Grid(scale, None, axis)
    if "int" not in zero_point.dtype.name or zero_point.size not in (1, scale.size):
        return None
    return Grid(scale, zero_point, axis)


def origins(name: str, before: Mapping[str, str]) -> Iterator[str]:
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


def find_origins(names: Collection[str], grids: Grids, others: Collection[str]) -> dict[str, str]:
    """For names that the other file doesn't have: those that they had there, each once. The last
    name that has a value counts: that is the value as the following nodes read it."""
    found: dict[str, str] = {}
    for name in names:
        if name in others or not (name in grids.integers or name in grids.reals):
            continue
        origin = next((o for o in origins(name, grids.before) if o in others), None)
        if origin is not None:
            found.setdefault(origin, name)
    return {name: origin for origin, name in found.items()}
