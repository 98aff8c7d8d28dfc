"""The steps of RNN, LSTM and GRU for one sequence in one direction.

There the overhead of the calls dominates, so there are as few as possible, and what they read and
write is looked up before the first run: the product of each step is the method of the row of memory
where the step before left its state, and each state stays in its row, where y is read from.

The halves in the sigmoids are not applied one by one: with t = tanh(v / 2), sigmoid(v)·u is
(u + t·u) / 2, and such sums are products of (1/2, 1/2 …) with consecutive rows of memory: one call.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from onnxwalk.ops.fast.calls import clip, scalar
from onnxwalk.ops.shared.products import times

#: scratch(shape, dtype): memory that nothing else uses during a run
Scratch: TypeAlias = Callable[[tuple[int, ...], np.dtype], np.ndarray]


class SingleSequence(NamedTuple):
    """``begin()`` takes the state over, ``run(projections, first)`` runs a step for each of
    ``projections``, of which the first is step ``first``, and ``end(steps)`` gives the state after
    so many steps back. ``history`` (steps, H) is h after each step; ``parts`` splits the
    projections of a step into the step's argument."""

    begin: Callable[[], None]
    run: Callable[[Sequence[Any], int], None]
    end: Callable[[int], None]
    history: np.ndarray
    parts: Callable[[np.ndarray], Any] = lambda projected: projected


def rnn_activation(relu: bool, dtype: np.dtype) -> Callable[[np.ndarray, np.ndarray], Any]:
    """activation(values, out): tanh, or max(0, v)"""
    if not relu:
        return np.tanh
    zero, most = scalar(0, dtype), scalar(math.inf, dtype)
    return lambda values, out: clip(values, zero, most, out)


def single_rnn(
    w_h: np.ndarray, states: Sequence[np.ndarray], steps: int, scratch: Scratch, relu: bool = False
) -> SingleSequence:
    """Weights (1, 1, H, H); h (H). h' = f(projected + h R'): three calls a step."""
    (h,) = states
    weights, gates = w_h[0, 0], np.empty_like(h)
    rows = scratch((steps + 1, h.size), h.dtype)
    of_row = times(weights)
    places = [(of_row(row), after) for row, after in itertools.pairwise(rows)]
    add, activate = np.add, rnn_activation(relu, h.dtype)

    def run(projections: Sequence[np.ndarray], first: int) -> None:
        now = itertools.islice(places, first, None)
        for projected, (recur, after) in zip(projections, now, strict=False):
            recur(weights, gates)
            add(gates, projected, gates)
            activate(gates, after)

    def end(count: int) -> None:
        h[...] = rows[count]

    return SingleSequence(functools.partial(np.copyto, rows[0], h), run, end, rows[1:])


def single_lstm(
    w_h: np.ndarray, states: Sequence[np.ndarray], steps: int, scratch: Scratch
) -> SingleSequence:
    """Weights (4, 1, H, H) of the gates g, f, i, o, the last three halved; h and c (H) each.

    c' = (c + f·c + g + i·g) / 2, h = (tanh(c') + o·tanh(c')) / 2: eight calls a step
    """
    h, c = states
    size = h.size
    weights = np.concatenate(list(w_h[:, 0]), -1)
    rows = scratch((steps + 1, size), h.dtype)
    turns = np.zeros((2, 5, size), h.dtype)  # rows c, g, f, i, o, in even and in odd steps
    outputs = np.empty((2, size), h.dtype)  # rows tanh(c), o·tanh(c)
    activated, gated = outputs
    quarter, half = _halves(4, h.dtype), _halves(2, h.dtype)
    add, multiply, tanh = np.add, np.multiply, np.tanh

    def of_turn(now: np.ndarray, then: np.ndarray) -> tuple[np.ndarray, ...]:
        """gates, o, c and g, f and i, c g f i, the next c"""
        flat = now.reshape(-1)
        return flat[size:], now[4], flat[: 2 * size], flat[2 * size : 4 * size], now[:4], then[0]

    parts = [of_turn(*turns), of_turn(*turns[::-1])]
    of_row = times(weights)
    places = [
        (of_row(row), after, *part)
        for (row, after), part in zip(
            itertools.pairwise(rows), itertools.cycle(parts), strict=False
        )
    ]

    def begin() -> None:
        rows[0], turns[0, 0] = h, c

    def run(projections: Sequence[np.ndarray], first: int) -> None:
        now = itertools.islice(places, first, None)
        for projected, place in zip(projections, now, strict=False):
            recur, after, gates, o, cell, forget, summed, c_next = place
            recur(weights, gates)
            add(gates, projected, gates)
            tanh(gates, gates)
            multiply(forget, cell, forget)
            quarter(summed, c_next)
            tanh(c_next, activated)
            multiply(o, activated, gated)
            half(outputs, after)

    def end(count: int) -> None:
        h[...], c[...] = rows[count], turns[count % 2, 0]

    return SingleSequence(begin, run, end, rows[1:])


def single_gru(
    w_h: np.ndarray,
    states: Sequence[np.ndarray],
    steps: int,
    scratch: Scratch,
    b_n: np.ndarray | None,
) -> SingleSequence:
    """Weights (3, 1, H, H) of the gates z, r (halved) and n; h (H); r is applied to the recurrent
    product for n, with its bias b_n (H) or ``None``.

    n = tanh(projected + (m + r·m) / 2), h' = (h + n + z·(h - n)) / 2: ten calls a step
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
    lines = scratch((steps + 1, front + 3 * size), h.dtype)
    of_row = times(weights)
    rows = lines[:, front:].reshape(steps + 1, 3, size)  # h, n, z·(h - n) of each step
    places = [
        (of_row(line[front - (b_n is not None) : front + size]), *row, row, after[0])
        for line, (row, after) in zip(lines, itertools.pairwise(rows), strict=False)
    ]
    third = _halves(3, h.dtype)
    add, multiply, subtract, tanh = np.add, np.multiply, np.subtract, np.tanh

    def run(projections: Sequence[tuple[np.ndarray, np.ndarray]], first: int) -> None:
        now = itertools.islice(places, first, None)
        for (to_zr, to_n), place in zip(projections, now, strict=False):
            recur, before, n, moved, summed, after = place
            recur(weights, recurrent)
            add(zr, to_zr, zr)
            tanh(zr, zr)
            multiply(r, m, x)
            add(x, m, x)
            add(x, to_n, x)
            tanh(x, n)
            subtract(before, n, moved)
            multiply(z, moved, moved)
            third(summed, after)

    def end(count: int) -> None:
        h[...] = rows[count, 0]

    def parts(projected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return projected[: 2 * size], projected[2 * size :]

    def begin() -> None:
        lines[:, front - 1] = 1  # the memory is others' between runs
        rows[0, 0] = h

    return SingleSequence(begin, run, end, rows[1:, 0], parts)


def _halves(rows: int, dtype: np.dtype) -> Callable[..., Any]:
    """halves(matrix, out): half of the sum of the rows"""
    return np.full(rows, 0.5, dtype).dot
