"""The steps of RNN, LSTM and GRU, and their weights in the layout that the steps use.

These are the steps for any number of sequences; for one sequence in one direction see
``recurrent_single``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.records import record
from onnxwalk.ops.fast.calls import scalar, tanh_is_quick
from onnxwalk.ops.fast.recurrent_single import (
    SingleSequence,
    rnn_activation,
    single_gru,
    single_lstm,
    single_rnn,
)

#: step(projected): one time step, which updates the states in place; ``projected`` (flat) are the
#: projections of the inputs
Step = Callable[[np.ndarray], None]
#: product(rows, chosen): a call without arguments that writes rows R' of some gates
Product = Callable[..., Callable[[], Any]]


@record(frozen=True)
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
    #: make_single(w_h, states, steps, scratch): a faster loop for one sequence in one direction
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
    activate = rnn_activation(relu, h.dtype)

    def step(projected):
        recur()
        add(gates, projected, gates)
        activate(gates, h)

    return step


def lstm_step(
    product: Product, gates: np.ndarray, states: Sequence[np.ndarray], exact: bool = False
) -> Step:
    """Gates g, f, i, o, of which f, i, o are halved (see ``sigmoid_of_halved``)."""
    h, c = states
    g, f, i, o = np.split(gates, 4)
    activate = sigmoid_of_halved(gates[c.size :], gates, g, exact)
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
    activate = sigmoid_of_halved(zr, exact=exact)
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


def sigmoid_of_halved(
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


# ------------------------------------------------------------------------- layout of the weights


def rnn_cell(
    w: np.ndarray, r: np.ndarray, b: np.ndarray | None, reversals: Sequence[bool], relu: bool
) -> Cell:
    w_x, w_h, b_x, b_h = _arrange_weights(w, r, b, {0: 1})
    step = functools.partial(rnn_step, relu=relu)
    single = functools.partial(single_rnn, relu=relu)
    return Cell(w_x, w_h, b_x + b_h, step, reversals, 1, single)


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
