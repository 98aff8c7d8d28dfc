"""The steps of RNN, LSTM and GRU for one sequence, in one direction or two.

There the overhead of the calls dominates, so there are as few as possible, and what they read and
write is looked up before the first run: the product of each step is the method of the row of memory
where the step before left its state, and each state stays in its row, where y is read from. Two
directions are one layer of twice the units, but for the product: gates lie gate by gate.

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
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.products import times

#: scratch(shape, dtype): memory that nothing else uses during a run
Scratch: TypeAlias = Callable[[tuple[int, ...], np.dtype], np.ndarray]

#: units up to which a product that is up to twice as large takes less than one more call
_FEW_UNITS = 64


class SingleSequence(NamedTuple):
    """``begin()`` takes the state over, ``run(projections, first)`` runs a step for each of
    ``projections``, of which the first is step ``first``, and ``end(steps)`` gives the state after
    so many steps back. ``history`` (steps, D·H) is h after each step; ``parts`` splits the
    projections of a step into the step's argument; ``None``: they stay rows of one array."""

    begin: Callable[[], None]
    run: Callable[[Any, int], None]
    end: Callable[[int], None]
    history: np.ndarray
    parts: Callable[[np.ndarray], Any] | None = lambda projected: projected


class _Product(NamedTuple):
    """``of_row(h)(weights, out)`` writes the products of the gates, gate by gate, to ``out``, which
    is ``memory(flat)``."""

    weights: np.ndarray
    of_row: Callable[[np.ndarray], Callable[..., Any]]
    memory: Callable[[np.ndarray], np.ndarray]


def _product(w_h: np.ndarray) -> _Product:
    """Of h (D·H) with weights (gates, D, H, H)."""
    gates, directions, hidden, _ = w_h.shape
    wide = [np.concatenate(list(w_h[:, d]), -1) for d in range(directions)]
    if directions == 1:
        return _Product(wide[0], times(wide[0]), lambda flat: flat)
    if gates == 1:
        return _Product(
            w_h[0],
            lambda h: functools.partial(np.matmul, h.reshape(2, 1, hidden)),
            lambda flat: flat.reshape(2, 1, hidden),
        )
    (w, w_back), copyto = wide, np.copyto
    results = np.empty((2, gates, hidden), w_h.dtype)
    (into, into_back), by_gate = results.reshape(2, -1), results.swapaxes(0, 1)

    def of_row(h: np.ndarray) -> Callable[..., None]:
        recur, recur_back = h[:hidden].dot, h[hidden:].dot

        def both(_: np.ndarray, out: np.ndarray) -> None:  # matmul takes up to a third more
            recur(w, into)
            recur_back(w_back, into_back)
            copyto(out, by_gate)

        return both

    return _Product(w_h, of_row, lambda flat: flat.reshape(gates, 2, hidden))


def can_be_single(directions: int) -> bool:
    """Whether these steps are the fastest ones: without BLAS not those of two directions."""
    return directions == 1 or (directions == 2 and products.has_blas)


# -------------------------------------------------------------------------------------------- RNN


def rnn_activation(relu: bool, dtype: np.dtype) -> Callable[[np.ndarray, np.ndarray], Any]:
    """activation(values, out): tanh, or max(0, v)"""
    if not relu:
        return np.tanh
    zero, most = scalar(0, dtype), scalar(math.inf, dtype)
    return lambda values, out: clip(values, zero, most, out)


def single_rnn(
    w_h: np.ndarray, states: Sequence[np.ndarray], steps: int, scratch: Scratch, relu: bool = False
) -> SingleSequence:
    """Weights (1, D, H, H); h (D·H). h' = f(projected + h R'): three calls a step."""
    if w_h.shape[-1] <= _FEW_UNITS and products.has_blas:
        return _single_rnn_of_few(w_h, states, steps, scratch, relu)
    (h,) = states
    product, gates = _product(w_h), np.empty_like(h)
    weights, into = product.weights, product.memory(gates)
    rows = scratch((steps + 1, h.size), h.dtype)
    places = [(product.of_row(row), after) for row, after in itertools.pairwise(rows)]
    add, activate = np.add, rnn_activation(relu, h.dtype)

    def run(projections: Sequence[np.ndarray], first: int) -> None:
        now = itertools.islice(places, first, None)
        for projected, (recur, after) in zip(projections, now, strict=False):
            recur(weights, into)
            add(gates, projected, gates)
            activate(gates, after)

    def end(count: int) -> None:
        h[...] = rows[count]

    return SingleSequence(functools.partial(np.copyto, rows[0], h), run, end, rows[1:])


def _single_rnn_of_few(
    w_h: np.ndarray, states: Sequence[np.ndarray], steps: int, scratch: Scratch, relu: bool
) -> SingleSequence:
    """Each direction's product adds its projections up, too: (projected, h) times (1; R'), with
    ones on the diagonal. Two calls a step for one direction, and three for two, of which the rows
    are (projected, h) and (h, projected), so that both h lie side by side."""
    (h,) = states
    _, directions, hidden, _ = w_h.shape
    ones = np.eye(hidden, dtype=h.dtype)
    weights = [
        np.concatenate([ones, w_h[0, 0]]),
        *(np.concatenate([w, ones]) for w in w_h[0, 1:]),
    ]
    rows = scratch((steps + 1, 2 * directions * hidden), h.dtype)
    projected_in = rows[:, :hidden], rows[:, 3 * hidden :]
    history = rows[:, hidden : hidden + h.size]
    gates = np.empty_like(h)
    halves = [gates[d * hidden : (d + 1) * hidden] for d in range(directions)]
    multiply = [
        [row[2 * d * hidden : 2 * (d + 1) * hidden].dot for d in range(directions)] for row in rows
    ]
    places = list(zip(multiply, history[1:], strict=False))
    activate = rnn_activation(relu, h.dtype)

    def run(projections: np.ndarray, first: int) -> None:
        last = first + len(projections)
        if not np.logical_and.reduce(np.isfinite(projections), None):
            run_apart(projections, first)
            return
        for d in range(directions):
            columns = slice(d * hidden, (d + 1) * hidden)
            np.copyto(projected_in[d][first:last], projections[:, columns])
        if directions == 1:
            ((w,), now) = weights, places[first:last]
            for (recur,), after in now:
                recur(w, gates)
                activate(gates, after)
            return
        (w, w_back), (forward, back) = weights, halves
        for (recur, recur_back), after in places[first:last]:
            recur(w, forward)
            recur_back(w_back, back)
            activate(gates, after)

    def run_apart(projections: np.ndarray, first: int) -> None:
        """Where infinities times the zeros beside the diagonal would be NaN."""
        for projected, before, after in zip(
            projections, history[first:], history[first + 1 :], strict=False
        ):
            recurrent = np.matmul(before.reshape(directions, 1, hidden), w_h[0])
            activate(recurrent.reshape(-1) + projected, after)

    def end(count: int) -> None:
        h[...] = history[count]

    begin = functools.partial(np.copyto, history[0], h)
    return SingleSequence(begin, run, end, history[1:], None)


# ------------------------------------------------------------------------------------------- LSTM


def single_lstm(
    w_h: np.ndarray, states: Sequence[np.ndarray], steps: int, scratch: Scratch
) -> SingleSequence:
    """Weights (4, D, H, H) of the gates g, f, i, o, the last three halved; h and c (D·H) each.

    c' = (c + f·c + g + i·g) / 2, h = (tanh(c') + o·tanh(c')) / 2: eight calls a step
    """
    h, c = states
    size = h.size
    product = _product(w_h)
    weights = product.weights
    rows = scratch((steps + 1, size), h.dtype)
    turns = np.zeros((2, 5, size), h.dtype)  # rows c, g, f, i, o, in even and in odd steps
    outputs = np.empty((2, size), h.dtype)  # rows tanh(c), o·tanh(c)
    activated, gated = outputs
    quarter, half = _halves(4, h.dtype), _halves(2, h.dtype)
    add, multiply, tanh = np.add, np.multiply, np.tanh

    def of_turn(now: np.ndarray, then: np.ndarray) -> tuple[np.ndarray, ...]:
        """gates as they are multiplied and in a row, o, c and g, f and i, c g f i, the next c"""
        flat = now.reshape(-1)
        gates = flat[size:]
        pairs = flat[: 2 * size], flat[2 * size : 4 * size]
        return product.memory(gates), gates, now[4], *pairs, now[:4], then[0]

    parts = [of_turn(*turns), of_turn(*turns[::-1])]
    places = [
        (product.of_row(row), after, *part)
        for (row, after), part in zip(
            itertools.pairwise(rows), itertools.cycle(parts), strict=False
        )
    ]

    def begin() -> None:
        rows[0], turns[0, 0] = h, c

    def run(projections: Sequence[np.ndarray], first: int) -> None:
        now = itertools.islice(places, first, None)
        for projected, place in zip(projections, now, strict=False):
            recur, after, into, gates, o, cell, forget, summed, c_next = place
            recur(weights, into)
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


# -------------------------------------------------------------------------------------------- GRU


def single_gru(
    w_h: np.ndarray,
    states: Sequence[np.ndarray],
    steps: int,
    scratch: Scratch,
    b_n: np.ndarray | None,
) -> SingleSequence:
    """Weights (3, D, H, H) of the gates z, r (halved) and n; h (D·H); r is applied to the recurrent
    product m for n, with its bias b_n (D·H) or ``None``.

    n = tanh(projected + (m + r·m) / 2), h' = (h + n + z·(h - n)) / 2: ten calls a step, or nine
    where m, which is halved, is computed twice: once to be added to the projection with z and r.
    """
    (h,) = states
    size = h.size
    _, directions, hidden, _ = w_h.shape
    w_h = w_h * np.array([1, 1, 0.5], h.dtype).reshape(3, 1, 1, 1)
    is_double = directions == 1 and hidden <= _FEW_UNITS
    product = _product(w_h[[0, 1, 2, 2]] if is_double else w_h)
    weights, of_row = product.weights, product.of_row
    halved = None if b_n is None else b_n * h.dtype.type(0.5)
    in_front = halved is not None and directions == 1
    if in_front:  # the bias is multiplied by a 1 in front of h
        assert halved is not None
        zeros = np.zeros(2 * size, h.dtype)
        bias = np.concatenate([zeros, halved, *([halved] * is_double)])
        weights = np.concatenate([bias[None], weights])
        of_row = times(weights)
    bias_apart = None if in_front else halved
    count = 4 if is_double else 3
    gates = np.empty((count + 1) * size, h.dtype)
    into, zr, z, r = (
        product.memory(gates[: count * size]),
        gates[: 2 * size],
        gates[:size],
        gates[size : 2 * size],
    )
    zrn, n_and_m = gates[: 3 * size], gates[2 * size : 3 * size]
    m, x = gates[(count - 1) * size : count * size], gates[count * size :]
    front = 16  # elements, so that h is aligned
    lines = scratch((steps + 1, front + 3 * size), h.dtype)
    rows = lines[:, front:].reshape(steps + 1, 3, size)  # h, n, z·(h - n) of each step
    places = [
        (of_row(line[front - in_front : front + size]), *row, row, after[0])
        for line, (row, after) in zip(lines, itertools.pairwise(rows), strict=False)
    ]
    third = _halves(3, h.dtype)
    add, multiply, subtract, tanh = np.add, np.multiply, np.subtract, np.tanh

    def run(projections: Sequence[tuple[np.ndarray, np.ndarray]], first: int) -> None:
        now = itertools.islice(places, first, None)
        for (to_zr, to_n), place in zip(projections, now, strict=False):
            recur, before, n, moved, summed, after = place
            recur(weights, into)
            if bias_apart is not None:
                add(m, bias_apart, m)
            add(zr, to_zr, zr)
            tanh(zr, zr)
            multiply(r, m, x)
            add(x, m, x)
            add(x, to_n, x)
            tanh(x, n)
            subtract(before, n, moved)
            multiply(z, moved, moved)
            third(summed, after)

    def run_double(projections: Sequence[np.ndarray], first: int) -> None:
        now = itertools.islice(places, first, None)
        for projected, place in zip(projections, now, strict=False):
            recur, before, n, moved, summed, after = place
            recur(weights, into)
            add(zrn, projected, zrn)
            tanh(zr, zr)
            multiply(r, m, x)
            add(x, n_and_m, x)
            tanh(x, n)
            subtract(before, n, moved)
            multiply(z, moved, moved)
            third(summed, after)

    def end(steps: int) -> None:
        h[...] = rows[steps, 0]

    def parts(projected: np.ndarray) -> Any:
        return projected if is_double else (projected[: 2 * size], projected[2 * size :])

    def begin() -> None:
        lines[:, front - 1] = 1  # the memory is others' between runs
        rows[0, 0] = h

    return SingleSequence(begin, run_double if is_double else run, end, rows[1:, 0], parts)


def _halves(rows: int, dtype: np.dtype) -> Callable[..., Any]:
    """halves(matrix, out): half of the sum of the rows"""
    return np.full(rows, 0.5, dtype).dot
