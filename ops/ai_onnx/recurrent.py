"""Recurrent layers: RNN, LSTM, GRU.

Each operator's ``step`` is the formula of one time step, from what the inputs contribute to the
gates (x[t] W' with the biases); ``run_recurrence`` takes it through a batch of sequences, in two
directions and with lengths of their own. With ``_watch`` set, every step is shown to it: see
``Watch``.

Shapes: T steps, N sequences, I features in, H hidden, D directions (2 if bidirectional).
With layout=1 the batch comes first: x (N, T, I), y (N, T, D, H), states (N, D, H).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from onnxwalk.ops.ai_onnx.recurrent_layers import (
    add_binder,
    cost_of_layer,
    flops_of_layer,
    lay_out,
    look_up_embedding,
)
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.fast.recurrent_steps import gru_cell, lstm_cell, rnn_cell
from onnxwalk.ops.shared import batch, products
from onnxwalk.ops.shared.recurrence import run_recurrence

#: f and g, and for LSTM h, where a node names none
RNN_DEFAULTS: tuple[str, ...] = ("tanh",)
LSTM_DEFAULTS: tuple[str, ...] = ("sigmoid", "tanh", "tanh")
GRU_DEFAULTS: tuple[str, ...] = ("sigmoid", "tanh")


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
    _watch=None,
):
    """h[t] = f(x[t] W' + h[t-1] R' + Wb + Rb)

    x (T, N, I), w (D, H, I), r (D, H, H), b (D, 2H) as Wb and Rb, sequence_lens (N),
    initial_h (D, N, H); y (T, D, N, H), the last h of each sequence (D, N, H).

    Beyond its length a sequence gives zeros; the reverse direction starts at its last step.
    ``clip`` bounds what goes into f. Both outputs are always there (output_sequence aside).

    Spec: RNN-1, RNN-7, RNN-14 (layout), RNN-22 (bfloat16).
    """
    ways = lay_out(
        w,
        r,
        b,
        None,
        RNN_DEFAULTS,
        1,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction=direction,
        hidden_size=hidden_size,
    )

    def step(way, xw, h):
        (f,) = way.functions
        v = xw + products.matmul(h, way.r)
        return {"h": f(v), "vh": v}

    return run_recurrence(step, ways, x, sequence_lens, layout, _watch, h=initial_h)


@rnn.prepare
def prepare_rnn(w, r, b=None, *, _table=None, **attributes):
    """RNN with known weights."""

    def apply(x, sequence_lens=None, initial_h=None):
        return rnn(look_up_embedding(x, _table), w, r, b, sequence_lens, initial_h, **attributes)

    cells = {
        RNN_DEFAULTS: partial(rnn_cell, relu=False),
        ("relu",): partial(rnn_cell, relu=True),
    }
    return add_binder(apply, cells, 1, w, r, b, _table, **attributes)


def lay_out_lstm(
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
    _watch=None,
):
    """LSTM with these weights, as a function of x, sequence_lens, initial_h and initial_c."""
    rounded = _rounded or (lambda h: h)
    ways = lay_out(
        w,
        r,
        b,
        p,
        LSTM_DEFAULTS,
        4,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction=direction,
        hidden_size=hidden_size,
    )

    def step(way, xw, h, C):
        f_, g_, h_ = way.functions
        vi, vo, vf, vc = np.split(xw + products.matmul(rounded(h), way.r), 4, axis=1)
        if way.p is not None:
            Pi, Po, Pf = np.split(way.p, 3)
            vi, vf = vi + Pi * C, vf + Pf * C
        i = f_(vi)
        f = 1 - i if input_forget else f_(vf)
        c = g_(vc)
        C = f * C + i * c
        if way.p is not None:
            vo = vo + Po * C
        o = f_(vo)
        values = {"h": o * h_.unclipped(C), "C": C, "i": i, "o": o, "f": f, "c": c}
        return {**values, "vi": vi, "vo": vo, "vf": vf, "vc": vc}

    def run(x, sequence_lens=None, initial_h=None, initial_c=None):
        states = {"h": initial_h, "C": initial_c}
        return run_recurrence(step, ways, x, sequence_lens, layout, _watch, **states)

    return run


@op("LSTM", since=1, without=["layout"])
@op("LSTM", since=7, without=["layout", "output_sequence"])
@op("LSTM", since=14, without=["output_sequence"])
@attributes_of(lay_out_lstm)
def lstm(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    initial_c=None,
    p=None,
    **attributes,
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

    ``_rounded`` is what a quantized LSTM does to the hidden state before it is multiplied.

    Spec: LSTM-1, LSTM-7, LSTM-14 (layout), LSTM-22 (bfloat16).
    """
    return lay_out_lstm(w, r, b, p, **attributes)(x, sequence_lens, initial_h, initial_c)


@lstm.prepare
def prepare_lstm(w, r, b=None, p=None, *, _table=None, **attributes):
    """LSTM with known weights."""

    def apply(x, sequence_lens=None, initial_h=None, initial_c=None):
        x = look_up_embedding(x, _table)
        return lstm(x, w, r, b, sequence_lens, initial_h, initial_c, p, **attributes)

    return add_lstm_binder(apply, w, r, b, p, _table=_table, **attributes)


def add_lstm_binder(apply, w, r, b=None, p=None, *, _table=None, rounded=None, **attributes):
    """``apply`` with its fast form if the layer is a usual one; ``rounded``: see ``Cell``."""
    cells = {LSTM_DEFAULTS: partial(lstm_cell, rounded=rounded)} if p is None else {}
    return add_binder(apply, cells, 4, w, r, b, _table, **attributes)


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
    _watch=None,
):
    """Gates decide how much of the past to keep (z) and to use for the new state (r):

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
    ways = lay_out(
        w,
        r,
        b,
        None,
        GRU_DEFAULTS,
        3,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction=direction,
        hidden_size=hidden_size,
        apart=r.shape[2] if linear_before_reset else 0,
    )

    def step(way, xw, h):
        f, g = way.functions
        xz, xr, xh = np.split(xw, 3, axis=1)
        Rz, Rr, Rh = np.split(way.r, 3, axis=1)
        vz, vr = xz + products.matmul(h, Rz), xr + products.matmul(h, Rr)
        z, r = f(vz), f(vr)
        m = products.matmul(h, Rh) + way.rb if linear_before_reset else products.matmul(r * h, Rh)
        vn = xh + (r * m if linear_before_reset else m)
        n = g(vn)
        values = {"h": (1 - z) * n + z * h, "z": z, "r": r, "n": n, "m": m}
        return {**values, "vz": vz, "vr": vr, "vn": vn}

    return run_recurrence(step, ways, x, sequence_lens, layout, _watch, h=initial_h)


@gru.prepare
def prepare_gru(w, r, b=None, *, _table=None, **attributes):
    """GRU with known weights."""

    def apply(x, sequence_lens=None, initial_h=None):
        x = look_up_embedding(x, _table)
        return gru(x, w, r, b, sequence_lens, initial_h, **attributes)

    cell = partial(gru_cell, linear_before_reset=bool(attributes.get("linear_before_reset")))
    return add_binder(apply, {GRU_DEFAULTS: cell}, 3, w, r, b, _table, **attributes)


@op("GRU", since=1)
@attributes_of(gru, without=["layout", "linear_before_reset"])
def gru_1(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    *,
    direction="foward",
    **attributes,
):
    """GRU before linear_before_reset; the default direction is misspelt. Spec: GRU-1."""
    return gru(x, w, r, b, sequence_lens, initial_h, direction=direction, **attributes)


declare(rnn, lstm, gru, gru_1, cost=cost_of_layer, flops=flops_of_layer)
declare(rnn, lstm, gru, gru_1, batch_axis=batch.recurrence, worth_splitting=batch.large_state)
declare(rnn, lstm, choices={"direction": "forward reverse bidirectional"})
# "foward" is the default of GRU-1.
gru_1.choices({"direction": "foward forward reverse bidirectional"})
gru.choices({"direction": "forward reverse bidirectional"})
