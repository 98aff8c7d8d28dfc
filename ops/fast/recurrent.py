"""The binders of RNN, LSTM and GRU.

A step of a small batch takes as long as its calls, so both directions share one set of calls, and
all operands of elementwise calls are contiguous: states are (sequences, directions, H), gates
(gates, sequences, directions, H). The projections of the inputs don't depend on previous steps:
they are computed for many steps at once, or looked up if the inputs are rows of an embedding
(``EmbeddedInputs``). With ``sequence_lens`` the sequences are sorted by length, so that those that
haven't ended are the first rows, and only these are computed.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.space import Bind, Space
from onnxwalk.ops.fast.recurrent_single import SingleSequence, can_be_single
from onnxwalk.ops.fast.recurrent_steps import Cell, Step
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.numeric import distinct

#: bytes of gates to project at once: they should still be in the cache when the steps use them
_BLOCK = 1 << 19
#: initial states beyond this are multiplied by exact sigmoids (see ``_is_large``)
_LARGE_STATE = 64
#: steps of a single sequence whose places in memory are kept: about a kilobyte each
_MOST_PLACES = 1 << 12

# ----------------------------------------------------------------- projections of the inputs
# A block holds the projections for some steps, in rows of H: for each step a contiguous
# (gates, sequences, directions, H).


class DenseInputs:
    """Inputs (T, N, I), multiplied by the weights for many steps at once."""

    def __init__(self, space: Space, cell: Cell, x: np.ndarray, most: int) -> None:
        self._x, self._cell = x, cell
        self.steps, self.batch, self._features = x.shape
        self._rows = space.scratch((most, self._features), x.dtype)
        self._gates = space.scratch((most, cell.w_x.shape[2]), x.dtype)

    def begin(self) -> None:
        pass

    def project_all(self, first: int, steps: int, last: int, block: np.ndarray) -> None:
        """Fill the rows (…, H) of a block for some steps from ``first`` on, in which all sequences
        run; step 0 of a reversed direction is time ``last``."""
        gates, directions, hidden = self._cell.shape
        count = steps * self.batch
        by_step = block.reshape(steps, gates, self.batch, directions, hidden)
        is_alone = self.batch == directions == 1
        projected = block.reshape(steps, -1) if is_alone else self._gates[:count]
        for d, reverse in enumerate(self._cell.reversals):
            start = last + 1 - first - steps if reverse else first
            inputs = self._x[start : start + steps]
            if self.batch == 1:
                inputs = inputs[:, 0]
            elif inputs.flags.c_contiguous:
                inputs = inputs.reshape(count, -1)
            else:
                np.copyto(self._rows[:count].reshape(inputs.shape), inputs)
                inputs = self._rows[:count]
            if is_alone and reverse:
                inputs = inputs[::-1]
            products.matmul(inputs, self._cell.w_x[d], projected)
            np.add(projected, self._cell.bias[d], projected)
            if not is_alone:
                by_time = projected.reshape(steps, self.batch, gates, hidden).swapaxes(1, 2)
                np.copyto(by_step[..., d, :], by_time[::-1] if reverse else by_time)

    def project(self, sources: Sequence[tuple[np.ndarray, ...]], block: np.ndarray) -> None:
        """Fill the rows (…, H) of a block. ``sources``: for each direction the time and sequence of
        each input, and its target rows (inputs, gates)."""
        for d, (times, sequences, rows) in enumerate(sources):
            inputs, gates = self._rows[: len(times)], self._gates[: len(times)]
            if self._x.flags.c_contiguous:
                flat = self._x.reshape(-1, self._features)
                np.take(flat, times * self.batch + sequences, 0, inputs, "clip")
            else:
                inputs[...] = self._x[times, sequences]
            products.matmul(inputs, self._cell.w_x[d], gates)
            np.add(gates, self._cell.bias[d], gates)
            block[rows] = gates.reshape(*rows.shape, block.shape[-1])


class ProjectedEmbedding:
    """The rows of an embedding multiplied by the input weights, each computed when first needed.
    Shared by all bound plans of a node.

    Each row is a separate product, which for the 100 words of a sentence takes an eighth of the
    time of products of 16 rows, and its rounding doesn't depend on earlier runs. Rows are stored in
    the order of first use: few words are ever used, and scattered over a large array each would
    need a page of memory.
    """

    def __init__(self, embedding: np.ndarray, cell: Cell) -> None:
        self._embedding, self._cell = embedding, cell
        directions, _, width = cell.w_x.shape
        #: (words used so far and spare rows, D, gates * H)
        self.rows = np.empty((0, directions, width), embedding.dtype)
        self._place = np.full(len(embedding), -1)  # of each word among the rows
        self._count = 0
        self._lock = threading.Lock()

    def places(self, ids: np.ndarray) -> np.ndarray:
        """The indices of these ids in ``rows``, which are computed if missing. Raises IndexError if
        an id is out of range."""
        places = self._place[ids]  # which raises the error
        if np.minimum.reduce(places, None) < 0:
            with self._lock:
                self._compute(distinct(ids % len(self._place)))
            places = self._place[ids]
        return places

    def _compute(self, words: np.ndarray) -> None:
        missing = words[self._place[words] < 0]
        start, stop = self._count, self._count + len(missing)
        rows = self.rows
        if stop > len(rows):
            rows = np.empty(
                (min(max(2 * stop, 256), len(self._place)), *rows.shape[1:]), rows.dtype
            )
            rows[:start] = self.rows[:start]
        source = self._embedding[missing]
        for d, (weights, bias) in enumerate(zip(self._cell.w_x, self._cell.bias, strict=True)):
            np.add(products.rows_apart(source, weights), bias, rows[start:stop, d])
        # Other threads read the places without the lock: set them last.
        self.rows, self._count = rows, stop
        self._place[missing] = np.arange(start, stop)


class EmbeddedInputs:
    """Inputs that are rows of an embedding, as ids (T, N)."""

    def __init__(
        self, space: Space, cell: Cell, ids: np.ndarray, most: int, table: ProjectedEmbedding
    ) -> None:
        self._ids, self._table = ids, table
        gates, directions, _ = cell.shape
        self._reversals = cell.reversals
        #: of each gate and direction among the rows (D, gates) of a word
        self._offsets = np.arange(directions * gates).reshape(directions, gates).T[:, None]
        shape = (most // ids.shape[1], gates, ids.shape[1], directions)
        self._numbers = space.scratch(shape, np.intp)
        self._places = ids  # in the table, from ``begin`` on
        self.steps, self.batch = ids.shape

    def begin(self) -> None:
        self._places = self._table.places(self._ids)

    def project_all(self, first: int, steps: int, last: int, block: np.ndarray) -> None:
        """See ``DenseInputs.project_all``."""
        numbers, table = self._numbers[:steps], self._table.rows
        for d, reverse in enumerate(self._reversals):
            start = last + 1 - first - steps if reverse else first
            places = self._places[start : start + steps, None]
            places = places[::-1] if reverse else places
            np.multiply(places, self._offsets.size, numbers[..., d])
        np.add(numbers, self._offsets, numbers)
        np.take(table.reshape(-1, block.shape[-1]), numbers.reshape(-1), 0, block, "clip")

    def project(self, sources: Sequence[tuple[np.ndarray, ...]], block: np.ndarray) -> None:
        """See ``DenseInputs.project``."""
        table = self._table.rows
        _, directions, width = table.shape
        hidden = block.shape[-1]
        gates = np.arange(width // hidden)
        numbers = np.empty(len(block), np.intp)
        for d, (times, sequences, rows) in enumerate(sources):
            places = self._places[times, sequences] * directions + d
            numbers[rows] = places[:, None] * len(gates) + gates
        np.take(table.reshape(-1, hidden), numbers, 0, block, "clip")


# ------------------------------------------------------------------------------------- the loop


class _Layout(NamedTuple):
    """The inputs of some steps, in sequence."""

    times: np.ndarray  # the step of each
    ranks: np.ndarray  # its rank among the sequences that haven't ended
    rows: list[np.ndarray]  # for each direction its target rows (inputs, gates) in the block
    block: np.ndarray
    steps: list[Any]  # the block, step by step


class SequenceLoop:
    """The loop over the steps for inputs of known shapes; each run calls ``run``."""

    def __init__(
        self,
        space: Space,
        cell: Cell,
        x: np.ndarray,
        table: ProjectedEmbedding | None,
        lengths: np.ndarray | None,
        initial: Sequence[np.ndarray | None],
        uses_y: bool,
    ) -> None:
        self._cell, self._lengths, self._initial = cell, lengths, initial
        steps, batch = x.shape[:2]
        gates, directions, hidden = cell.shape
        dtype = cell.w_h.dtype
        self._size = directions * hidden  # of a sequence's state
        #: how many inputs are projected at once, a multiple of the batch
        self._most = batch * min(steps, max(1, _BLOCK // (4 * gates * self._size * batch)))
        self._block = space.scratch((self._most * directions * gates, hidden), dtype)
        self._source = (
            DenseInputs(space, cell, x, self._most)
            if table is None
            else EmbeddedInputs(space, cell, x, self._most, table)
        )
        shape = (batch, directions, hidden)
        self._history: np.ndarray | None = None
        self.y = space.array((steps, directions, batch, hidden), dtype) if uses_y else None
        #: (D, N, H) each
        self.finals = [space.array(shape, dtype).transpose(1, 0, 2) for _ in range(cell.states)]
        self._states = [space.scratch(shape, dtype) for _ in range(cell.states)]
        self._gates = space.scratch((gates * batch * self._size,), dtype)
        self._has_sigmoids = gates > 1
        self._steps: dict[tuple[int, bool], Step] = {}
        self._single: SingleSequence | None = None
        few = batch == 1 and can_be_single(directions) and steps <= _MOST_PLACES
        if few and cell.make_single is not None:
            states = [state.reshape(-1) for state in self._states]
            self._single = cell.make_single(cell.w_h, states, steps, space.scratch)
            self._history = self._single.history.reshape(steps, *shape)
        elif uses_y:
            self._history = space.scratch((steps, *shape), dtype)
        #: the block, step by step, where all sequences run: as it is, and for ``single``
        self._blocks: dict[bool, Any] = {}

    def run(self) -> None:
        self._source.begin()
        steps, batch = self._source.steps, self._source.batch
        lengths, order, counts = self._schedule(steps, batch)
        for state, given in zip(self._states, self._initial, strict=True):
            if given is None:
                state.fill(0)
            else:
                by_sequence = given.transpose(1, 0, 2)
                np.copyto(state, by_sequence if order is None else by_sequence[order])
        exact = self._has_sigmoids and any(map(_is_large, self._initial))
        single = None if exact else self._single
        if single is not None:
            single.begin()
        history, t = self._history, 0
        while t < len(counts):
            now = counts[t : t + max(1, self._most // counts[t])]
            if order is None or lengths is None:
                projections = self._project_all(t, len(now), len(counts) - 1, single)
            else:
                projections = self._project(t, now, lengths, order)
            if single is not None:
                single.run(projections, t)
            elif now[0] != now[-1]:
                for place, (n, projected) in enumerate(zip(now, projections, strict=True), t):
                    self._step(n, exact)(projected)
                    if history is not None:
                        history[place, :n] = self._states[0][:n]
            else:  # the usual case: all sequences run
                step, h = self._step(now[0], exact), self._states[0][: now[0]]
                if history is None:
                    for projected in projections:
                        step(projected)
                else:
                    copyto, kept = np.copyto, history[t : t + len(now), : now[0]]
                    for projected, out in zip(projections, kept, strict=True):
                        step(projected)
                        copyto(out, h)
            t += len(now)
        if single is not None:
            single.end(len(counts))
        self._finish(counts, lengths, order)

    def _schedule(
        self, steps: int, batch: int
    ) -> tuple[np.ndarray | None, np.ndarray | None, list[int]]:
        """The lengths, longest first; the sequences in that order; the number of sequences at each
        step. The first two are ``None`` if all sequences run at each step."""
        lengths = self._lengths
        if lengths is None:
            return None, None, [batch] * steps
        each = lengths.tolist()
        least, longest = min(each), max(each)
        if least < 0 or longest > steps:
            raise ValueError(f"sequence_lens {each} should lie between 0 and {steps}")
        if least == longest:
            return None, None, [batch] * longest
        order = np.argsort(-lengths, kind="stable")
        in_order = lengths[order].astype(np.intp)
        running = batch - np.searchsorted(in_order[::-1], np.arange(int(in_order[0])), "right")
        return in_order, order, running.tolist()

    def _project_all(
        self, t: int, steps: int, last: int, single: SingleSequence | None
    ) -> Sequence[Any]:
        """The projections of the inputs for some steps from ``t`` to ``last``, in which all
        sequences run."""
        gates, directions, hidden = self._cell.shape
        rows = self._source.batch * gates * directions  # of a step
        is_single = single is not None
        if is_single not in self._blocks:
            by_step = self._block.reshape(-1, rows * hidden)
            parts = single.parts if single is not None else lambda projected: projected
            self._blocks[is_single] = by_step if parts is None else list(map(parts, by_step))
        self._source.project_all(t, steps, last, self._block[: steps * rows])
        return self._blocks[is_single][:steps]

    def _project(
        self, t: int, counts: list[int], lengths: np.ndarray, order: np.ndarray
    ) -> list[Any]:
        """As ``_project_all``, where fewer and fewer sequences run."""
        layout = self._layout(t, counts)
        ranks = layout.ranks
        sequences, last = order[ranks], lengths[ranks] - 1
        sources = [
            (last - layout.times if reverse else layout.times, sequences, rows)
            for reverse, rows in zip(self._cell.reversals, layout.rows, strict=True)
        ]
        self._source.project(sources, layout.block)
        return layout.steps

    def _layout(self, t: int, counts: list[int]) -> _Layout:
        """The layout of the inputs of some steps from ``t`` on, with ``counts`` sequences each."""
        gates, directions, _ = self._cell.shape
        n = np.array(counts)
        total, first = int(n.sum()), np.cumsum(n) - n
        ranks = np.arange(total) - np.repeat(first, n)
        start = np.repeat(first * gates * directions, n) + ranks * directions
        rows = start[:, None] + np.arange(gates) * np.repeat(n * directions, n)[:, None]
        flat, size = self._block.reshape(-1), gates * self._size
        edges = [0, *(np.cumsum(n) * size).tolist()]
        return _Layout(
            np.repeat(np.arange(t, t + len(n)), n),
            ranks,
            [rows + d for d in range(directions)],
            self._block[: total * gates * directions],
            [flat[a:b] for a, b in itertools.pairwise(edges)],
        )

    def _step(self, n: int, exact: bool) -> Step:
        """The step for n sequences. ``exact``: with sigmoids that are exact near 0, too."""
        if (n, exact) not in self._steps:
            w_h = self._cell.w_h
            gates, directions, hidden = self._cell.shape
            flat = self._gates[: gates * n * self._size]
            places = flat.reshape(gates, n, directions, hidden).transpose(0, 2, 1, 3)

            def product(h: np.ndarray, chosen: slice = slice(None)) -> Callable[[], Any]:
                rounded = self._cell.rounded
                if rounded is None:
                    return plain_product(h, chosen)
                kept = np.empty_like(h)
                multiply = plain_product(kept, chosen)
                by_way = [x.reshape(n, directions, hidden).swapaxes(0, 1) for x in (h, kept)]
                pairs = list(zip(*by_way, strict=True))

                def recur() -> None:
                    for x, y in pairs:
                        rounded(x, y)
                    multiply()

                return recur

            def plain_product(h: np.ndarray, chosen: slice) -> Callable[[], Any]:
                if directions == n == 1:  # the fastest call
                    wide = np.concatenate(list(w_h[chosen, 0]), -1)
                    return functools.partial(
                        products.times(wide)(h), wide, places[chosen].reshape(-1)
                    )
                if not products.is_faster_joined(directions, n, hidden, len(w_h[chosen])):
                    rows = h.reshape(1, n, directions, hidden).transpose(0, 2, 1, 3)
                    return functools.partial(np.matmul, rows, w_h[chosen], places[chosen])
                return product_by_direction(h, chosen)

            def product_by_direction(h: np.ndarray, chosen: slice) -> Callable[[], Any]:
                rows, into = h.reshape(n, directions, hidden), places[chosen]
                of_all = np.empty((directions, n, len(into), hidden), h.dtype)
                calls = []
                for d, result in enumerate(of_all):
                    wide = np.concatenate(list(w_h[chosen, d]), -1)
                    calls.append(products.product(rows[:, d], wide, result.reshape(n, -1)))
                by_gate = of_all.transpose(2, 0, 1, 3)

                def multiply() -> None:
                    for call in calls:
                        call()
                    np.copyto(into, by_gate)

                return multiply

            states = [state[:n].reshape(-1) for state in self._states]
            options = {"exact": True} if exact else {}
            self._steps[n, exact] = self._cell.make_step(product, flat, states, **options)
        return self._steps[n, exact]

    def _finish(
        self, counts: list[int], lengths: np.ndarray | None, order: np.ndarray | None
    ) -> None:
        for final, state in zip(self.finals, self._states, strict=True):
            by_sequence = final.transpose(1, 0, 2)
            if order is None:
                np.copyto(by_sequence, state)
            else:
                by_sequence[order] = state
        if self.y is None or self._history is None:
            return
        y = self.y.transpose(0, 2, 1, 3)  # (T, N, D, H), as the history
        if lengths is None or order is None:
            count = len(counts)
            for d, reverse in enumerate(self._cell.reversals):
                outputs = self._history[:count, :, d]
                np.copyto(y[:count, :, d], outputs[::-1] if reverse else outputs)
            y[count:] = 0
            return
        self.y.fill(0)
        times, ranks = np.nonzero(np.array(counts)[:, None] > np.arange(len(order)))
        for d, reverse in enumerate(self._cell.reversals):
            places = lengths[ranks] - 1 - times if reverse else times
            y[places, order[ranks], d] = self._history[times, ranks, d]


def _is_large(state: np.ndarray | None) -> bool:
    """Whether an initial state is large enough to show that a sigmoid by tanh is exact to 1e-7, not
    to 1e-7 of itself: sigmoid(-40) is 4e-18, not 0, and times infinity isn't NaN. States that steps
    compute are small."""
    return state is not None and not bool((np.abs(state) <= _LARGE_STATE).all())


def make_binder(make_cell: Callable[[], Cell], embedding: np.ndarray | None) -> Bind:
    """The binder of a node with constant weights. The cell and the table are created when first
    needed, and shared by all bound plans."""

    @functools.cache
    def shared() -> tuple[Cell, ProjectedEmbedding | None]:
        cell = make_cell()
        return cell, None if embedding is None else ProjectedEmbedding(embedding, cell)

    def bind(
        space: Space,
        x: np.ndarray,
        sequence_lens: np.ndarray | None = None,
        *initial: np.ndarray | None,
    ) -> tuple[np.ndarray, ...] | None:
        """y (T, D, N, H) and the final states (D, N, H), from x (T, N, I), or from ids (T, N) of
        the embedding."""
        cell, table = shared()
        if x.ndim != (3 if table is None else 2) or x.size == 0:
            return None
        if table is None and (x.dtype != cell.w_x.dtype or x.shape[2] != cell.w_x.shape[1]):
            return None
        batch = x.shape[1]
        _, directions, hidden = cell.shape
        shape = (directions, batch, hidden)
        given = [*initial, *[None] * (cell.states - len(initial))]
        if any(s is not None and (s.shape != shape or s.dtype != cell.w_h.dtype) for s in given):
            return None
        if sequence_lens is not None and sequence_lens.shape != (batch,):
            return None
        if cell.rounded is not None:
            if sequence_lens is not None:  # a sequence that has ended is rounded with the others
                return None
            inputs = space.scratch(x.shape, x.dtype)
            space.call(cell.rounded, x, inputs)
            x = inputs
        uses_y = bool(space.used_outputs) and space.used_outputs[0]
        loop = SequenceLoop(space, cell, x, table, sequence_lens, given, uses_y)
        space.call(loop.run)
        return (space.unused if loop.y is None else loop.y), *loop.finals

    return bind
