"""Recurrent layers: RNN, LSTM, GRU.

What one time step computes is here; how the steps walk a batch of sequences, in two directions and
with lengths of their own, is in ``_recurrence``.

Shapes: T steps, N sequences, I features in, H hidden, D directions (2 if bidirectional).
With layout=1 the batch comes first: x (N, T, I), y (N, T, D, H), states (N, D, H).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.needs import Need
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast import recurrent as fast
from onnxwalk.ops.shared import batch
from onnxwalk.ops.shared import gates as _gates
from onnxwalk.ops.shared.gates import Activation, activations_of, bound
from onnxwalk.ops.shared.recurrence import Direction, Step, expect, needs_of_walk, walk
from onnxwalk.ops.shared.windows import working_dtype


@op("RNN", since=1, without=["layout"])
@op("RNN", since=7, without=["layout", "output_sequence"])
@op("RNN", since=14, without=["output_sequence"])
def rnn(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=["Tanh", "Tanh"],  # noqa: B006  (the spec's default; nothing changes it)
    clip=None,
    direction="forward",
    hidden_size=None,
    layout=0,
    output_sequence=0,
):
    """h[t] = f(x[t] W' + h[t-1] R' + Wb + Rb)

    x (T, N, I), w (D, H, I), r (D, H, H), b (D, 2H) as Wb and Rb, sequence_lens (N),
    initial_h (D, N, H); y (T, D, N, H), the last h of each sequence (D, N, H).

    Beyond its length a sequence gives zeros; the reverse direction starts at its last step.
    ``clip`` bounds what goes into f. Both outputs are always there (output_sequence aside).

    Spec: RNN-1, RNN-7, RNN-14 (layout), RNN-22 (bfloat16).
    """
    return prepare_rnn(
        w,
        r,
        b,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction=direction,
        hidden_size=hidden_size,
        layout=layout,
    )(x, sequence_lens, initial_h)


@rnn.prepare
def prepare_rnn(
    w,
    r,
    b=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    layout=0,
    output_sequence=0,
    _table=None,
):
    """RNN with known weights, which are transposed once."""
    reversals = _reversals(direction)
    if activations == ["Tanh", "Tanh"]:
        activations = None  # the default serves one direction too
    chosen = activations_of(
        activations, ["Tanh"], len(reversals), activation_alpha, activation_beta
    )
    _check_weights(w, r, b, 1, len(reversals), hidden_size)
    dtype, clipped = working_dtype(w.dtype), bound(clip)

    def one(d: int, reverse: bool) -> Direction:
        w_x, w_h, b_x, b_h = _transposed(w, r, b, d, dtype)
        (f,) = chosen[d]

        def step(out, projected, h):
            np.matmul(h, w_h, out=out)
            out += projected
            f(clipped(out))

        return Direction(w_x, _sum(b_x, b_h), lambda batch: step, reverse)

    directions = [one(d, reverse) for d, reverse in enumerate(reversals)]

    def apply(x, sequence_lens=None, initial_h=None):
        x = _embedded(x, _table)
        return walk(directions, r.shape[-1], x, sequence_lens, layout, initial_h=initial_h)

    usual = chosen[0][0] in (_gates.tanh, _gates.relu) and len(set(chosen)) == 1
    if usual and clip is None and layout == 0 and w.dtype == r.dtype == dtype:
        relu = chosen[0][0] is _gates.relu
        with_bind(apply, fast.Bindable(lambda: fast.rnn_cell(w, r, b, reversals, relu), _table))
    return apply


@op("LSTM", since=1, without=["layout"])
@op("LSTM", since=7, without=["layout", "output_sequence"])
@op("LSTM", since=14, without=["output_sequence"])
def lstm(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    initial_c=None,
    p=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    input_forget=0,
    layout=0,
    output_sequence=0,
):
    """Gates decide what a cell takes in (i), keeps (f) and shows (o):

        i    = f(x[t] Wi' + h[t-1] Ri' + Pi * C[t-1] + Wbi + Rbi)
        f    = f(x[t] Wf' + h[t-1] Rf' + Pf * C[t-1] + Wbf + Rbf)      1 - i with input_forget
        c    = g(x[t] Wc' + h[t-1] Rc' + Wbc + Rbc)
        C[t] = f * C[t-1] + i * c
        o    = f(x[t] Wo' + h[t-1] Ro' + Po * C[t] + Wbo + Rbo)
        h[t] = o * h(C[t])                     with f = Sigmoid, g = Tanh, h = Tanh by default

    x (T, N, I), w (D, 4H, I) and r (D, 4H, H) in the order i, o, f, c, b (D, 8H) as Wb and Rb,
    sequence_lens (N), initial_h and initial_c (D, N, H), p (D, 3H) in the order i, o, f;
    y (T, D, N, H), the last h and the last C of each sequence (D, N, H).

    Beyond its length a sequence gives zeros; the reverse direction starts at its last step.
    ``clip`` bounds what goes into f and g. What goes into h, the cell's own state, isn't clipped:
    the spec ("the input of activations") can be read either way, ONNX Runtime leaves it.

    Spec: LSTM-1, LSTM-7, LSTM-14 (layout), LSTM-22 (bfloat16).
    """
    return prepare_lstm(
        w,
        r,
        b,
        p,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction=direction,
        hidden_size=hidden_size,
        input_forget=input_forget,
        layout=layout,
    )(x, sequence_lens, initial_h, initial_c)


@lstm.prepare
def prepare_lstm(
    w,
    r,
    b=None,
    p=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    input_forget=0,
    layout=0,
    output_sequence=0,
    _rounded=None,
    _table=None,
):
    """LSTM with known weights, which are transposed once.

    ``_rounded`` is what a quantized LSTM does to the hidden state before it is multiplied.
    """
    reversals = _reversals(direction)
    defaults = ["Sigmoid", "Tanh", "Tanh"]
    chosen = activations_of(
        activations, defaults, len(reversals), activation_alpha, activation_beta
    )
    hidden = _check_weights(w, r, b, 4, len(reversals), hidden_size)
    if p is not None:
        expect("P", p, (len(reversals), 3 * hidden))
    dtype = working_dtype(w.dtype)
    clipped = bound(clip)
    plain = p is None and clip is None and not input_forget and _rounded is None

    def one(d: int, reverse: bool) -> Direction:
        w_x, w_h, b_x, b_h = _transposed(w, r, b, d, dtype)
        bias = _sum(b_x, b_h)
        if plain and chosen[d] == (_gates.sigmoid, _gates.tanh, _gates.tanh):
            # sigmoid(v) = tanh(v / 2) / 2 + 1/2: halve what makes v, once
            half = np.ones(4 * hidden, dtype)
            half[: 3 * hidden] = 0.5
            w_x, w_h, bias = w_x * half, w_h * half, None if bias is None else bias * half
            return Direction(w_x, bias, lambda batch: _plain_lstm_step(w_h, batch), reverse)
        peepholes = None if p is None else p[d].astype(dtype, copy=False)

        def step_for(batch: int) -> Step:
            return _lstm_step(w_h, peepholes, chosen[d], clipped, bool(input_forget), _rounded)

        return Direction(w_x, bias, step_for, reverse)

    directions = [one(d, reverse) for d, reverse in enumerate(reversals)]

    def apply(x, sequence_lens=None, initial_h=None, initial_c=None):
        x = _embedded(x, _table)
        return walk(
            directions, hidden, x, sequence_lens, layout, initial_h=initial_h, initial_c=initial_c
        )

    usual = plain and set(chosen) == {(_gates.sigmoid, _gates.tanh, _gates.tanh)}
    if usual and layout == 0 and w.dtype == r.dtype == dtype:
        with_bind(apply, fast.Bindable(lambda: fast.lstm_cell(w, r, b, reversals), _table))
    return apply


def _lstm_step(
    w_h: np.ndarray,
    peepholes: np.ndarray | None,
    activations: tuple[Activation, ...],
    clipped: Activation,
    input_forget: bool,
    rounded: Callable[[np.ndarray], np.ndarray] | None,
) -> Step:
    """One time step of an LSTM, with everything the spec allows. ``c`` is the cell's state C."""
    f_, g_, h_ = activations
    hidden = len(w_h)

    def step(out, projected, h, c):
        gates = (h if rounded is None else rounded(h)) @ w_h
        gates += projected
        i, o, f, g = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
        if peepholes is not None:
            p_i, p_o, p_f = peepholes.reshape(3, hidden)
            i += p_i * c
            f += p_f * c
        f_(clipped(i))
        if input_forget:
            np.subtract(1, i, out=f)
        else:
            f_(clipped(f))
        g_(clipped(g))
        c *= f
        g *= i
        c += g
        if peepholes is not None:
            o += p_o * c
        f_(clipped(o))
        out[...] = c
        h_(out)
        out *= o

    return step


def _plain_lstm_step(w_h: np.ndarray, batch: int) -> Step:
    """The usual LSTM step: as above, with one tanh for all gates (i, o and f come in halved)."""
    hidden = len(w_h)
    gates = np.empty((batch, 4 * hidden), w_h.dtype)
    i, o, f, g = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
    iof = gates[:, : 3 * hidden]
    half = np.array(0.5, w_h.dtype)
    # For a small batch the calls themselves are what takes time: bound names, outputs by position.
    matmul, add, multiply, tanh = np.matmul, np.add, np.multiply, np.tanh

    def step(out, projected, h, c):
        matmul(h, w_h, gates)
        add(gates, projected, gates)
        tanh(gates, gates)
        multiply(iof, half, iof)
        add(iof, half, iof)
        multiply(f, c, c)
        multiply(i, g, g)
        add(c, g, c)
        tanh(c, out)
        multiply(o, out, out)

    return step


@op("GRU", since=3, without=["layout"])
@op("GRU", since=7, without=["layout", "output_sequence"])
@op("GRU", since=14, without=["output_sequence"])
def gru(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    layout=0,
    linear_before_reset=0,
    output_sequence=0,
):
    """Gates decide what of the past is kept (z) and what of it counts for the new (r):

        z    = f(x[t] Wz' + h[t-1] Rz' + Wbz + Rbz)
        r    = f(x[t] Wr' + h[t-1] Rr' + Wbr + Rbr)
        n    = g(x[t] Wh' + (r * h[t-1]) Rh' + Rbh + Wbh)
        n    = g(x[t] Wh' + r * (h[t-1] Rh' + Rbh) + Wbh)      with linear_before_reset
        h[t] = (1 - z) * n + z * h[t-1]                        f = Sigmoid, g = Tanh by default

    x (T, N, I), w (D, 3H, I) and r (D, 3H, H) in the order z, r, h, b (D, 6H) as Wb and Rb,
    sequence_lens (N), initial_h (D, N, H); y (T, D, N, H), the last h of each sequence (D, N, H).

    Beyond its length a sequence gives zeros; the reverse direction starts at its last step.
    ``clip`` bounds what goes into f and g.

    Spec: GRU-3, GRU-7, GRU-14 (layout), GRU-22 (bfloat16).
    """
    return prepare_gru(
        w,
        r,
        b,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction=direction,
        hidden_size=hidden_size,
        layout=layout,
        linear_before_reset=linear_before_reset,
    )(x, sequence_lens, initial_h)


@op("GRU", since=1)
def gru_1(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="foward",
    hidden_size=None,
    output_sequence=0,
):
    """GRU before linear_before_reset; the default direction is misspelt. Spec: GRU-1."""
    return gru(
        x,
        w,
        r,
        b,
        sequence_lens,
        initial_h,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction="forward" if direction == "foward" else direction,
        hidden_size=hidden_size,
    )


@gru.prepare
def prepare_gru(
    w,
    r,
    b=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    layout=0,
    linear_before_reset=0,
    output_sequence=0,
    _table=None,
):
    """GRU with known weights, which are transposed once."""
    reversals = _reversals(direction)
    chosen = activations_of(
        activations, ["Sigmoid", "Tanh"], len(reversals), activation_alpha, activation_beta
    )
    hidden = _check_weights(w, r, b, 3, len(reversals), hidden_size)
    dtype, clipped = working_dtype(w.dtype), bound(clip)

    def one(d: int, reverse: bool) -> Direction:
        w_x, w_h, b_x, b_h = _transposed(w, r, b, d, dtype)
        b_hh = None
        if linear_before_reset and b_h is not None:
            b_hh = b_h[2 * hidden :].copy()
            b_h = np.concatenate([b_h[: 2 * hidden], np.zeros_like(b_hh)])
        make = _gru_step_linear_before_reset if linear_before_reset else _gru_step

        def step_for(batch: int) -> Step:
            return make(w_h, b_hh, chosen[d], clipped, batch)

        return Direction(w_x, _sum(b_x, b_h), step_for, reverse)

    directions = [one(d, reverse) for d, reverse in enumerate(reversals)]

    def apply(x, sequence_lens=None, initial_h=None):
        x = _embedded(x, _table)
        return walk(directions, hidden, x, sequence_lens, layout, initial_h=initial_h)

    usual = set(chosen) == {(_gates.sigmoid, _gates.tanh)}
    if usual and clip is None and layout == 0 and w.dtype == r.dtype == dtype:
        linear = bool(linear_before_reset)
        with_bind(apply, fast.Bindable(lambda: fast.gru_cell(w, r, b, reversals, linear), _table))
    return apply


def _gru_step(
    w_h: np.ndarray,
    b_hh: np.ndarray | None,
    activations: tuple[Activation, ...],
    clipped: Activation,
    batch: int,
) -> Step:
    """One time step of a GRU that resets the state before the recurrent product."""
    f_, g_ = activations
    hidden = len(w_h)
    w_zr = np.ascontiguousarray(w_h[:, : 2 * hidden])
    w_n = np.ascontiguousarray(w_h[:, 2 * hidden :])
    zr = np.empty((batch, 2 * hidden), w_h.dtype)
    z, r = zr[:, :hidden], zr[:, hidden:]
    n = np.empty((batch, hidden), w_h.dtype)

    def step(out, projected, h):
        np.matmul(h, w_zr, out=zr)
        np.add(zr, projected[:, : 2 * hidden], out=zr)
        f_(clipped(zr))
        np.multiply(r, h, out=r)
        np.matmul(r, w_n, out=n)
        np.add(n, projected[:, 2 * hidden :], out=n)
        g_(clipped(n))
        np.subtract(h, n, out=out)  # (1 - z) * n + z * h = n + z * (h - n)
        out *= z
        out += n

    return step


def _gru_step_linear_before_reset(
    w_h: np.ndarray,
    b_hh: np.ndarray | None,
    activations: tuple[Activation, ...],
    clipped: Activation,
    batch: int,
) -> Step:
    """One time step of a GRU that resets what the recurrent product gave."""
    f_, g_ = activations
    hidden = len(w_h)
    past = np.empty((batch, 3 * hidden), w_h.dtype)
    zr, n = past[:, : 2 * hidden], past[:, 2 * hidden :]
    z, r = zr[:, :hidden], zr[:, hidden:]

    def step(out, projected, h):
        np.matmul(h, w_h, out=past)
        np.add(zr, projected[:, : 2 * hidden], out=zr)
        f_(clipped(zr))
        if b_hh is not None:
            np.add(n, b_hh, out=n)
        np.multiply(r, n, out=n)
        np.add(n, projected[:, 2 * hidden :], out=n)
        g_(clipped(n))
        np.subtract(h, n, out=out)  # (1 - z) * n + z * h = n + z * (h - n)
        out *= z
        out += n

    return step


def _embedded(x: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """The rows of a table that x names by their numbers; x itself without a table.

    ``_table`` is what the rewrite ``lift_embedding`` hands to a layer whose inputs are such rows.
    """
    return x if table is None else table[x]


def _reversals(direction: str) -> list[bool]:
    """For each direction whether it runs backwards."""
    named = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    if direction not in named:
        raise ValueError(f"direction {direction!r} is not forward, reverse or bidirectional")
    return named[direction]


def _check_weights(
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    gates: int,
    directions: int,
    hidden_size: int | None,
) -> int:
    """The hidden size, which R states and the attribute may repeat."""
    if w.ndim != 3 or r.ndim != 3:
        raise ValueError(f"W {w.shape} and R {r.shape} should have rank 3")
    hidden = r.shape[2]
    if hidden_size is not None and hidden_size != hidden:
        raise ValueError(f"hidden_size {hidden_size} disagrees with R {r.shape}")
    expect("R", r, (directions, gates * hidden, hidden))
    expect("W", w, (directions, gates * hidden, w.shape[2]))
    if b is not None:
        expect("B", b, (directions, 2 * gates * hidden))
    return hidden


def _transposed(
    w: np.ndarray, r: np.ndarray, b: np.ndarray | None, d: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """W' (I, gates * H), R' (H, gates * H), Wb and Rb of one direction."""
    w_x, w_h = (np.array(weights[d].T, dtype, order="C") for weights in (w, r))
    if b is None:
        return w_x, w_h, None, None
    b_x, b_h = b[d].astype(dtype, copy=False).reshape(2, -1)
    return w_x, w_h, b_x, b_h


def _sum(b_x: np.ndarray | None, b_h: np.ndarray | None) -> np.ndarray | None:
    return None if b_x is None or b_h is None else b_x + b_h


@rnn.needs
@lstm.needs
@gru.needs
@gru_1.needs
def needs_of_layer(
    x: np.ndarray,
    w: np.ndarray,
    r: np.ndarray,
    *others: np.ndarray | None,
    layout: int = 0,
    **_: Any,
) -> Need:
    """See ``needs_of_walk``; with ``sequence_lens`` all gates are projected at once."""
    lengths = others[1] if len(others) > 1 else None
    return needs_of_walk(x, w, r, layout, packed=lengths is not None)


@rnn.flops
@lstm.flops
@gru.flops
@gru_1.flops
def flops_of_layer(outputs, x, w, r, *others, **_):
    """Two products for each step, sequence and direction; padding that is left out counts too."""
    return 2 * math.prod(x.shape[:2]) * (w.size + r.size)


declare(rnn, lstm, gru, gru_1, batch_axis=batch.recurrence)
declare(rnn, lstm, choices={"direction": "forward reverse bidirectional"})
# "foward" is the default of GRU-1.
gru_1.choices({"direction": "foward forward reverse bidirectional"})
gru.choices({"direction": "forward reverse bidirectional"})
