"""The binders of RNN, LSTM and GRU in training: a forward that keeps gates and states, and the way
back. Weights are values like others: they are laid out anew in every run.

Steps of all sequences that haven't ended are stored one after the other (``recurrence_back``), for
each gate and direction as one matrix (rows, H). So a step reads and writes a few consecutive rows,
and products over all steps are products of whole matrices. The gradients of the gates are stored by
row (rows, gates * H): the products with W and R add up the gates.

What depends on the gates alone is computed for blocks of steps, ahead of the loop over the steps of
the way back, which then has a handful of calls: see the ``factors`` of each cell.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.recurrent_cells import TrainingCell
from onnxwalk.ops.shared import products

#: bytes of one gate for which the factors are computed at once
_BLOCK = 1 << 17
#: bytes of the rows of inputs that are brought into the order of the steps at once
_ROWS = 1 << 19


class Schedule:
    """Where the steps of all sequences lie: ``begin`` finds it out in every run."""

    def __init__(
        self, steps: int, batch: int, reversals: Sequence[bool], lengths: np.ndarray | None
    ) -> None:
        self.steps, self.batch, self.reversals = steps, batch, reversals
        self._lengths = lengths
        if lengths is None:
            self._find(np.full(batch, steps))

    @property
    def is_full(self) -> bool:
        """Whether no sequence ends before the others."""
        return self._lengths is None

    def begin(self) -> None:
        lengths = self._lengths
        if lengths is None:
            return
        if lengths.size and (lengths.min() < 0 or lengths.max() > self.steps):
            raise ValueError(
                f"sequence_lens {lengths.tolist()} should lie between 0 and {self.steps}"
            )
        self._find(lengths.astype(np.intp))

    def _find(self, lengths: np.ndarray) -> None:
        self.order = np.argsort(-lengths, kind="stable")
        in_order = lengths[self.order]
        running = np.arange(self.steps)[:, None] < in_order
        counts = running.sum(1)
        #: of each step its first row, and the end
        self.offsets = [0, *np.cumsum(counts[counts > 0]).tolist()]
        #: how many rows there are
        self.rows = self.offsets[-1]
        own, ranks = np.nonzero(running)
        self._sequences = self.order[ranks]
        self._times = [
            lengths[self._sequences] - 1 - own if reverse else own for reverse in self.reversals
        ]
        # states have rows for the initial ones in front
        starts = np.array([0, *self.offsets])
        starts[1:] += self.batch
        #: the row of the state before each row's step
        self.before = starts[own] + ranks
        #: the row of each sequence's last state, the longest first
        self.last = starts[in_order] + np.arange(self.batch)

    def places(self, d: int, per_time: int, per_sequence: int) -> np.ndarray:
        """Where each row of direction d lies in an array with these distances."""
        return self._times[d] * per_time + self._sequences * per_sequence


class Flat(NamedTuple):
    """An array (T, N, …) as rows, in the order in which they are in memory."""

    rows: np.ndarray
    per_time: int
    per_sequence: int

    @classmethod
    def of(cls, x: np.ndarray) -> Flat | None:
        """``None`` if the rows aren't contiguous."""
        steps, batch, size = x.shape
        if x.flags.c_contiguous:
            return cls(x.reshape(-1, size), batch, 1)
        by_sequence = x.swapaxes(0, 1)
        if by_sequence.flags.c_contiguous:
            return cls(by_sequence.reshape(-1, size), 1, steps)
        return None


class Forward:
    """A layer that keeps gates (gates, D, rows, H) and states (D, N + rows, H)."""

    def __init__(
        self,
        space: Space,
        cell: TrainingCell,
        schedule: Schedule,
        x: np.ndarray,
        weights: Sequence[np.ndarray | None],
        initial: Sequence[np.ndarray | None],
        uses_y: bool,
    ) -> None:
        w, r, b = weights
        assert w is not None and r is not None
        steps, batch, features = x.shape
        directions, _, hidden = r.shape
        dtype, rows = r.dtype, steps * batch
        self._cell, self._schedule, self._initial = cell, schedule, initial
        self._weights = (w, r, b)
        gates = len(cell.gates)
        self.states = [
            space.array((directions, batch + rows, hidden), dtype) for _ in range(cell.states)
        ]
        if cell.gate_is_state:
            self.gates = self.states[0][None, :, batch:]
        else:
            self.gates = space.array((gates, directions, rows, hidden), dtype)
        self.products = space.array((directions, rows, hidden), dtype) if cell.products else None
        self.y = space.array((steps, directions, batch, hidden), dtype) if uses_y else None
        self.finals = [space.array((directions, batch, hidden), dtype) for _ in range(cell.states)]
        flat = Flat.of(x)
        self._x = x if flat is None else None
        self._flat = flat or Flat(space.scratch((steps * batch, features), dtype), batch, 1)
        self._inputs = space.scratch((rows, features), dtype)
        self._w = space.scratch((gates, directions, features, hidden), dtype)
        self._r = space.scratch((gates, directions, hidden, hidden), dtype)
        self._b = space.scratch((gates, directions, 1, hidden), dtype)
        self._b_apart = space.scratch((directions, 1, hidden), dtype)
        self._recurrent = space.scratch((gates * directions * batch * hidden,), dtype)
        self._spare = space.scratch((directions * batch * hidden,), dtype)
        self._steps: list[tuple[Any, ...]] = []

    def run(self) -> None:
        schedule, cell = self._schedule, self._cell
        schedule.begin()
        cell.lay_out(self._weights, self._w, self._r, self._b, self._b_apart)
        if self._x is not None:
            np.copyto(self._flat.rows.reshape(self._x.shape), self._x)
        for state, given in zip(self.states, self._initial, strict=True):
            first = state[:, : schedule.batch]
            if given is None:
                first.fill(0)
            else:
                np.take(given, schedule.order, 1, first)
        self._project()
        if not self._steps or not schedule.is_full:
            self._steps = list(self._make_steps())
        for step in self._steps:
            cell.forward(*step)
        self._finish()

    def _project(self) -> None:
        """What the inputs contribute to the gates of all steps."""
        schedule, rows = self._schedule, self._schedule.rows
        for d, reverse in enumerate(schedule.reversals):
            inputs = self._inputs[:rows]
            flat, *distances = self._flat
            if schedule.is_full and not reverse and distances[1] == 1:
                inputs = flat
            else:
                np.take(flat, schedule.places(d, *distances), 0, inputs, "clip")
            gates = self.gates[:, d, :rows]
            products.matmul(inputs, self._w[:, d], gates)
            np.add(gates, self._b[:, d], gates)

    def _make_steps(self) -> Any:
        """For each step the arguments of the cell's ``forward``."""
        directions, _, hidden = self.states[0].shape
        offsets, batch = self._schedule.offsets, self._schedule.batch
        starts = [0, *(batch + start for start in offsets)]
        for i, (a, b) in enumerate(itertools.pairwise(offsets)):
            n = b - a
            size = directions * n * hidden
            recurrent = self._recurrent[: len(self.gates) * size]
            yield (
                [state[:, starts[i] : starts[i] + n] for state in self.states],
                [state[:, batch + a : batch + b] for state in self.states],
                self.gates[:, :, a:b],
                recurrent.reshape(len(self.gates), directions, n, hidden),
                self._spare[:size].reshape(directions, n, hidden),
                None if self.products is None else self.products[:, a:b],
                self._r,
                self._b_apart,
            )

    def _finish(self) -> None:
        schedule = self._schedule
        for final, state in zip(self.finals, self.states, strict=True):
            final[:, schedule.order] = state[:, schedule.last]
        if self.y is None:
            return
        steps, directions, batch, hidden = self.y.shape
        after = self.states[0][:, batch:]
        if schedule.is_full:
            for d, reverse in enumerate(schedule.reversals):
                by_step = after[d].reshape(steps, batch, hidden)
                np.copyto(self.y[:, d], by_step[::-1] if reverse else by_step)
            return
        self.y.fill(0)
        flat = self.y.reshape(-1, hidden)
        for d in range(directions):
            flat[schedule.places(d, directions * batch, 1) + d * batch] = after[d, : schedule.rows]


class Back:
    """The way back, from the gates and states of ``Forward``."""

    def __init__(
        self,
        space: Space,
        cell: TrainingCell,
        schedule: Schedule,
        outer: Sequence[np.ndarray | None],
        weights: Sequence[np.ndarray | None],
        kept: Sequence[np.ndarray],
        has_b: bool,
    ) -> None:
        """``outer``: the gradients of y and of the last states; ``weights``: x, w and r, of which x
        or w may be missing: see ``layer_back``."""
        x, w, r = weights
        assert r is not None
        self._cell, self._schedule, self._outer = cell, schedule, outer
        self._x, self._w, self._r = x, w, r
        self._gates, self._states = kept[0], kept[1 : 1 + cell.states]
        self._products = kept[-1] if cell.products else None
        gates, directions, rows, hidden = self._gates.shape
        batch, dtype = schedule.batch, r.dtype
        state = (directions, batch, hidden)
        self._dv = space.scratch((directions, rows, cell.columns * hidden), dtype)
        self._dstates = [space.scratch(state, dtype) for _ in self._states]
        self._before = [space.scratch((directions, rows, hidden), dtype) for _ in self._states]
        self._block = max(1, _BLOCK // max(1, directions * batch * hidden * dtype.itemsize))
        most = min(rows, self._block * batch)
        self._factors = space.scratch((cell.factors, directions, most, hidden), dtype)
        self._spare = space.scratch((directions * batch * hidden,), dtype)
        self._r_rows = space.scratch((directions, gates * hidden, hidden), dtype)
        dy = outer[0]
        self._dy_rows = None if dy is None else space.scratch((directions, rows, hidden), dtype)
        self._dy = dy if dy is None or dy.flags.c_contiguous else space.scratch(dy.shape, dtype)
        # What follows is written after all steps, and may take the memory of what they alone use.
        for of_steps in (self._factors, self._spare, self._r_rows, self._dy_rows):
            if of_steps is not None:
                space.free_scratch(of_steps)
        self.d_initial = [space.array(state, dtype) for _ in self._states]
        self.dr = space.array(r.shape, dtype)
        self.db = space.array((directions, 2 * r.shape[1]), dtype) if has_b else None
        self._ones = space.mark_constant(np.ones(rows, dtype))
        features = 0 if x is None and w is None else (w if x is None else x).shape[2]  # type: ignore[union-attr]
        self._product = space.scratch((gates * hidden * max(hidden, features),), dtype)
        self._row = space.scratch((cell.columns * hidden,), dtype)
        self.dw = self.dx = None
        flat = None if x is None else Flat.of(x)
        # some rows of the inputs in the order of the steps, for dw, and then of their gradients
        together = min(rows, max(1, _ROWS // max(1, features * dtype.itemsize)))
        self._blocks = split_range(rows, together)
        self._some, self._more = (space.scratch((together, features), dtype) for _ in range(2))
        if x is not None:
            self._flat = flat or Flat(space.scratch((rows, features), dtype), batch, 1)
            self._part = space.scratch(self._product.shape, dtype)
            self.dw = space.array((directions, r.shape[1], features), dtype)
        self._copies_x = flat is None
        if w is not None:
            by_time = flat is not None and flat.per_sequence == 1
            shape = (schedule.steps, batch) if by_time else (batch, schedule.steps)
            memory = space.array((*shape, features), dtype)
            self.dx = memory if by_time else memory.swapaxes(0, 1)
            self._dx_flat = Flat.of(self.dx)
            self._w_rows = space.scratch(w.shape, dtype)
        self._steps: list[Any] = []

    def run(self) -> None:
        schedule, cell = self._schedule, self._cell
        schedule.begin()
        cell.order_rows(self._r, cell.gates, self._r_rows)
        before = self._find_before()
        for dstate, final in zip(self._dstates, self._outer[1:], strict=True):
            if final is None:
                dstate.fill(0)
            else:
                np.take(final, schedule.order, 1, dstate, "clip")
        self._take_dy()
        if not self._steps or not schedule.is_full:
            self._steps = list(self._make_steps(before))
        for block, steps in self._steps:
            cell.prepare_back(*block)
            for step in steps:
                cell.back(*step)
        for found, dstate in zip(self.d_initial, self._dstates, strict=True):
            found[:, schedule.order] = dstate
        self._multiply(before[0])

    def _find_before(self) -> list[np.ndarray]:
        """The states before the step of each row."""
        schedule = self._schedule
        if schedule.is_full:
            return [state[:, : schedule.rows] for state in self._states]
        for state, before in zip(self._states, self._before, strict=True):
            for d in range(len(state)):
                np.take(state[d], schedule.before, 0, before[d, : schedule.rows], "clip")
        return self._before

    def _take_dy(self) -> None:
        dy, flat, rows = self._outer[0], self._dy, self._dy_rows
        if dy is None or flat is None or rows is None:
            return
        if flat is not dy:
            np.copyto(flat, dy)
        _, directions, batch, hidden = dy.shape
        by_row = flat.reshape(-1, hidden)
        for d in range(directions):
            places = self._schedule.places(d, directions * batch, 1) + d * batch
            np.take(by_row, places, 0, rows[d, : len(places)], "clip")

    def _make_steps(self, before: Sequence[np.ndarray]) -> Any:
        """For each block of steps, from the last to the first, the arguments of ``prepare_back``,
        and those of ``back`` for each step."""
        cell, offsets, batch = self._cell, self._schedule.offsets, self._schedule.batch
        _, directions, _, hidden = self._gates.shape
        for end in range(len(offsets) - 1, 0, -self._block):
            start = max(0, end - self._block)
            first, last = offsets[start], offsets[end]
            factors = self._factors[:, :, : last - first]
            gates = self._gates[:, :, first:last]
            states = [s[:, batch + first : batch + last] for s in self._states]
            products = None if self._products is None else self._products[:, first:last]
            block = (gates, [b[:, first:last] for b in before], states, products, factors)
            steps = []
            for i in range(end - 1, start - 1, -1):
                a, b = offsets[i], offsets[i + 1]
                n = b - a
                dv = self._dv[:, a:b]
                by_gate = dv.reshape(directions, n, cell.columns, hidden).transpose(2, 0, 1, 3)
                steps.append(
                    (
                        [dstate[:, :n] for dstate in self._dstates],
                        None if self._dy_rows is None else self._dy_rows[:, a:b],
                        by_gate,
                        dv[:, :, cell.by_state * hidden :],
                        factors[:, :, a - first : b - first],
                        self._gates[:, :, a:b],
                        self._spare[: directions * n * hidden].reshape(directions, n, hidden),
                        self._r_rows,
                    )
                )
            yield block, steps

    def _multiply(self, h: np.ndarray) -> None:
        """The gradients of weights and inputs: products over all steps."""
        schedule, cell, rows = self._schedule, self._cell, self._schedule.rows
        hidden = self._r.shape[2]
        if self._w is not None:
            cell.order_rows(self._w, cell.input_gates, self._w_rows)
        if self._copies_x and self._x is not None:
            np.copyto(self._flat.rows.reshape(self._x.shape), self._x)
        for d in range(len(self._r)):
            dv = self._dv[d, :rows]
            by_input = dv[:, : len(cell.gates) * hidden]
            by_state = dv[:, cell.by_state * hidden :]
            self._product_into(by_state, h[d, :rows], self.dr[d], cell.gates)
            if self.dw is not None:
                flat, *distances = self._flat
                if schedule.is_full and not schedule.reversals[d] and distances[1] == 1:
                    self._product_into(by_input, flat, self.dw[d], cell.input_gates)
                else:
                    places = schedule.places(d, *distances)
                    self._products_into(by_input, flat, places, self.dw[d], cell.input_gates)
            if self.db is not None:
                products.matmul(self._ones[:rows], dv, self._row)
                halves = self.db[d].reshape(2, len(cell.gates), hidden)
                sums = self._row.reshape(cell.columns, hidden)
                for half, first, order in (
                    (halves[0], 0, cell.input_gates),
                    (halves[1], cell.by_state, cell.gates),
                ):
                    for column, gate in enumerate(order, first):
                        half[gate] = sums[column]
            if self.dx is not None:
                self._add_dx(d, by_input)

    def _product_into(
        self, dv: np.ndarray, values: np.ndarray, result: np.ndarray, order: Sequence[int]
    ) -> None:
        """dv' values (gates * H, …), with the gates brought into the order of the operator."""
        product = self._product[: result.size].reshape(result.shape)
        products.matmul(dv.T, values, product)
        self._reorder(product, result, order)

    def _products_into(
        self,
        dv: np.ndarray,
        values: np.ndarray,
        places: np.ndarray,
        result: np.ndarray,
        order: Sequence[int],
    ) -> None:
        """As ``_product_into``, of the rows of values at these places, some at a time."""
        product, part = (
            m[: result.size].reshape(result.shape) for m in (self._product, self._part)
        )
        product.fill(0)
        for first, last in self._blocks_of(len(dv)):
            some = self._some[: last - first]
            np.take(values, places[first:last], 0, some, "clip")
            products.matmul(dv[first:last].T, some, part)
            np.add(product, part, product)
        self._reorder(product, result, order)

    def _blocks_of(self, rows: int) -> Iterator[tuple[int, int]]:
        return ((a, min(b, rows)) for a, b in self._blocks if a < rows)

    @staticmethod
    def _reorder(product: np.ndarray, result: np.ndarray, order: Sequence[int]) -> None:
        by_gate = result.reshape(len(order), -1)
        for gate, found in zip(order, product.reshape(len(order), -1), strict=True):
            by_gate[gate] = found

    def _add_dx(self, d: int, by_input: np.ndarray) -> None:
        schedule, flat = self._schedule, self._dx_flat
        assert flat is not None
        if d == 0 and not schedule.is_full:  # beyond the end of a sequence
            flat.rows.fill(0)
        places = schedule.places(d, flat.per_time, flat.per_sequence)
        for first, last in self._blocks_of(schedule.rows):
            here, some = places[first:last], self._some[: last - first]
            products.matmul(by_input[first:last], self._w_rows[d], some)
            if d:
                others = self._more[: last - first]
                np.take(flat.rows, here, 0, others, "clip")
                np.add(some, others, some)
            flat.rows[here] = some


def bind_keeping(
    space: Space,
    cell: TrainingCell,
    reversals: Sequence[bool],
    x: np.ndarray,
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    lengths: np.ndarray | None,
    initial: Sequence[np.ndarray | None],
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]] | None:
    """The outputs, and what is kept, as ``recurrence_back`` lays it out; ``None`` to decline."""
    if x.ndim != 3 or len({v.dtype for v in (x, w, r, b, *initial) if v is not None}) > 1:
        return None
    steps, batch, features = x.shape
    directions, width, hidden = r.shape
    shapes = [(w, (directions, width, features)), (b, (directions, 2 * width)), (lengths, (batch,))]
    shapes += [(state, (directions, batch, hidden)) for state in initial]
    if any(v is not None and v.shape != shape for v, shape in shapes):
        return None
    uses_y = bool(space.used_outputs) and space.used_outputs[0]
    schedule = Schedule(steps, batch, reversals, lengths)
    layer = Forward(space, cell, schedule, x, (w, r, b), initial, uses_y)
    space.call(layer.run)
    kept = [layer.gates.transpose(2, 1, 0, 3)]
    kept += [v.swapaxes(0, 1) for v in (*layer.states, layer.products) if v is not None]
    return (space.unused if layer.y is None else layer.y, *layer.finals), tuple(kept)


def bind_back(
    space: Space,
    cell: TrainingCell,
    reversals: Sequence[bool],
    x_shape: Sequence[int],
    outer: Sequence[np.ndarray | None],
    weights: Sequence[np.ndarray | None],
    lengths: np.ndarray | None,
    kept: Sequence[np.ndarray],
    has_b: bool,
) -> Back | None:
    """The way back, of whose arrays each holds a gradient; ``None`` to decline. See ``Back``."""
    gates, *others = kept
    by_gate = gates.transpose(2, 1, 0, 3)
    by_direction = [v.swapaxes(0, 1) for v in others]
    arrays = [v for v in (*outer, *weights, *kept) if v is not None]
    if len({v.dtype for v in arrays}) > 1:
        return None
    steps, batch, _ = x_shape
    schedule = Schedule(steps, batch, reversals, lengths)
    back = Back(space, cell, schedule, outer, weights, (by_gate, *by_direction), has_b)
    space.call(back.run)
    return back
