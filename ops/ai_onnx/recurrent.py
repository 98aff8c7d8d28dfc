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
    cost_of_keeping,
    cost_of_layer,
    cost_of_way_back,
    flops_of_layer,
    keep,
    lay_out,
    look_up_embedding,
    training_binders,
)
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.fast.recurrent_cells import GruCell, LstmCell, RnnCell, TrainingCell
from onnxwalk.ops.fast.recurrent_steps import gru_cell, lstm_cell, rnn_cell
from onnxwalk.ops.shared import batch
from onnxwalk.ops.shared.recurrence import run_recurrence
from onnxwalk.ops.shared.recurrence_back import layer_back
from onnxwalk.ops.shared.sums import sum_over

#: f and g, and for LSTM h, where a node names none
_RNN_DEFAULTS: tuple[str, ...] = ("tanh",)
_LSTM_DEFAULTS: tuple[str, ...] = ("sigmoid", "tanh", "tanh")
_GRU_DEFAULTS: tuple[str, ...] = ("sigmoid", "tanh")


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
        _RNN_DEFAULTS,
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
        v = xw + h @ way.r
        return {"h": f(v), "vh": v}

    return run_recurrence(step, ways, x, sequence_lens, layout, _watch, h=initial_h)


@rnn.forward_keeping("gates", "hidden")
def rnn_keeping(*inputs, **attributes):
    """What goes into f, or comes out of it, and h, after each step: see ``keep``."""
    return keep(rnn, {"h": 0}, "h", _RNN_DEFAULTS, inputs, attributes)


@rnn.vjp
def vjp_of_rnn(
    dy, dy_h, x, w, r, sequence_lens=None, *, x_shape, b_shape, gates, hidden, layout=0, wanted,
    **attributes,
):  # fmt: skip
    ways = lay_out(None, r, None, None, _RNN_DEFAULTS, 1, **attributes)

    def make_back(d, rows, h):
        _, slope = ways[d].functions[0].value_and_slope(gates[: len(h), d, 0])

        def back(here, dh):
            dv = dh * slope[here]
            return dv, dv, (dv @ ways[d].r.T,)

        return back

    found = layer_back(
        make_back, ways, x, w, sequence_lens, layout, x_shape[:2], dy, [dy_h], [hidden]
    )
    return found.x, found.w, found.r, found.b, None, found.initial[0]


@rnn.prepare
def prepare_rnn(w, r, b=None, *, _table=None, **attributes):
    """RNN with known weights."""

    def apply(x, sequence_lens=None, initial_h=None):
        return rnn(look_up_embedding(x, _table), w, r, b, sequence_lens, initial_h, **attributes)

    cells = {
        _RNN_DEFAULTS: partial(rnn_cell, relu=False),
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
        _LSTM_DEFAULTS,
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
        vi, vo, vf, vc = np.split(xw + rounded(h) @ way.r, 4, axis=1)
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


@lstm.forward_keeping("gates", "hidden", "cells")
def lstm_keeping(*inputs, **attributes):
    """What goes into the gates, or comes out of them, h and C, after each step: see ``keep``."""
    gates = {"o": 0, "i": 0, "f": 0, "c": 1}
    return keep(lstm, gates, "hC", _LSTM_DEFAULTS, inputs, attributes)


@lstm.vjp
def vjp_of_lstm(
    dy, dy_h, dy_c, x, w, r, sequence_lens=None, p=None, *, x_shape, b_shape, gates, hidden, cells,
    input_forget=0, layout=0, wanted, **attributes,
):  # fmt: skip
    ways = lay_out(None, r, None, p, _LSTM_DEFAULTS, 4, **attributes)

    afters = [cells[-len(gates) or len(cells) :, d] for d in range(len(ways))]

    def make_back(d, rows, h, C):
        f_, g_, h_ = ways[d].functions
        o, i, f, c = gates[: len(h), d].swapaxes(0, 1)
        (o, to_o), (i, to_i), (f, to_f) = (f_.value_and_slope(v) for v in (o, i, f))
        c, to_c = g_.value_and_slope(c)
        if input_forget:
            f, to_f = 1 - i, np.zeros_like(i)
        shown, to_C = h_.unclipped_and_slope(afters[d][: len(h)])
        Pi, Po, Pf = np.zeros(3) if ways[d].p is None else np.split(ways[d].p, 3)

        def back(here, dh, dC):
            do = dh * shown[here] * to_o[here]
            dC = dC + dh * o[here] * to_C[here] + Po * do
            di, df = dC * c[here], dC * C[here]
            di = (di - df if input_forget else di) * to_i[here]
            df = df * to_f[here]
            dc = dC * i[here] * to_c[here]
            dv = np.concatenate([di, do, df, dc], 1)
            return dv, dv, (dv @ ways[d].r.T, dC * f[here] + Pi * di + Pf * df)

        return back

    found = layer_back(
        make_back, ways, x, w, sequence_lens, layout, x_shape[:2], dy, [dy_h, dy_c], [hidden, cells]
    )
    dp = None
    if p is not None:
        dp = np.stack(list(map(_vjp_of_peepholes, found.directions, afters)))
    return found.x, found.w, found.r, found.b, None, *found.initial, dp


def _vjp_of_peepholes(found, after):
    """The gradient of Pi, Po and Pf, through which the gates see the cells before and after."""
    di, do, df, _ = np.split(found.by_input, 4, 1)
    C_before, C = found.before[1], after[: len(di)]
    return np.concatenate(
        [sum_over(v, (0,), False) for v in (di * C_before, do * C, df * C_before)]
    )


@lstm.prepare
def prepare_lstm(w, r, b=None, p=None, *, _table=None, **attributes):
    """LSTM with known weights."""

    def apply(x, sequence_lens=None, initial_h=None, initial_c=None):
        x = look_up_embedding(x, _table)
        return lstm(x, w, r, b, sequence_lens, initial_h, initial_c, p, **attributes)

    return add_lstm_binder(apply, w, r, b, p, _table=_table, **attributes)


def add_lstm_binder(apply, w, r, b=None, p=None, *, _table=None, rounded=None, **attributes):
    """``apply`` with its fast form if the layer is a usual one; ``rounded``: see ``Cell``."""
    cells = {_LSTM_DEFAULTS: partial(lstm_cell, rounded=rounded)} if p is None else {}
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
        _GRU_DEFAULTS,
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
        vz, vr = xz + h @ Rz, xr + h @ Rr
        z, r = f(vz), f(vr)
        m = h @ Rh + way.rb if linear_before_reset else (r * h) @ Rh
        vn = xh + (r * m if linear_before_reset else m)
        n = g(vn)
        values = {"h": (1 - z) * n + z * h, "z": z, "r": r, "n": n, "m": m}
        return {**values, "vz": vz, "vr": vr, "vn": vn}

    return run_recurrence(step, ways, x, sequence_lens, layout, _watch, h=initial_h)


@gru.forward_keeping("gates", "hidden", "products")
def gru_keeping(*inputs, **attributes):
    """What goes into the gates, or comes out of them, h, and h Rh' (with Rbh, if
    linear_before_reset), after each step: see ``keep``."""
    return keep(gru, {"z": 0, "r": 0, "n": 1}, "hm", _GRU_DEFAULTS, inputs, attributes)


@gru.vjp
def vjp_of_gru(
    dy, dy_h, x, w, r, sequence_lens=None, *, x_shape, b_shape, gates, hidden, products, layout=0,
    linear_before_reset=0, wanted, **attributes,
):  # fmt: skip
    ways = lay_out(None, r, None, None, _GRU_DEFAULTS, 3, **attributes)
    resets = []  # r of each direction

    def make_back(d, rows, h):
        f_, g_ = ways[d].functions
        Rz, Rr, Rh = np.split(ways[d].r.T, 3)
        z, r, n = gates[: len(h), d].swapaxes(0, 1)
        (z, to_z), (r, to_r) = (f_.value_and_slope(v) for v in (z, r))
        n, to_n = g_.value_and_slope(n)
        m = products[-len(gates) or len(products) :, d]
        resets.append(r)

        def back(here, dh):
            dz = dh * (h[here] - n[here]) * to_z[here]
            dn = dh * (1 - z[here]) * to_n[here]
            if linear_before_reset:
                dm, dr = dn * r[here], dn * m[here] * to_r[here]
                through_n = dm @ Rh
            else:
                dm, d_product = dn, dn @ Rh
                dr, through_n = d_product * h[here] * to_r[here], d_product * r[here]
            before = dh * z[here] + dz @ Rz + dr @ Rr + through_n
            return np.concatenate([dz, dr, dn], 1), np.concatenate([dz, dr, dm], 1), (before,)

        return back

    found = layer_back(
        make_back, ways, x, w, sequence_lens, layout, x_shape[:2], dy, [dy_h], [hidden]
    )
    if not linear_before_reset:  # Rh is multiplied by r * h
        size = r.shape[2]
        for dr, reset, way in zip(found.r, resets, found.directions, strict=True):
            dr[2 * size :] = way.by_state[:, 2 * size :].T @ (reset * way.before[0])
    return found.x, found.w, found.r, found.b, None, found.initial[0]


@gru.prepare
def prepare_gru(w, r, b=None, *, _table=None, **attributes):
    """GRU with known weights."""

    def apply(x, sequence_lens=None, initial_h=None):
        x = look_up_embedding(x, _table)
        return gru(x, w, r, b, sequence_lens, initial_h, **attributes)

    cell = partial(gru_cell, linear_before_reset=bool(attributes.get("linear_before_reset")))
    return add_binder(apply, {_GRU_DEFAULTS: cell}, 3, w, r, b, _table, **attributes)


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


gru_1.forward_keeping("gates", "hidden", "products")(gru_keeping)
gru_1.vjp(vjp_of_gru)


declare(rnn, lstm, gru, gru_1, cost=cost_of_layer, flops=flops_of_layer)
declare(rnn, lstm, gru, gru_1, batch_axis=batch.recurrence, worth_splitting=batch.large_state)
declare(rnn, lstm, choices={"direction": "forward reverse bidirectional"})
# "foward" is the default of GRU-1.
gru_1.choices({"direction": "foward forward reverse bidirectional"})
gru.choices({"direction": "forward reverse bidirectional"})
for _forward in (rnn_keeping, lstm_keeping, gru_keeping):
    _forward.cost(cost_of_keeping)
for _rule in (vjp_of_rnn, vjp_of_lstm, vjp_of_gru):
    _rule.only_read_for(x="w", w="x")
    _rule.cost(cost_of_way_back)
_RNN_CELLS: dict[tuple[str, ...], TrainingCell] = {
    _RNN_DEFAULTS: RnnCell(relu=False),
    ("relu",): RnnCell(relu=True),
}
_LSTM_CELLS: dict[tuple[str, ...], TrainingCell] = {_LSTM_DEFAULTS: LstmCell()}
_GRU_CELLS: dict[tuple[str, ...], TrainingCell] = {_GRU_DEFAULTS: GruCell()}
for _forward, _rule, _cells, _names, _gates in (
    (rnn_keeping, vjp_of_rnn, _RNN_CELLS, _RNN_DEFAULTS, 1),
    (lstm_keeping, vjp_of_lstm, _LSTM_CELLS, _LSTM_DEFAULTS, 4),
    (gru_keeping, vjp_of_gru, _GRU_CELLS, _GRU_DEFAULTS, 3),
):
    _bind_forward, _bind_rule = training_binders(_cells, _names, _gates)
    _forward.bind(_bind_forward)
    _rule.bind(_bind_rule)
