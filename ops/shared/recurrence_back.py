"""The way back through the loop of RNN, LSTM and GRU.

The gradients of the gates are computed step by step, from the last to the first; those of the
weights and of the inputs are products over all steps at once.

What a forward keeps for that lies in the order in which a direction takes the steps, (T, D, N, …):
step s of the reverse direction is the one that starts at the end. The longest sequences come first
(``by_length``), so that those that haven't ended are the first rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.shared.cost import PER_CALL, multiply_adds
from onnxwalk.ops.shared.recurrence import Direction, Watch
from onnxwalk.ops.shared.sums import sum_over

#: back(s, n, *dstates) -> the gradient of what the inputs contribute to the gates of step s
#: (n, gates * H), that of what the state before contributes, and those of the states before (n, H),
#: from those of the states after it, of the first n sequences
StepBack: TypeAlias = Callable[..., "tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]"]


def by_length(lengths: np.ndarray) -> np.ndarray:
    """The sequences, the longest first."""
    return np.argsort(-lengths.astype(np.intp), kind="stable")


def keep_steps(
    shape: Sequence[int],
    reversals: Sequence[bool],
    lengths: np.ndarray,
    dtype: Any,
    pick: Callable[[int, Mapping[str, np.ndarray]], Sequence[np.ndarray]],
    widths: Sequence[int],
) -> tuple[list[np.ndarray], Watch]:
    """Arrays (T, D, N, width), and a ``Watch`` that fills them with what ``pick`` chooses of the
    values of each step of a direction; zeros where a sequence has ended. ``shape`` is (T, N)."""
    steps, batch = shape
    arrays = [np.zeros((steps, len(reversals), batch, width), dtype) for width in widths]
    ranks = np.argsort(by_length(lengths))

    def watch(
        d: int, times: np.ndarray, sequences: np.ndarray, values: Mapping[str, np.ndarray]
    ) -> None:
        own = lengths[sequences] - 1 - times if reversals[d] else times
        for array, found in zip(arrays, pick(d, values), strict=True):
            array[own, d, ranks[sequences]] = found

    return arrays, watch


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


def steps_back(
    back: StepBack,
    lengths: np.ndarray,
    rows: Rows,
    dy: np.ndarray | None,
    *finals: np.ndarray | None,
    like: np.ndarray,
    width: int,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Go back through the steps of one direction.

    ``dy`` (T, N, H) and ``finals`` (N, H) are the gradients of the outputs and of the last states;
    ``like`` has the shape (T, N, H) and the dtype of the states, ``width`` is that of the
    gates. Returns what ``back`` finds, a row for each of ``rows``, and the gradients of the first
    states (N, H).
    """
    steps, batch, hidden = like.shape
    order = by_length(lengths)
    dstates = [np.zeros((batch, hidden), like.dtype) for _ in finals]
    for dstate, final in zip(dstates, finals, strict=True):
        if final is not None:
            dstate[...] = final[order]
    by_input, by_state = (np.empty((len(rows.steps), width), like.dtype) for _ in range(2))
    ends = np.searchsorted(rows.steps, np.arange(steps), "right")
    for s in reversed(range(steps)):
        here = slice(ends[s - 1] if s else 0, ends[s])
        n = here.stop - here.start
        running = [dstate[:n] for dstate in dstates]
        if dy is not None:
            running[0] += dy[rows.times[here], rows.sequences[here]]
        by_input[here], by_state[here], before = back(s, n, *running)
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
    #: the states before each step (T, N, H), h first
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
    dy: np.ndarray | None,
    finals: Sequence[np.ndarray | None],
    initial: Sequence[np.ndarray | None],
    kept: Sequence[np.ndarray],
) -> LayerBack:
    """Go back through all directions of a layer.

    ``make_back(d, *before)`` makes the step back of direction d, from the states (T, N, H) before
    each step. ``dy`` and ``finals`` are the gradients of the outputs, ``initial`` the first states,
    ``kept`` (T, D, N, H) the states after each step. Without ``x`` there is no gradient of w,
    without ``w`` none of x.
    """
    steps, _, batch, hidden = kept[0].shape
    if layout:
        x, dy = (None if v is None else v.swapaxes(0, 1) for v in (x, dy))
        dy = None if dy is None else dy.swapaxes(1, 2)
        finals, initial = (
            [None if v is None else v.swapaxes(0, 1) for v in states]
            for states in (finals, initial)
        )
    if lengths is None:
        lengths = np.full(batch, steps)
    order, dtype = by_length(lengths), kept[0].dtype
    dx = None if w is None else np.zeros((steps, batch, w.shape[2]), dtype)
    dw, dr, db, details = [], [], [], []
    d_initial = [np.zeros((len(ways), batch, hidden), dtype) for _ in kept]
    for d, way in enumerate(ways):
        rows = Rows.of(steps, lengths, way.reverse)
        before = []
        for state, after in zip(initial, kept, strict=True):
            first = np.zeros((batch, hidden), dtype) if state is None else state[d, order]
            before.append(np.concatenate([first[None], after[:-1, d]])[:steps])
        by_input, by_state, dstates = steps_back(
            make_back(d, *before),
            lengths,
            rows,
            None if dy is None else dy[:, d],
            *(None if final is None else final[d] for final in finals),
            like=before[0],
            width=way.r.shape[1],
        )
        if dx is not None and w is not None:
            dx[rows.times, rows.sequences] += by_input @ w[d]
        if x is not None:
            dw.append(by_input.T @ x[rows.times, rows.sequences])
        dr.append(by_state.T @ before[0][rows.steps, rows.ranks])
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


def cost_of_recurrence_back(
    x: np.ndarray | None, w: np.ndarray | None, r: np.ndarray, gates: tuple[int, ...]
) -> Cost:
    """Of one direction the values, slopes and gradients of the gates and their products, the inputs
    and indices of all steps; the weights and their gradients. About 30 calls a step."""
    item = r.itemsize
    steps, directions, batch, width = gates
    features = 0 if x is None and w is None else (x if w is None else w).shape[2]  # type: ignore[union-attr]
    rows, hidden = steps * batch, r.shape[2]
    weights = directions * width * (features + hidden + 4)
    memory = item * (rows * (7 * width + 10 * hidden + 4 * features) + 3 * weights)
    memory += 40 * rows + item * batch * (8 * width + 4 * directions * hidden)
    macs = 2 * rows * weights
    called = multiply_adds(macs, r.dtype) + directions * steps * 30 * PER_CALL
    return Cost(memory, called + PER_ELEMENT * 10 * directions * rows * width)
