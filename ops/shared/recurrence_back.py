"""The way back through the loop of RNN, LSTM and GRU.

The gradients of the gates are computed step by step, from the last to the first; those of the
weights and of the inputs are products over all steps at once.

What a forward keeps for that has a row for each step of each sequence that hasn't ended, one after
the other, in the order in which a direction takes the steps: step 0 of the reverse direction is the
one that starts at the end. The longest sequences come first (``by_length``), so that those that
haven't ended are the first in each step: see ``Rows``. Gates are (T * N, D, gates, H); states
(N + T * N, D, H), with those before the first step in front. Where sequences have ended, the last
rows mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_CALL, multiply_adds
from onnxwalk.ops.shared.recurrence import Direction, Watch
from onnxwalk.ops.shared.sums import sum_over

#: back(here, *dstates) -> the gradient of what the inputs contribute to the gates of a step, whose
#: rows are ``here``, (n, gates * H), that of what the state before contributes, and those of the
#: states before (n, H), from those of the states after it
StepBack: TypeAlias = Callable[..., "tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]"]


def by_length(lengths: np.ndarray) -> np.ndarray:
    """The sequences, the longest first."""
    return np.argsort(-lengths.astype(np.intp), kind="stable")


class Rows(NamedTuple):
    """The steps of one direction of all sequences that haven't ended, one after the other."""

    steps: np.ndarray  # in the direction's own order
    ranks: np.ndarray  # among the sequences, longest first
    times: np.ndarray
    sequences: np.ndarray

    @classmethod
    def of(cls, steps: int, lengths: np.ndarray, reverse: bool) -> Rows:
        order = by_length(lengths)
        own, ranks = np.nonzero(np.arange(steps)[:, None] < lengths[order])
        sequences = order[ranks]
        return cls(own, ranks, lengths[sequences] - 1 - own if reverse else own, sequences)

    def starts(self, steps: int) -> np.ndarray:
        """The first row of each step, and the end."""
        return np.searchsorted(self.steps, np.arange(steps + 1))

    def before(self, steps: int, batch: int) -> np.ndarray:
        """Where the state before each row's step is among the states."""
        starts = self.starts(steps)
        ends = np.concatenate([[0], batch + starts[:-1]])  # of the steps before
        return ends[self.steps] + self.ranks


def keep_steps(
    shape: Sequence[int],
    reversals: Sequence[bool],
    lengths: np.ndarray,
    gates: np.ndarray,
    states: Sequence[np.ndarray],
    pick: Callable[[int, Mapping[str, np.ndarray]], tuple[np.ndarray, Sequence[np.ndarray]]],
) -> Watch:
    """A ``Watch`` that writes gates and states after each step, which ``pick`` chooses of the
    values of a direction. ``shape`` is (T, N)."""
    steps, batch = shape
    ranks = np.argsort(by_length(lengths))
    starts = Rows.of(steps, lengths, False).starts(steps)

    def watch(
        d: int, times: np.ndarray, sequences: np.ndarray, values: Mapping[str, np.ndarray]
    ) -> None:
        own = lengths[sequences] - 1 - times if reversals[d] else times
        rows = starts[own] + ranks[sequences]
        gates[rows, d], found = pick(d, values)
        for array, value in zip(states, found, strict=True):
            array[batch + rows, d] = value

    return watch


def steps_back(
    back: StepBack,
    lengths: np.ndarray,
    rows: Rows,
    dy: np.ndarray | None,
    *finals: np.ndarray | None,
    shape: tuple[int, int, int],
    width: int,
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Go back through the steps of one direction.

    ``dy`` (T, N, H) and ``finals`` (N, H) are the gradients of the outputs and of the last states;
    ``shape`` is (T, N, H), ``width`` that of the gates. Returns what ``back`` finds, a row for each
    of ``rows``, and the gradients of the first states (N, H).
    """
    steps, batch, hidden = shape
    order = by_length(lengths)
    dstates = [np.zeros((batch, hidden), dtype) for _ in finals]
    for dstate, final in zip(dstates, finals, strict=True):
        if final is not None:
            dstate[...] = final[order]
    by_input, by_state = (np.empty((len(rows.steps), width), dtype) for _ in range(2))
    starts = rows.starts(steps)
    for s in reversed(range(steps)):
        here = slice(starts[s], starts[s + 1])
        running = [dstate[: here.stop - here.start] for dstate in dstates]
        if dy is not None:
            running[0] += dy[rows.times[here], rows.sequences[here]]
        by_input[here], by_state[here], before = back(here, *running)
        for dstate, found in zip(running, before, strict=True):
            dstate[...] = found
    for dstate in dstates:
        dstate[order] = dstate.copy()
    return by_input, by_state, dstates


class DirectionBack(NamedTuple):
    """What the way back through one direction found."""

    rows: Rows
    #: gradients of what the inputs, and the states, contribute to the gates, a row for each of rows
    by_input: np.ndarray
    by_state: np.ndarray
    #: the states before the step of each of rows (rows, H), h first
    before: Sequence[np.ndarray]


class LayerBack(NamedTuple):
    """The gradients of a layer's inputs; of Wb and Rb, (D, 2 * gates * H)."""

    x: np.ndarray | None
    w: np.ndarray | None
    r: np.ndarray
    b: np.ndarray
    initial: list[np.ndarray]
    directions: list[DirectionBack]


def layer_back(
    make_back: Callable[..., StepBack],
    ways: Sequence[Direction],
    x: np.ndarray | None,
    w: np.ndarray | None,
    lengths: np.ndarray | None,
    layout: int,
    shape: Sequence[int],
    dy: np.ndarray | None,
    finals: Sequence[np.ndarray | None],
    kept: Sequence[np.ndarray],
) -> LayerBack:
    """Go back through all directions of a layer.

    ``make_back(d, rows, *before)`` makes the step back of direction d, from the states before the
    step of each row. ``dy`` and ``finals`` are the gradients of the outputs, ``kept`` the states.
    Without ``x`` there is no gradient of w, without ``w`` none of x.
    """
    if layout:
        x, dy = (None if v is None else v.swapaxes(0, 1) for v in (x, dy))
        dy = None if dy is None else dy.swapaxes(1, 2)
        finals = [None if v is None else v.swapaxes(0, 1) for v in finals]
    steps, batch = shape[::-1] if layout else shape
    hidden, dtype = kept[0].shape[2], kept[0].dtype
    if lengths is None:
        lengths = np.full(batch, steps)
    dx = None if w is None else np.zeros((steps, batch, w.shape[2]), dtype)
    dw, dr, db, details = [], [], [], []
    d_initial = [np.zeros((len(ways), batch, hidden), dtype) for _ in kept]
    for d, way in enumerate(ways):
        rows = Rows.of(steps, lengths, way.reverse)
        before = [state[rows.before(steps, batch), d] for state in kept]
        by_input, by_state, dstates = steps_back(
            make_back(d, rows, *before),
            lengths,
            rows,
            None if dy is None else dy[:, d],
            *(None if final is None else final[d] for final in finals),
            shape=(steps, batch, hidden),
            width=way.r.shape[1],
            dtype=dtype,
        )
        if dx is not None and w is not None:
            dx[rows.times, rows.sequences] += products.matmul(by_input, w[d])
        if x is not None:
            dw.append(products.matmul(by_input.T, x[rows.times, rows.sequences]))
        dr.append(products.matmul(by_state.T, before[0]))
        db.append(np.concatenate([sum_over(v, (0,), False) for v in (by_input, by_state)]))
        for found, dstate in zip(d_initial, dstates, strict=True):
            found[d] = dstate
        details.append(DirectionBack(rows, by_input, by_state, before))
    if layout:
        dx = None if dx is None else dx.swapaxes(0, 1)
        d_initial = [state.swapaxes(0, 1) for state in d_initial]
    return LayerBack(
        dx, None if x is None else np.stack(dw), np.stack(dr), np.stack(db), d_initial, details
    )


def cost_of_recurrence_back(x_shape: Sequence[int], r: np.ndarray, layout: int) -> Cost:
    """Of one direction the values, slopes and gradients of the gates and their products, the inputs
    and indices of all steps; the weights and their gradients. About 30 calls a step."""
    item, (directions, width, hidden), features = r.itemsize, r.shape, x_shape[2]
    steps, batch = x_shape[1::-1] if layout else x_shape[:2]
    rows = steps * batch
    weights = directions * width * (features + hidden + 4)
    memory = item * (rows * (7 * width + 10 * hidden + 4 * features) + 3 * weights)
    memory += 80 * rows + 4 * item * directions * batch * (2 * width + hidden)
    macs = 2 * rows * weights
    called = multiply_adds(macs, r.dtype) + directions * steps * 30 * PER_CALL
    return Cost(memory, called + PER_ELEMENT * 10 * directions * rows * width)
