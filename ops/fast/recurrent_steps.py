"""The steps of RNN, LSTM and GRU, and their weights in the layout that the steps use.

There are steps for any number of sequences, and for one sequence in one direction
(``SingleSequence``), where the overhead of the calls dominates. There the halves in the sigmoids
are not applied one by one: with t = tanh(v / 2), sigmoid(v)·u is (u + t·u) / 2, and such sums are
products of (1/2, 1/2 …) with consecutive rows of memory: one call, and the state of each step is
written to the rows of the next. GRU of 32 units: from 12 calls a step to 10, and from 376 to 277 µs
for 100 steps; LSTM: from 10 to 8, and from 280 to 252 µs.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.fast.calls import clip, scalar, tanh_is_quick

#: step(projected): one time step, which updates the states in place; ``projected`` (flat) are the
#: projections of the inputs
Step = Callable[[np.ndarray], None]
#: product(rows, chosen): a call without arguments that writes rows R' of some gates
Product = Callable[..., Callable[[], Any]]


@dataclass(frozen=True)
class Cell:
    """One kind of layer, with its weights in the layout that ``make_step`` uses."""

    w_x: np.ndarray  # (D, I, gates * H)
    w_h: np.ndarray  # (gates, D, H, H)
    bias: np.ndarray  # (D, gates * H), of the projections
    #: make_step(product, gates, states, exact=False): the step for the sequences in ``states``
    #: (flat); ``product`` writes to ``gates`` (flat)
    make_step: Callable[..., Step]
    reversals: Sequence[bool]
    states: int  # how many, h included
    #: make_single(w_h, states): a faster loop for one sequence in one direction
    make_single: Callable[..., SingleSequence] | None = None
    #: rounded(x, y): what is done to inputs, and to h of each direction, before they are multiplied
    rounded: Callable[[np.ndarray, np.ndarray], None] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(gates, directions, H)"""
        gates, directions, hidden, _ = self.w_h.shape
        return gates, directions, hidden


# ------------------------------------------------------------------------ any number of sequences


def rnn_step(
    product: Product, gates: np.ndarray, states: Sequence[np.ndarray], relu: bool = False
) -> Step:
    """h = f(projected + h R'), where f is tanh, or max(0, v)"""
    (h,) = states
    recur, add = product(h), np.add
    activate = functools.partial(np.tanh, gates, h)
    if relu:
        activate = functools.partial(clip, gates, scalar(0, h.dtype), scalar(math.inf, h.dtype), h)

    def step(projected):
        recur()
        add(gates, projected, gates)
        activate()

    return step


def lstm_step(
    product: Product, gates: np.ndarray, states: Sequence[np.ndarray], exact: bool = False
) -> Step:
    """Gates g, f, i, o, of which f, i, o are halved (see ``_sigmoid_of_halved``)."""
    h, c = states
    g, f, i, o = np.split(gates, 4)
    activate = _sigmoid_of_halved(gates[c.size :], gates, g, exact)
    recur, add, multiply, tanh = product(h), np.add, np.multiply, np.tanh

    def step(projected):
        recur()
        add(gates, projected, gates)
        activate()
        multiply(c, f, c)
        multiply(g, i, g)
        add(c, g, c)
        tanh(c, g)
        multiply(o, g, h)

    return step


def gru_step(
    product: Product,
    gates: np.ndarray,
    states: Sequence[np.ndarray],
    b_n: np.ndarray | None = None,
    reset_before: bool = False,
    exact: bool = False,
) -> Step:
    """Gates z, r (halved) and n; r is applied to the recurrent product (linear_before_reset), with
    its bias b_n (directions * H), or to the state before the product.
    """
    (h,) = states
    size = h.size
    zr, z, r, n = gates[: 2 * size], gates[:size], gates[size : 2 * size], gates[2 * size :]
    activate = _sigmoid_of_halved(zr, exact=exact)
    recur = product(h, slice(0, 2)) if reset_before else product(h)
    recur_n = product(r, slice(2, 3)) if reset_before else None
    if b_n is not None:
        b_n = np.tile(b_n, size // b_n.size)
    add, multiply, subtract, tanh = np.add, np.multiply, np.subtract, np.tanh

    def step(projected):
        recur()
        add(zr, projected[: 2 * size], zr)
        activate()
        if recur_n is not None:
            multiply(r, h, r)
            recur_n()
        else:
            if b_n is not None:
                add(n, b_n, n)
            multiply(r, n, n)
        add(n, projected[2 * size :], n)
        tanh(n, n)
        subtract(h, n, h)  # (1 - z) * n + z * h = n + z * (h - n)
        multiply(h, z, h)
        add(h, n, h)

    return step


#: elements from which on the overhead of the calls is small
_LARGE = 1024


def _sigmoid_of_halved(
    halved: np.ndarray,
    tanh_too: np.ndarray | None = None,
    tanh_part: np.ndarray | None = None,
    exact: bool = False,
) -> Callable[[], None]:
    """sigmoid(2 v) in place, and tanh of ``tanh_part``, which is next to it in memory (``tanh_too``
    is both).

    Few elements: tanh(v) / 2 + 1/2, with one call of tanh for all. Many: 1 / (1 + exp(-2 v)), where
    exp takes half of tanh's time; and if it is to be ``exact`` relative to itself.
    """
    half, one, minus_two = (scalar(value, halved.dtype) for value in (0.5, 1, -2))
    both = halved if tanh_too is None else tanh_too
    add, exp, multiply, reciprocal, tanh = np.add, np.exp, np.multiply, np.reciprocal, np.tanh

    def by_tanh() -> None:
        tanh(both, both)
        multiply(halved, half, halved)
        add(halved, half, halved)

    def by_exp() -> None:
        multiply(halved, minus_two, halved)
        exp(halved, halved)
        add(halved, one, halved)
        reciprocal(halved, halved)
        if tanh_part is not None:
            tanh(tanh_part, tanh_part)

    is_quick = tanh_is_quick or halved.size < _LARGE
    return by_tanh if is_quick and not exact else by_exp


# ------------------------------------------------------------------ one sequence in one direction


class SingleSequence(NamedTuple):
    """``run(projections, history)`` runs a step for each of ``projections`` and updates the state;
    it writes each h to ``history`` (steps, H), unless ``None``. ``parts`` splits the projections of
    a step into the step's argument."""

    run: Callable[[Sequence[Any], np.ndarray | None], None]
    parts: Callable[[np.ndarray], Any]


def single_lstm(w_h: np.ndarray, states: Sequence[np.ndarray]) -> SingleSequence:
    """Weights (4, 1, H, H) of the gates g, f, i, o, the last three halved; h and c (H) each.

    c' = (c + f·c + g + i·g) / 2, h = (tanh(c') + o·tanh(c')) / 2
    """
    h, c = states
    size = h.size
    weights = np.concatenate(list(w_h[:, 0]), -1)
    now, then = np.zeros((2, 5, size), h.dtype)  # rows c, g, f, i, o
    outputs = np.empty((2, size), h.dtype)  # rows tanh(c), o·tanh(c)
    recur, quarter, half = h.dot, _halves(4, h.dtype), _halves(2, h.dtype)
    add, multiply, tanh = np.add, np.multiply, np.tanh

    def step_from(rows: np.ndarray, c_next: np.ndarray) -> Callable[[np.ndarray], Any]:
        gates, o = rows[1:].reshape(-1), rows[4]
        cell, forget = rows[:2].reshape(-1), rows[2:4].reshape(-1)
        summed, (activated, gated) = rows[:4], outputs

        def step(projected: np.ndarray) -> None:
            recur(weights, gates)
            add(gates, projected, gates)
            tanh(gates, gates)
            multiply(forget, cell, forget)
            quarter(summed, c_next)
            tanh(c_next, activated)
            multiply(o, activated, gated)
            half(outputs, h)

        return step

    steps = [step_from(now, then[0]), step_from(then, now[0])]
    return SingleSequence(
        _alternate(steps, [(c, now[0], then[0])], [h, h]), lambda projected: projected
    )


def single_gru(
    w_h: np.ndarray, states: Sequence[np.ndarray], b_n: np.ndarray | None
) -> SingleSequence:
    """Weights (3, 1, H, H) of the gates z, r (halved) and n; h (H); r is applied to the recurrent
    product for n, with its bias b_n (H) or ``None``.

    n = tanh(projected + (m + r·m) / 2), h' = (h + n + z·(h - n)) / 2
    """
    (h,) = states
    size = h.size
    scale = np.repeat(np.array([1, 1, 0.5], h.dtype), size)  # m is halved
    weights = np.concatenate(list(w_h[:, 0]), -1) * scale
    if b_n is not None:  # multiplied by a 1 in front of h
        bias = np.concatenate([np.zeros(2 * size, h.dtype), b_n]) * scale
        weights = np.concatenate([bias[None], weights])
    gates = np.empty(4 * size, h.dtype)
    recurrent, zr, z, r = gates[: 3 * size], gates[: 2 * size], gates[:size], gates[size : 2 * size]
    m, x = gates[2 * size : 3 * size], gates[3 * size :]
    front = 16  # elements, so that h is aligned
    memory = np.ones((2, front + 3 * size), h.dtype)
    now, then = memory[:, front:].reshape(2, 3, size)  # rows h, n, z·(h - n)
    third = _halves(3, h.dtype)
    add, multiply, subtract, tanh = np.add, np.multiply, np.subtract, np.tanh

    def step_from(
        line: np.ndarray, rows: np.ndarray, h_next: np.ndarray
    ) -> Callable[[tuple[np.ndarray, np.ndarray]], Any]:
        before, n, moved = rows
        recur = line[front - (b_n is not None) : front + size].dot

        def step(projected: tuple[np.ndarray, np.ndarray]) -> None:
            to_zr, to_n = projected
            recur(weights, recurrent)
            add(zr, to_zr, zr)
            tanh(zr, zr)
            multiply(r, m, x)
            add(x, m, x)
            add(x, to_n, x)
            tanh(x, n)
            subtract(before, n, moved)
            multiply(z, moved, moved)
            third(rows, h_next)

        return step

    steps = [step_from(memory[0], now, then[0]), step_from(memory[1], then, now[0])]
    run = _alternate(steps, [(h, now[0], then[0])], [then[0], now[0]])
    return SingleSequence(run, lambda projected: (projected[: 2 * size], projected[2 * size :]))


def _halves(rows: int, dtype: np.dtype) -> Callable[..., Any]:
    """halves(matrix, out): half of the sum of the rows"""
    return np.full(rows, 0.5, dtype).dot


def _alternate(
    steps: Sequence[Callable[..., Any]],
    states: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    hidden: Sequence[np.ndarray],
) -> Callable[[Sequence[Any], np.ndarray | None], None]:
    """The loop over two alternating steps: each reads the state where the other wrote it.
    ``states``: each state, and its memory after an even and an odd number of steps; ``hidden``: the
    memory of h after the first and the second step."""

    def run(projections: Sequence[Any], history: np.ndarray | None) -> None:
        for state, place, _ in states:
            np.copyto(place, state)
        turns = itertools.cycle(zip(steps, hidden, strict=True))
        if history is None:
            for (step, _), projected in zip(turns, projections, strict=False):
                step(projected)
        else:
            for (step, h), projected, out in zip(turns, projections, history, strict=False):
                step(projected)
                np.copyto(out, h)
        for state, *places in states:
            np.copyto(state, places[len(projections) % 2])

    return run


# ------------------------------------------------------------------------- layout of the weights


def rnn_cell(
    w: np.ndarray, r: np.ndarray, b: np.ndarray | None, reversals: Sequence[bool], relu: bool
) -> Cell:
    w_x, w_h, b_x, b_h = _arrange_weights(w, r, b, {0: 1})
    return Cell(w_x, w_h, b_x + b_h, functools.partial(rnn_step, relu=relu), reversals, 1)


def lstm_cell(
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    reversals: Sequence[bool],
    rounded: Callable[[np.ndarray, np.ndarray], None] | None = None,
) -> Cell:
    """Gates from the order i, o, f, c to g, f, i, o, the last three halved."""
    w_x, w_h, b_x, b_h = _arrange_weights(w, r, b, {3: 1, 2: 0.5, 0: 0.5, 1: 0.5})
    single = single_lstm if rounded is None else None
    return Cell(w_x, w_h, b_x + b_h, lstm_step, reversals, 2, single, rounded)


def gru_cell(
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    reversals: Sequence[bool],
    linear_before_reset: bool,
) -> Cell:
    """Gates in the order z, r, n, the first two halved."""
    w_x, w_h, b_x, b_h = _arrange_weights(w, r, b, {0: 0.5, 1: 0.5, 2: 1})
    if not linear_before_reset:
        make_step = functools.partial(gru_step, reset_before=True)
        return Cell(w_x, w_h, b_x + b_h, make_step, reversals, 1)
    zr = slice(0, 2 * w_h.shape[-1])
    b_n = b_h[:, zr.stop :].reshape(-1) if b_h.any() else None
    b_x[:, zr] += b_h[:, zr]
    make_step = functools.partial(gru_step, b_n=b_n)
    return Cell(w_x, w_h, b_x, make_step, reversals, 1, functools.partial(single_gru, b_n=b_n))


def _arrange_weights(
    w: np.ndarray, r: np.ndarray, b: np.ndarray | None, gates: Mapping[int, float]
) -> tuple[np.ndarray, ...]:
    """W' (D, I, gates * H), R' (gates, D, H, H), Wb and Rb (D, gates * H), with the gates in the
    order of ``gates``, each multiplied by its factor."""
    biases = np.zeros((len(w), 2 * w.shape[1]), w.dtype) if b is None else b
    parts = []
    for part in (w.swapaxes(1, 2), r.swapaxes(1, 2), *np.split(biases, 2, 1)):
        of_gates = np.split(part, len(gates), -1)
        parts.append([of_gates[gate] * factor for gate, factor in gates.items()])
    w_x, b_x, b_h = (np.ascontiguousarray(np.concatenate(parts[i], -1)) for i in (0, 2, 3))
    return w_x, np.ascontiguousarray(np.stack(parts[1])), b_x, b_h
