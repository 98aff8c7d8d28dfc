"""Recognizes the cell that a Loop's body computes: RNN, LSTM or GRU, by its formulas.

What goes into a gate is read as a sum of products, step·W + state·R + b, however the file splits,
slices and adds it; the gates then have to be put together as the operators of ONNX do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from onnxwalk.interpreter.compiler.passes.loop_body import Carried, LoopBody, Select
from onnxwalk.interpreter.ir.model import Node

_ACTIVATIONS = ("Tanh", "Sigmoid", "Relu")
_BOUNDED = ("Tanh", "Sigmoid")

Array = np.ndarray


@dataclass(frozen=True)
class Linear:
    """step·w + state·r + b: w (I, G), r (H, G), b (G,); ``None`` for what isn't there."""

    w: Array | None = None
    r: Array | None = None
    b: Array | None = None

    def columns(self, start: int, stop: int) -> Linear:
        parts = (None if a is None else a[..., start:stop] for a in (self.w, self.r, self.b))
        return Linear(*parts)

    @property
    def width(self) -> int:
        return next(a.shape[-1] for a in (self.w, self.r, self.b) if a is not None)

    def __add__(self, other: Linear) -> Linear:
        pairs = ((self.w, other.w), (self.r, other.r), (self.b, other.b))
        return Linear(*(b if a is None else a if b is None else a + b for a, b in pairs))


@dataclass(frozen=True)
class Cell:
    """A recognized cell: the operator, its weights gate by gate in ONNX's order, what it reads and
    carries. ``wb`` are the biases beside w, ``rb`` those beside r."""

    kind: str
    activations: tuple[str, ...]
    gates: tuple[Linear, ...]
    recurrent: tuple[Linear, ...]  # for GRU's last gate apart, as its bias is inside
    sequence: str
    mask: Select | None
    states: tuple[Carried, ...]  # h, and for LSTM C
    new_h: str
    linear_before_reset: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether each state h that follows from finite ones is between -1 and 1."""
        return all(name in _BOUNDED for name in self.activations)

    def weights(self) -> tuple[Array, Array, Array] | None:
        """w (1, gates·H, I), r (1, gates·H, H) and b (1, 2·gates·H); ``None`` if they don't fit
        together."""
        w, r = [g.w for g in self.gates], [g.r for g in self.recurrent]
        biases = [[g.b for g in part] for part in (self.gates, self.recurrent)]
        if any(a is None for a in (*w, *r)):
            return None
        units = {a.shape[0] for a in r} | {a.shape[1] for a in (*w, *r)}
        known = [a for a in (*w, *r, *biases[0], *biases[1]) if a is not None]
        if len(units) != 1 or len({a.dtype for a in known}) != 1:
            return None
        if known[0].dtype not in (np.float32, np.float64):
            return None
        (size,) = units
        zeros = np.zeros(size, known[0].dtype)
        rows = [zeros if b is None else b for part in biases for b in part]
        if any(b.shape != (size,) for b in rows):
            return None
        across = [np.concatenate(a, axis=1).T[None] for a in (w, r)]
        return *map(np.ascontiguousarray, across), np.concatenate(rows)[None]

    def overflows(self, x: float) -> bool:
        """Whether what goes into a gate may overflow, for steps no larger than ``x``."""
        weights = self.weights()
        assert weights is not None
        w, r, b = (np.abs(a.astype(np.float64)) for a in weights)
        largest = x * w.sum(axis=2).max() + r.sum(axis=2).max() + 2 * b.max()
        return not largest < 1e30


def find_cell(body: LoopBody) -> Cell | None:
    """The cell whose states the body carries."""
    for chosen in itertools.permutations(body.carried, 2 if len(body.carried) > 1 else 1):
        for find in (_find_lstm,) if len(chosen) == 2 else ():
            if (cell := find(body, *chosen)) is not None:
                return cell
    for h in body.carried:
        cell = _find_rnn(body, h) or _find_gru(body, h)
        if cell is not None:
            return cell
    return None


class _Reader:
    """Reads values of a body as formulas of the step's row and one state."""

    def __init__(self, body: LoopBody, state: Carried) -> None:
        self.body, self.state = body, state.before
        self.sequences: set[str] = set()

    def activation(self, name: str) -> tuple[str, str] | None:
        """The activation that gives a value, and its input."""
        node = self.body.made_by(name, *_ACTIVATIONS)
        return None if node is None else (node.op_type, node.inputs[0])

    def gate(self, name: str) -> tuple[str, Linear] | None:
        """f(step·w + state·r + b): the activation and what goes into it."""
        found = self.activation(name)
        linear = None if found is None else self.linear(found[1])
        return None if found is None or linear is None else (found[0], linear)

    def linear(self, name: str) -> Linear | None:
        body = self.body
        array = body.constant(name)
        if array is not None:
            is_row = array.ndim == 1 or (array.ndim == 2 and len(array) == 1)
            return Linear(b=array.reshape(-1)) if is_row and array.size > 1 else None
        node = body.made_by(name, "Add", "MatMul", "Split", "Slice")
        if node is None:
            return None
        if node.op_type == "MatMul":
            return self._product(node)
        if node.op_type == "Add":
            parts = [self.linear(part) for part in node.inputs]
            if any(part is None for part in parts):
                return None
            a, b = parts
            assert a is not None and b is not None
            return a + b if a.width == b.width else None
        whole = self.linear(node.inputs[0])
        if whole is None or (whole.w is None and whole.r is None):
            return None
        if node.op_type == "Split":
            bounds = self._split(node, body.source(name), whole.width)
        else:
            bounds = self._slice(node, whole.width)
        return None if bounds is None else whole.columns(*bounds)

    def _product(self, node: Node) -> Linear | None:
        weights = self.body.constant(node.inputs[1])
        if weights is None or weights.ndim != 2:
            return None
        if self.body.source(node.inputs[0]) == self.state:
            return Linear(r=weights)
        sequence = self.body.row_of(node.inputs[0])
        if sequence is None:
            return None
        self.sequences.add(sequence)
        return Linear(w=weights)

    def _split(self, node: Node, output: str, width: int) -> tuple[int, int] | None:
        if node.attributes.get("axis", 0) not in (1, -1):
            return None
        sizes = node.attributes.get("split")
        if len(node.inputs) > 1 and node.inputs[1]:
            array = self.body.constant(node.inputs[1])
            sizes = None if array is None else array.tolist()
            if sizes is None:
                return None
        count = len(node.outputs)
        if sizes is None:
            if width % count:
                return None
            sizes = [width // count] * count
        start = sum(sizes[: node.outputs.index(output)])
        return start, start + sizes[node.outputs.index(output)]

    def _slice(self, node: Node, width: int) -> tuple[int, int] | None:
        """The columns that a Slice takes of all rows."""
        parts = [self.body.constant(name) for name in node.inputs[1:]]
        if len(parts) < 3 or any(part is None for part in parts):
            return None
        starts, ends, axes, *steps = (part.tolist() for part in parts if part is not None)
        if any(step != 1 for part in steps for step in part):
            return None
        columns = 0, width
        for start, end, axis in zip(starts, ends, axes, strict=True):
            if axis == 0 and start == 0 and end >= np.iinfo(np.int32).max:
                continue
            if axis not in (1, -1):
                return None
            columns = slice(start, end).indices(width)[:2]
        return columns

    def factors(self, name: str) -> list[tuple[str, str]]:
        """A product's two factors in both orders."""
        node = self.body.made_by(name, "Mul")
        return [] if node is None else [(node.inputs[0], node.inputs[1]), node.inputs[1::-1]]

    def terms(self, name: str) -> list[str]:
        """The terms of a sum."""
        node = self.body.made_by(name, "Add")
        return [name] if node is None else [t for part in node.inputs for t in self.terms(part)]


def _new_value(body: LoopBody, state: Carried) -> tuple[str, Select | None] | None:
    """What an iteration gives a state, and the mask that keeps the state instead."""
    choice = body.select(state.after)
    if choice is None:
        return body.source(state.after), None
    if body.source(choice.old) != state.before:
        return None
    return body.source(choice.new), choice


def _cell(
    reader: _Reader,
    kind: str,
    activations: Sequence[str],
    gates: Sequence[Linear],
    recurrent: Sequence[Linear],
    mask: Select | None,
    states: Sequence[Carried],
    new_h: str,
    linear_before_reset: bool = False,
) -> Cell | None:
    """The cell, if it reads one sequence and its weights fit together."""
    if len(reader.sequences) != 1:
        return None
    (sequence,) = reader.sequences
    cell = Cell(
        kind, tuple(activations), tuple(gates), tuple(recurrent), sequence, mask, tuple(states),
        new_h, linear_before_reset,
    )  # fmt: skip
    return None if cell.weights() is None else cell


def _recurrent(gates: Sequence[Linear]) -> list[Linear]:
    return [Linear(r=gate.r) for gate in gates]


def _find_rnn(body: LoopBody, h: Carried) -> Cell | None:
    """h' = f(x·W + h·R + b)"""
    new, reader = _new_value(body, h), _Reader(body, h)
    gate = None if new is None else reader.gate(new[0])
    if new is None or gate is None:
        return None
    f, linear = gate
    return _cell(reader, "RNN", [f], [linear], _recurrent([linear]), new[1], [h], new[0])


def _find_lstm(body: LoopBody, h: Carried, c: Carried) -> Cell | None:
    """c' = f·c + i·g, h' = o·tanh(c'), of gates f, i, o, g"""
    new_h, new_c, reader = _new_value(body, h), _new_value(body, c), _Reader(body, h)
    if new_h is None or new_c is None or not _is_same_mask(new_h[1], new_c[1]):
        return None
    for o_name, shown in reader.factors(new_h[0]):
        last, o = reader.activation(shown), reader.gate(o_name)
        if last is None or o is None or body.source(last[1]) != new_c[0]:
            continue
        cell_sum = body.made_by(new_c[0], "Add")
        for kept, taken in (
            () if cell_sum is None else (tuple(cell_sum.inputs), tuple(cell_sum.inputs[::-1]))
        ):
            f = next((a for a, b in reader.factors(kept) if body.source(b) == c.before), None)
            forget = None if f is None else reader.gate(f)
            for i_name, g_name in reader.factors(taken) if forget is not None else ():
                i, g = reader.gate(i_name), reader.gate(g_name)
                if i is None or g is None or forget is None:
                    continue
                if not i[0] == o[0] == forget[0]:
                    continue
                # where both gates have one activation, the formula is the same either way
                gates = [i[1], o[1], forget[1], g[1]]
                return _cell(
                    reader, "LSTM", [i[0], g[0], last[0]], gates, _recurrent(gates), new_h[1],
                    [h, c], new_h[0],
                )  # fmt: skip
    return None


def _is_same_mask(a: Select | None, b: Select | None) -> bool:
    return (a and (a.mask, a.by_product)) == (b and (b.mask, b.by_product))


def _find_gru(body: LoopBody, h: Carried) -> Cell | None:
    """h' = z·h + (1 - z)·n, n = g(x·W + b + r·(h·R + b')) or g(x·W + b + (r·h)·R)"""
    new, reader = _new_value(body, h), _Reader(body, h)
    total = None if new is None else body.made_by(new[0], "Add")
    if new is None or total is None:
        return None
    for kept, added in (tuple(total.inputs), tuple(total.inputs[::-1])):
        z_name = next((a for a, b in reader.factors(kept) if body.source(b) == h.before), None)
        z = None if z_name is None else reader.gate(z_name)
        for rest, n_name in reader.factors(added) if z is not None else ():
            n = reader.activation(n_name)
            if n is None or z is None or not _is_one_minus(body, rest, z_name or ""):
                continue
            inner = _candidate(reader, n[1])
            if inner is None or inner[0][0] != z[0]:
                continue
            r, outside, inside, is_before = inner
            gates = [z[1], r[1], outside]
            recurrent = [*_recurrent(gates[:2]), inside]
            return _cell(
                reader, "GRU", [z[0], n[0]], gates, recurrent, new[1], [h], new[0], is_before
            )
    return None


def _is_one_minus(body: LoopBody, name: str, z: str) -> bool:
    node = body.made_by(name, "Sub")
    if node is None or body.source(node.inputs[1]) != body.source(z):
        return False
    one = body.constant(node.inputs[0])
    return one is not None and one.size == 1 and one.ndim < 3 and one.reshape(-1)[0] == 1


def _candidate(
    reader: _Reader, name: str
) -> tuple[tuple[str, Linear], Linear, Linear, bool] | None:
    """What goes into a GRU's candidate: the gate r, the part outside of r, the part that r resets,
    and whether r is multiplied after the product with R."""
    outside: list[Linear] = []
    resets: list[str] = []
    for term in reader.terms(name):
        linear = reader.linear(term)
        if linear is None:
            resets.append(term)
        else:
            outside.append(linear)
    if len(resets) != 1 or not outside:
        return None
    total = reduce(Linear.__add__, outside)
    if total.r is not None:
        return None
    for r_name, value in reader.factors(resets[0]):
        r, linear = reader.gate(r_name), reader.linear(value)
        if r is not None and linear is not None and linear.w is None and linear.r is not None:
            return r, total, linear, True
    product = reader.body.made_by(resets[0], "MatMul")
    weights = None if product is None else reader.body.constant(product.inputs[1])
    if product is None or weights is None or weights.ndim != 2:
        return None
    for r_name, value in reader.factors(product.inputs[0]):
        r = reader.gate(r_name)
        if r is not None and reader.body.source(value) == reader.state:
            return r, total, Linear(r=weights), False
    return None
