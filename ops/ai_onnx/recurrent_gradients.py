"""The gradients of RNN, LSTM and GRU, and the forwards that keep what these read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.recurrent import (
    GRU_DEFAULTS,
    LSTM_DEFAULTS,
    RNN_DEFAULTS,
    gru,
    gru_1,
    lstm,
    rnn,
)
from onnxwalk.ops.ai_onnx.recurrent_activations import activation_names
from onnxwalk.ops.ai_onnx.recurrent_layers import find_reversals, lay_out
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.recurrent_cells import GruCell, LstmCell, RnnCell, TrainingCell
from onnxwalk.ops.fast.recurrent_training import bind_back, bind_keeping
from onnxwalk.ops.shared.products import matmul
from onnxwalk.ops.shared.recurrence import cost_of_recurrence
from onnxwalk.ops.shared.recurrence_back import (
    by_length,
    cost_of_recurrence_back,
    keep_steps,
    layer_back,
)
from onnxwalk.ops.shared.sums import sum_over
from onnxwalk.ops.shared.windows import working_dtype


def _padded(inputs: Sequence[Any]) -> list[Any]:
    """All inputs that the operators have; ``None`` where a node has none."""
    return list(inputs) + [None] * (8 - len(inputs))


def keep(
    layer: Callable[..., Any],
    gates: Mapping[str, int],
    states: str,
    defaults: Sequence[str],
    inputs: Sequence[Any],
    attributes: Mapping[str, Any],
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """A layer's outputs, and what it keeps (``recurrence_back``): of the gates, which name their
    activation function by its position, what the function's derivative follows from, and the
    states."""
    x, w, r, b, lengths, *initial = _padded(inputs)
    ways = lay_out(w, r, b, None, defaults, len(gates), **attributes)
    steps, batch = x.shape[1::-1] if attributes.get("layout") else x.shape[:2]
    lengths = np.full(batch, steps) if lengths is None else lengths
    hidden, work, order = r.shape[2], working_dtype(r.dtype), by_length(lengths)
    kept_gates = np.zeros((steps * batch, len(r), len(gates), hidden), work)
    kept = [np.zeros((batch + steps * batch, len(r), hidden), work) for _ in states]
    for first, state in zip(initial, kept[: states.count("h") + states.count("C")], strict=False):
        if first is not None:
            state[:batch] = (first if attributes.get("layout") else first.swapaxes(0, 1))[order]

    def pick(d: int, values: Mapping[str, Any]) -> tuple[np.ndarray, list[np.ndarray]]:
        functions = ways[d].functions
        chosen = [functions[i].kept(values["v" + gate], values[gate]) for gate, i in gates.items()]
        return np.stack(chosen, 1), [values[state] for state in states]

    reversals = [way.reverse for way in ways]
    watch = keep_steps((steps, batch), reversals, lengths, kept_gates, kept, pick)
    return layer(*inputs, **attributes, _watch=watch), (kept_gates, *kept)


@rnn.forward_keeping("gates", "hidden")
def rnn_keeping(*inputs, **attributes):
    """What goes into f, or comes out of it, and h, after each step: see ``keep``."""
    return keep(rnn, {"h": 0}, "h", RNN_DEFAULTS, inputs, attributes)


@rnn.vjp
def vjp_of_rnn(
    dy, dy_h, x, w, r, sequence_lens=None, *, x_shape, b_shape, gates, hidden, layout=0, wanted,
    **attributes,
):  # fmt: skip
    ways = lay_out(None, r, None, None, RNN_DEFAULTS, 1, **attributes)

    def make_back(d, rows, h):
        _, slope = ways[d].functions[0].value_and_slope(gates[: len(h), d, 0])

        def back(here, dh):
            dv = dh * slope[here]
            return dv, dv, (matmul(dv, ways[d].r.T),)

        return back

    found = layer_back(
        make_back, ways, x, w, sequence_lens, layout, x_shape[:2], dy, [dy_h], [hidden]
    )
    return found.x, found.w, found.r, found.b, None, found.initial[0]


@lstm.forward_keeping("gates", "hidden", "cells")
def lstm_keeping(*inputs, **attributes):
    """What goes into the gates, or comes out of them, h and C, after each step: see ``keep``."""
    gates = {"o": 0, "i": 0, "f": 0, "c": 1}
    return keep(lstm, gates, "hC", LSTM_DEFAULTS, inputs, attributes)


@lstm.vjp
def vjp_of_lstm(
    dy, dy_h, dy_c, x, w, r, sequence_lens=None, p=None, *, x_shape, b_shape, gates, hidden, cells,
    input_forget=0, layout=0, wanted, **attributes,
):  # fmt: skip
    ways = lay_out(None, r, None, p, LSTM_DEFAULTS, 4, **attributes)

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
            return dv, dv, (matmul(dv, ways[d].r.T), dC * f[here] + Pi * di + Pf * df)

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


@gru.forward_keeping("gates", "hidden", "products")
def gru_keeping(*inputs, **attributes):
    """What goes into the gates, or comes out of them, h, and h Rh' (with Rbh, if
    linear_before_reset), after each step: see ``keep``."""
    return keep(gru, {"z": 0, "r": 0, "n": 1}, "hm", GRU_DEFAULTS, inputs, attributes)


@gru.vjp
def vjp_of_gru(
    dy, dy_h, x, w, r, sequence_lens=None, *, x_shape, b_shape, gates, hidden, products, layout=0,
    linear_before_reset=0, wanted, **attributes,
):  # fmt: skip
    ways = lay_out(None, r, None, None, GRU_DEFAULTS, 3, **attributes)
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
                through_n = matmul(dm, Rh)
            else:
                dm, d_product = dn, matmul(dn, Rh)
                dr, through_n = d_product * h[here] * to_r[here], d_product * r[here]
            before = dh * z[here] + matmul(dz, Rz) + matmul(dr, Rr) + through_n
            return np.concatenate([dz, dr, dn], 1), np.concatenate([dz, dr, dm], 1), (before,)

        return back

    found = layer_back(
        make_back, ways, x, w, sequence_lens, layout, x_shape[:2], dy, [dy_h], [hidden]
    )
    if not linear_before_reset:  # Rh is multiplied by r * h
        size = r.shape[2]
        for dr, reset, way in zip(found.r, resets, found.directions, strict=True):
            dr[2 * size :] = matmul(way.by_state[:, 2 * size :].T, reset * way.before[0])
    return found.x, found.w, found.r, found.b, None, found.initial[0]


gru_1.forward_keeping("gates", "hidden", "products")(gru_keeping)
gru_1.vjp(vjp_of_gru)


# ------------------------------------------------------------------------------- costs, fast forms


def cost_of_keeping(
    x: np.ndarray, w: np.ndarray, r: np.ndarray, *_: Any, layout: int = 0, **__: Any
) -> Cost:
    """The layer, and the gates and two more values of each step."""
    found = cost_of_recurrence(x, w, r, layout)
    kept = math.prod(x.shape[:2]) * (r.shape[0] * r.shape[1] + 2 * r.size // r.shape[1])
    return Cost(found.memory + working_dtype(r.dtype).itemsize * kept, found.work + 10 * kept)


def cost_of_way_back(
    *inputs: np.ndarray | None, x_shape: Sequence[int], layout: int = 0, **others: Any
) -> Cost:
    """``inputs`` are the gradients of the outputs, as many as there are states and y, x, w, r …"""
    r = inputs[5 if "cells" in others else 4]
    assert r is not None
    return cost_of_recurrence_back(x_shape, r, layout)


def training_binders(
    known_cells: Mapping[tuple[str, ...], TrainingCell], defaults: Sequence[str], gates: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The binders of a forward that keeps, and of the way back, with the cell of each choice of
    activation functions."""

    def find(
        r: np.ndarray,
        *,
        activations: Sequence[str] | None = None,
        clip: float | None = None,
        direction: str = "forward",
        hidden_size: int | None = None,
        input_forget: int = 0,
        layout: int = 0,
        linear_before_reset: int = 0,
        **_: Any,
    ) -> tuple[TrainingCell, list[bool]] | None:
        if r.dtype != working_dtype(r.dtype) or clip is not None or input_forget or layout:
            return None
        reversals = find_reversals(None, r, None, gates, direction, hidden_size)
        names = [n.lower() for n in activation_names(activations, defaults, len(reversals))]
        functions = names[: len(defaults)]
        cell = known_cells.get(tuple(functions)) if names == functions * len(reversals) else None
        if cell is None or (cell.products and not linear_before_reset):
            return None
        return cell, reversals

    def bind_forward(space: Space, *inputs: Any, **attributes: Any) -> Any:
        x, w, r, b, lengths, *initial = _padded(inputs)
        found = find(r, **attributes)
        if found is None or initial[-1] is not None:  # peepholes
            return None
        initial = initial[: found[0].states]
        return bind_keeping(space, *found, x, w, r, b, lengths, initial)

    def bind_rule(
        space: Space,
        *inputs: Any,
        x_shape: Sequence[int],
        b_shape: Any,
        wanted: Sequence[bool],
        gates: np.ndarray,
        hidden: np.ndarray,
        cells: np.ndarray | None = None,
        products: np.ndarray | None = None,
        **attributes: Any,
    ) -> Any:
        count = 2 if cells is None else 3
        outer, (x, w, r, lengths, *p) = inputs[:count], inputs[count:]
        found = find(r, **attributes)
        if found is None or any(v is not None for v in p):
            return None
        kept = [v for v in (gates, hidden, cells, products) if v is not None]
        back = bind_back(
            space, *found, x_shape, outer, (x, w, r), lengths, kept, b_shape is not None
        )
        return back and (back.dx, back.dw, back.dr, back.db, None, *back.d_initial)

    return bind_forward, bind_rule


for _forward in (rnn_keeping, lstm_keeping, gru_keeping):
    _forward.cost(cost_of_keeping)
for _rule in (vjp_of_rnn, vjp_of_lstm, vjp_of_gru):
    _rule.only_read_for(x="w", w="x")
    _rule.cost(cost_of_way_back)
_RNN_CELLS: dict[tuple[str, ...], TrainingCell] = {
    RNN_DEFAULTS: RnnCell(relu=False),
    ("relu",): RnnCell(relu=True),
}
_LSTM_CELLS: dict[tuple[str, ...], TrainingCell] = {LSTM_DEFAULTS: LstmCell()}
_GRU_CELLS: dict[tuple[str, ...], TrainingCell] = {GRU_DEFAULTS: GruCell()}
for _forward, _rule, _cells, _names, _gates in (
    (rnn_keeping, vjp_of_rnn, _RNN_CELLS, RNN_DEFAULTS, 1),
    (lstm_keeping, vjp_of_lstm, _LSTM_CELLS, LSTM_DEFAULTS, 4),
    (gru_keeping, vjp_of_gru, _GRU_CELLS, GRU_DEFAULTS, 3),
):
    _bind_forward, _bind_rule = training_binders(_cells, _names, _gates)
    _forward.bind(_bind_forward)
    _rule.bind(_bind_rule)
