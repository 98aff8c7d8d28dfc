"""RNN, LSTM and GRU bound to their shapes.

A step of a small batch costs what its calls cost, so both directions go through one set of calls:
arrays are (directions, sequences, …). What the inputs contribute to the gates does not depend on
the steps before: it is computed for many steps at once, or looked up where the inputs are rows of
an embedding (``Embedded``). With ``sequence_lens`` the sequences are sorted by length, so that
those that still run are the first rows, and only these are computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ops.fast.calls import scalar
from ops.space import Space

#: bytes of gates to project at a time: they should be in the cache when the steps come to them
_BLOCK = 1 << 19

#: step(projected, h, out): one time step; cells' other states change in place
Step = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Cell:
    """What one kind of layer computes; weights are prepared as ``step`` wants them."""

    w_x: np.ndarray  # (D, I, gates * H)
    w_h: np.ndarray  # (D, H, gates * H)
    bias: np.ndarray  # (D, gates * H), of what the inputs contribute
    #: step(w_h, scratch of shape, states (h, …)) for a number of sequences
    make_step: Callable[..., Step]
    reversals: Sequence[bool]
    states: int  # how many there are, h included
    #: the same for one sequence: w_h (gates, D, H, H), projected (gates * D * H)
    make_single_step: Callable[..., Step] | None = None

    @property
    def gates(self) -> int:
        return self.w_h.shape[2] // self.w_h.shape[1]

    @functools.cached_property
    def w_h_by_gate(self) -> np.ndarray:
        """(gates, D, H, H)"""
        parts = np.split(self.w_h, self.gates, -1)
        return np.ascontiguousarray(np.stack(parts))

    @property
    def hidden(self) -> int:
        return self.w_h.shape[1]


# ------------------------------------------------------------------------------------ the cells


def rnn_step(w_h: np.ndarray, states: Sequence[np.ndarray], scratch: Any) -> Step:
    """h = tanh(projected + h R')"""
    (h,) = states
    matmul, add, tanh = np.matmul, np.add, np.tanh
    gates = scratch(h.shape)

    def step(projected, h, out):
        matmul(h, w_h, gates)
        add(gates, projected, gates)
        tanh(gates, out)

    return step


def rnn_relu_step(w_h: np.ndarray, states: Sequence[np.ndarray], scratch: Any) -> Step:
    """h = max(0, projected + h R')"""
    (h,) = states
    gates = scratch(h.shape)
    zero = scalar(0, h.dtype)

    def step(projected, h, out):
        np.matmul(h, w_h, gates)
        np.add(gates, projected, gates)
        np.maximum(gates, zero, out=out)

    return step


def lstm_step(w_h: np.ndarray, states: Sequence[np.ndarray], scratch: Any) -> Step:
    """Gates g, f, i, o of which f, i, o come in halved: sigmoid(v) = tanh(v / 2) / 2 + 1/2."""
    h, c = states
    hidden = h.shape[-1]
    gates = scratch((*h.shape[:-1], 4 * hidden))
    g, f, i, o = (gates[..., k * hidden : (k + 1) * hidden] for k in range(4))
    fio = gates[..., hidden:]
    half = scalar(0.5, h.dtype)
    matmul, add, multiply, tanh = np.matmul, np.add, np.multiply, np.tanh

    def step(projected, h, out):
        matmul(h, w_h, gates)
        add(gates, projected, gates)
        tanh(gates, gates)
        multiply(fio, half, fio)
        add(fio, half, fio)
        multiply(c, f, c)
        multiply(g, i, g)
        add(c, g, c)
        tanh(c, g)
        multiply(o, g, out)

    return step


def lstm_single_step(w_h: np.ndarray, states: Sequence[np.ndarray], scratch: Any) -> Step:
    """``lstm_step`` for one sequence, gate by gate: every operand is one run of memory, which
    halves the cost of a call."""
    h, c = states
    size = h.size
    gates = scratch((4, *h.shape)).reshape(-1)
    g, f, i, o = (gates[k * size : (k + 1) * size] for k in range(4))
    fio = gates[size:]
    product = gates.reshape(4, *h.shape)
    half = scalar(0.5, h.dtype)
    matmul, add, multiply, tanh = np.matmul, np.add, np.multiply, np.tanh
    c = c.reshape(-1)

    def step(projected, h, out):
        matmul(h, w_h, product)
        add(gates, projected, gates)
        tanh(gates, gates)
        multiply(fio, half, fio)
        add(fio, half, fio)
        multiply(c, f, c)
        multiply(g, i, g)
        add(c, g, c)
        tanh(c, g)
        multiply(o, g, out.reshape(-1))

    return step


def gru_single_step(
    w_h: np.ndarray, states: Sequence[np.ndarray], scratch: Any, b_n: Any = None
) -> Step:
    """``gru_step`` for one sequence, gate by gate."""
    (h,) = states
    size = h.size
    gates = scratch((3, *h.shape)).reshape(-1)
    zr, z, r, n = (
        gates[: 2 * size],
        gates[:size],
        gates[size : 2 * size],
        gates[2 * size :],
    )
    product = gates.reshape(3, *h.shape)
    half = scalar(0.5, h.dtype)
    if b_n is not None:
        b_n = np.ascontiguousarray(b_n).reshape(-1)
    matmul, add, multiply, subtract, tanh = np.matmul, np.add, np.multiply, np.subtract, np.tanh

    def step(projected, h, out):
        h_line, out_line = h.reshape(-1), out.reshape(-1)
        matmul(h, w_h, product)
        add(zr, projected[: 2 * size], zr)
        tanh(zr, zr)
        multiply(zr, half, zr)
        add(zr, half, zr)
        if b_n is not None:
            add(n, b_n, n)
        multiply(r, n, n)
        add(n, projected[2 * size :], n)
        tanh(n, n)
        subtract(h_line, n, out_line)
        multiply(out_line, z, out_line)
        add(out_line, n, out_line)

    return step


def gru_step(w_h: np.ndarray, states: Sequence[np.ndarray], scratch: Any, b_n: Any = None) -> Step:
    """Gates z, r (halved, as in the LSTM) and n; linear before reset: r is applied to what the
    recurrent product gave."""
    (h,) = states
    hidden = h.shape[-1]
    gates = scratch((*h.shape[:-1], 3 * hidden))
    zr, n = gates[..., : 2 * hidden], gates[..., 2 * hidden :]
    z, r = zr[..., :hidden], zr[..., hidden:]
    half = scalar(0.5, h.dtype)
    matmul, add, multiply, subtract, tanh = np.matmul, np.add, np.multiply, np.subtract, np.tanh

    def step(projected, h, out):
        matmul(h, w_h, gates)
        add(zr, projected[..., : 2 * hidden], zr)
        tanh(zr, zr)
        multiply(zr, half, zr)
        add(zr, half, zr)
        if b_n is not None:
            add(n, b_n, n)
        multiply(r, n, n)
        add(n, projected[..., 2 * hidden :], n)
        tanh(n, n)
        subtract(h, n, out)  # (1 - z) * n + z * h = n + z * (h - n)
        multiply(out, z, out)
        add(out, n, out)

    return step


def gru_step_reset_before(w_h: Any, states: Sequence[np.ndarray], scratch: Any) -> Step:
    """As above, but r is applied to the state before the recurrent product. ``w_h`` is the part
    for z and r, and the part for n."""
    (h,) = states
    hidden = h.shape[-1]
    w_zr, w_n = w_h[..., : 2 * hidden], w_h[..., 2 * hidden :]
    zr = scratch((*h.shape[:-1], 2 * hidden))
    n = scratch(h.shape)
    z, r = zr[..., :hidden], zr[..., hidden:]
    half = scalar(0.5, h.dtype)

    def step(projected, h, out):
        np.matmul(h, w_zr, zr)
        np.add(zr, projected[..., : 2 * hidden], zr)
        np.tanh(zr, zr)
        np.multiply(zr, half, zr)
        np.add(zr, half, zr)
        np.multiply(r, h, r)
        np.matmul(r, w_n, n)
        np.add(n, projected[..., 2 * hidden :], n)
        np.tanh(n, n)
        np.subtract(h, n, out)
        np.multiply(out, z, out)
        np.add(out, n, out)

    return step


# ---------------------------------------------------------------- weights as the cells want them


def rnn_cell(
    w: np.ndarray, r: np.ndarray, b: np.ndarray | None, reversals: Sequence[bool], relu: bool
) -> Cell:
    w_x, w_h, b_x, b_h = (np.ascontiguousarray(part) for part in _transposed(w, r, b, 1))
    return Cell(w_x, w_h, b_x + b_h, rnn_relu_step if relu else rnn_step, reversals, 1)


def lstm_cell(
    w: np.ndarray, r: np.ndarray, b: np.ndarray | None, reversals: Sequence[bool]
) -> Cell:
    """Gates from the order i, o, f, c to g, f, i, o, the last three halved."""
    w_x, w_h, b_x, b_h = (
        _scaled(_gates_in_order(part, (3, 2, 0, 1)), (1, 0.5, 0.5, 0.5))
        for part in _transposed(w, r, b, 4)
    )
    return Cell(w_x, w_h, b_x + b_h, lstm_step, reversals, 2, lstm_single_step)


def gru_cell(
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    reversals: Sequence[bool],
    linear_before_reset: bool,
) -> Cell:
    """Gates in the order z, r, n, the first two halved."""
    w_x, w_h, b_x, b_h = (_scaled(part, (0.5, 0.5, 1)) for part in _transposed(w, r, b, 3))
    if not linear_before_reset:
        return Cell(w_x, w_h, b_x + b_h, gru_step_reset_before, reversals, 1)
    hidden = w_h.shape[1]
    b_n = b_h[:, None, 2 * hidden :].copy() if b_h.any() else None
    b_h[:, 2 * hidden :] = 0
    steps = (functools.partial(make, b_n=b_n) for make in (gru_step, gru_single_step))
    make_step, make_single_step = steps
    return Cell(w_x, w_h, b_x + b_h, make_step, reversals, 1, make_single_step)


def _transposed(
    w: np.ndarray, r: np.ndarray, b: np.ndarray | None, gates: int
) -> tuple[np.ndarray, ...]:
    """W' (D, I, gates * H), R' (D, H, gates * H), Wb and Rb (D, gates * H)"""
    if b is None:
        b = np.zeros((len(w), 2 * w.shape[1]), w.dtype)
    b_x, b_h = np.split(b, 2, 1)
    return w.swapaxes(1, 2), r.swapaxes(1, 2), b_x.copy(), b_h.copy()


def _gates_in_order(part: np.ndarray, order: Sequence[int]) -> np.ndarray:
    gates = np.split(part, len(order), -1)
    return np.concatenate([gates[i] for i in order], -1)


def _scaled(part: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """A contiguous copy with each gate multiplied by its factor."""
    hidden = part.shape[-1] // len(factors)
    return np.ascontiguousarray(part * np.repeat(np.array(factors, part.dtype), hidden))


# ------------------------------------------------------------------ what the inputs contribute
# A block holds what the inputs contribute to a number of steps: for each step one run of memory,
# (directions, sequences, gates * H); or for a single sequence (gates, directions, 1, H).


class Dense:
    """Inputs (T, N, I) that are multiplied by the weights, many steps at once."""

    def __init__(self, space: Space, cell: Cell, x: np.ndarray, most: int) -> None:
        self._x, self._cell = x, cell
        self.steps, self.batch, self._features = x.shape
        self._rows = space.scratch((most, self._features), x.dtype)
        self._gates = space.scratch((most, cell.w_x.shape[2]), x.dtype)

    def begin(self) -> None:
        pass

    def project(self, wanted: Sequence[tuple[np.ndarray, ...]], block: np.ndarray) -> None:
        """Fill the rows of a block. ``wanted``: for each direction the time and the sequence of
        each input, and the rows that it goes to."""
        for d, (times, sequences, rows) in enumerate(wanted):
            inputs, gates = self._rows[: len(times)], self._gates[: len(times)]
            if self._x.flags.c_contiguous:
                flat = self._x.reshape(-1, self._features)
                np.take(flat, times * self.batch + sequences, 0, inputs, "clip")
            else:
                inputs[...] = self._x[times, sequences]
            np.matmul(inputs, self._cell.w_x[d], gates)
            np.add(gates, self._cell.bias[d], gates)
            block[rows] = gates.reshape(*rows.shape, block.shape[-1])


class Table:
    """An embedding multiplied by the weights of the inputs, row by row as rows are first needed.

    What stands in a row is the same whenever it is computed, so that it doesn't matter to a result
    what was run before. Shared by all bound plans of a node.
    """

    def __init__(self, embedding: np.ndarray, cell: Cell) -> None:
        self._embedding, self._cell = embedding, cell
        directions, _, width = cell.w_x.shape
        self.rows = np.empty((directions, len(embedding), width), embedding.dtype)
        self._ready = np.zeros(len(embedding), bool)

    def prepare(self, ids: np.ndarray) -> None:
        """Have the rows of these ids ready. Raises IndexError for an id that isn't one."""
        ready = self._ready[ids]
        if ready.all():
            return
        missing = np.unique(ids[~ready] % len(self._embedding))
        for start in range(0, len(missing), 512):
            chosen = missing[start : start + 512]
            # Always so many rows: BLAS may round otherwise for another number of them.
            source = np.zeros((512, self._embedding.shape[1]), self._embedding.dtype)
            source[: len(chosen)] = self._embedding[chosen]
            for d, (weights, bias) in enumerate(zip(self._cell.w_x, self._cell.bias, strict=True)):
                self.rows[d, chosen] = (source @ weights + bias)[: len(chosen)]
        self._ready[missing] = True


class Embedded:
    """Inputs that are rows of an embedding, given by their ids (T, N)."""

    def __init__(self, ids: np.ndarray, table: Table) -> None:
        self._ids, self._table = ids, table
        self.steps, self.batch = ids.shape

    def begin(self) -> None:
        self._table.prepare(self._ids)

    def project(self, wanted: Sequence[tuple[np.ndarray, ...]], block: np.ndarray) -> None:
        """As ``Dense.project``."""
        _, words, width = self._table.rows.shape
        parts = width // block.shape[-1]  # rows of the block for one row of the table
        numbers = np.empty(len(block), np.intp)
        for d, (times, sequences, rows) in enumerate(wanted):
            ids = self._ids[times, sequences] % words + d * words
            if parts == 1:
                numbers[rows] = ids
            else:
                numbers[rows] = ids[:, None] * parts + np.arange(parts)
        np.take(self._table.rows.reshape(-1, block.shape[-1]), numbers, 0, block, "clip")


# ------------------------------------------------------------------------------------- the walk


class Walk:
    """A recurrence over sequences of known shapes; ``run`` is what is called in a run."""

    def __init__(
        self,
        space: Space,
        cell: Cell,
        x: np.ndarray,
        table: Table | None,
        lengths: np.ndarray | None,
        initial: Sequence[np.ndarray | None],
        wants_y: bool,
    ) -> None:
        self._cell, self._lengths, self._initial = cell, lengths, initial
        steps, batch = x.shape[:2]
        directions, hidden, width = cell.w_h.shape
        shape, dtype = (directions, batch, hidden), cell.w_h.dtype
        self._single = batch == 1 and cell.make_single_step is not None
        #: rows of inputs that are projected at a time, whole steps
        self._most = batch * min(steps, max(1, _BLOCK // (4 * width * directions * batch)))
        self._block = space.scratch((self._most * directions * width,), dtype)
        self._source = Dense(space, cell, x, self._most) if table is None else Embedded(x, table)
        self.y = space.array((steps, *shape), dtype) if wants_y else None
        self._history = space.scratch((steps, *shape), dtype) if wants_y else None
        self.finals = [space.array(shape, dtype) for _ in range(cell.states)]
        self._states = [space.scratch(shape, dtype) for _ in range(cell.states)]
        self._room = [space.scratch((5 * directions * batch * hidden,), dtype) for _ in range(2)]
        self._steps: dict[int, tuple[Step, np.ndarray]] = {}

    def run(self) -> None:
        self._source.begin()
        steps, batch = self._source.steps, self._source.batch
        lengths, order, counts = self._schedule(steps, batch)
        for state, given in zip(self._states, self._initial, strict=True):
            if given is None:
                state.fill(0)
            elif order is None:
                np.copyto(state, given)
            else:
                np.take(given, order, 1, state, "clip")
        history, t = self._history, 0
        while t < len(counts):
            together = max(1, self._most // counts[t])
            now = counts[t : t + together]
            for n, projected in zip(now, self._project(t, now, lengths, order), strict=True):
                step, h = self._step(n)
                if history is None:
                    step(projected, h, h)
                else:
                    step(projected, h, history[t, :, :n])
                    np.copyto(h, history[t, :, :n])
                t += 1
        self._finish(counts, lengths, order)

    def _schedule(
        self, steps: int, batch: int
    ) -> tuple[np.ndarray | None, np.ndarray | None, list[int]]:
        """The lengths, longest first; the sequences in that order; how many of them run at each
        step. The first two are ``None`` where all are full."""
        lengths = self._lengths
        if lengths is None:
            return None, None, [batch] * steps
        if lengths.min() < 0 or lengths.max() > steps:
            raise ValueError(f"sequence_lens {lengths.tolist()} should lie between 0 and {steps}")
        order = np.argsort(-lengths, kind="stable")
        in_order = lengths[order].astype(np.intp)
        running = batch - np.searchsorted(in_order[::-1], np.arange(int(in_order[0])), "right")
        return in_order, order, running.tolist()

    def _project(
        self, t: int, counts: list[int], lengths: np.ndarray | None, order: np.ndarray | None
    ) -> list[np.ndarray]:
        """What the inputs contribute to some steps from ``t`` on."""
        directions, hidden, width = self._cell.w_h.shape
        n = np.array(counts)
        total, first = int(n.sum()), np.cumsum(n) - n
        times = np.repeat(np.arange(t, t + len(n)), n)
        ranks = np.arange(total) - np.repeat(first, n)
        sequences = ranks if order is None else order[ranks]
        last = self._source.steps - 1 if lengths is None else lengths[ranks] - 1
        part = hidden if self._single else width
        block = self._block[: total * directions * width].reshape(-1, part)
        wanted = []
        for d, reverse in enumerate(self._cell.reversals):
            if self._single:
                gates = width // hidden
                rows = (np.arange(total)[:, None] * gates + np.arange(gates)) * directions + d
            else:
                rows = np.repeat(first * directions + d * n, n) + ranks
            wanted.append((last - times if reverse else times, sequences, rows))
        self._source.project(wanted, block)
        flat = self._block
        size = directions * width
        if self._single:
            return list(flat[: total * size].reshape(total, size))
        return [
            flat[start * size : (start + count) * size].reshape(directions, count, width)
            for start, count in zip(first.tolist(), counts, strict=True)
        ]

    def _step(self, n: int) -> tuple[Step, np.ndarray]:
        """The step of so many sequences, and their hidden state."""
        if n not in self._steps:
            states = [state[:, :n] for state in self._states]
            rooms = iter(self._room)

            def scratch(shape: tuple[int, ...]) -> np.ndarray:
                return next(rooms)[: math.prod(shape)].reshape(shape)

            cell = self._cell
            if self._single:
                assert cell.make_single_step is not None
                step = cell.make_single_step(cell.w_h_by_gate, states, scratch)
            else:
                step = cell.make_step(cell.w_h, states, scratch)
            self._steps[n] = step, states[0]
        return self._steps[n]

    def _finish(
        self, counts: list[int], lengths: np.ndarray | None, order: np.ndarray | None
    ) -> None:
        for final, state in zip(self.finals, self._states, strict=True):
            if order is None:
                np.copyto(final, state)
            else:
                final[:, order] = state
        if self.y is None or self._history is None:
            return
        if lengths is None or order is None:
            for d, reverse in enumerate(self._cell.reversals):
                walked = self._history[::-1, d] if reverse else self._history[:, d]
                np.copyto(self.y[:, d], walked)
            return
        self.y.fill(0)
        times, ranks = np.nonzero(np.array(counts)[:, None] > np.arange(len(order)))
        for d, reverse in enumerate(self._cell.reversals):
            places = lengths[ranks] - 1 - times if reverse else times
            self.y[places, d, order[ranks]] = self._history[times, d, ranks]


class Bindable:
    """The ``bind`` of a node with known weights: the cell and the table are made when first
    needed, and shared by all that is bound."""

    def __init__(self, make_cell: Callable[[], Cell], embedding: np.ndarray | None) -> None:
        self._make_cell, self._embedding = make_cell, embedding

    @functools.cached_property
    def _cell(self) -> Cell:
        return self._make_cell()

    @functools.cached_property
    def _table(self) -> Table | None:
        return None if self._embedding is None else Table(self._embedding, self._cell)

    def __call__(
        self,
        space: Space,
        x: np.ndarray,
        sequence_lens: np.ndarray | None = None,
        *initial: np.ndarray | None,
    ) -> tuple[np.ndarray, ...] | None:
        """y (T, D, N, H) and the last of each state (D, N, H), from x (T, N, I), or with an
        embedding from ids (T, N)."""
        cell, table = self._cell, self._table
        if x.ndim != (3 if table is None else 2) or x.size == 0:
            return None
        if table is None and (x.dtype != cell.w_x.dtype or x.shape[2] != cell.w_x.shape[1]):
            return None
        batch = x.shape[1]
        shape = (len(cell.w_x), batch, cell.hidden)
        given = [*initial, *[None] * (cell.states - len(initial))]
        if any(s is not None and (s.shape != shape or s.dtype != cell.w_h.dtype) for s in given):
            return None
        if sequence_lens is not None and sequence_lens.shape != (batch,):
            return None
        wants_y = bool(space.wanted) and space.wanted[0]
        walk = Walk(space, cell, x, table, sequence_lens, given, wants_y)
        space.call(walk.run)
        return (space.nothing if walk.y is None else walk.y), *walk.finals
