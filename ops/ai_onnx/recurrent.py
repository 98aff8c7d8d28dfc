"""Recurrent layers: RNN, LSTM, GRU.

Each operator's ``step`` is the formula of one time step, from what the inputs contribute to the
gates (x[t] W' with the biases); ``run_recurrence`` takes it through a batch of sequences, in two
directions and with lengths of their own. With ``_watch`` set, every step is shown to it: see
``Watch``.

Shapes: T steps, N sequences, I features in, H hidden, D directions (2 if bidirectional).
With layout=1 the batch comes first: x (N, T, I), y (N, T, D, H), states (N, D, H).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast.recurrent import make_binder
from onnxwalk.ops.fast.recurrent_steps import Cell, gru_cell, lstm_cell, rnn_cell
from onnxwalk.ops.shared import batch
from onnxwalk.ops.shared.recurrence import (
    Activation,
    Direction,
    check_shape,
    cost_of_recurrence,
    run_recurrence,
)
from onnxwalk.ops.shared.windows import working_dtype

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
    clamp = _make_clamp(clip)
    reversals = _find_reversals(w, r, b, 1, direction, hidden_size)
    names = _activation_names(activations, _RNN_DEFAULTS, len(reversals))
    functions = _activation_functions(names, activation_alpha, activation_beta)
    ways = _make_ways(w, r, b, None, functions, reversals)

    def step(way, xw, h):
        (f,) = way.functions
        return {"h": f(clamp(xw + h @ way.r))}

    return run_recurrence(step, ways, x, sequence_lens, layout, _watch, h=initial_h)


@rnn.prepare
def prepare_rnn(w, r, b=None, *, _table=None, **attributes):
    """RNN with known weights."""

    def apply(x, sequence_lens=None, initial_h=None):
        return rnn(_look_up_embedding(x, _table), w, r, b, sequence_lens, initial_h, **attributes)

    cells = {
        _RNN_DEFAULTS: partial(rnn_cell, relu=False),
        ("relu",): partial(rnn_cell, relu=True),
    }
    return _add_binder(apply, cells, 1, w, r, b, _table, **attributes)


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
    clamp, rounded = _make_clamp(clip), _rounded or (lambda h: h)
    reversals = _find_reversals(w, r, b, 4, direction, hidden_size)
    names = _activation_names(activations, _LSTM_DEFAULTS, len(reversals))
    functions = _activation_functions(names, activation_alpha, activation_beta)
    ways = _make_ways(w, r, b, p, functions, reversals)

    def step(way, xw, h, C):
        f_, g_, h_ = way.functions
        i, o, f, c = np.split(xw + rounded(h) @ way.r, 4, axis=1)
        if way.p is not None:
            Pi, Po, Pf = np.split(way.p, 3)
            i, f = i + Pi * C, f + Pf * C
        i = f_(clamp(i))
        f = 1 - i if input_forget else f_(clamp(f))
        c = g_(clamp(c))
        C = f * C + i * c
        if way.p is not None:
            o = o + Po * C
        o = f_(clamp(o))
        return {"h": o * h_(C), "C": C, "i": i, "o": o, "f": f, "c": c}

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
        x = _look_up_embedding(x, _table)
        return lstm(x, w, r, b, sequence_lens, initial_h, initial_c, p, **attributes)

    return add_lstm_binder(apply, w, r, b, p, _table=_table, **attributes)


def add_lstm_binder(apply, w, r, b=None, p=None, *, _table=None, rounded=None, **attributes):
    """``apply`` with its fast form if the layer is a usual one; ``rounded``: see ``Cell``."""
    cells = {_LSTM_DEFAULTS: partial(lstm_cell, rounded=rounded)} if p is None else {}
    return _add_binder(apply, cells, 4, w, r, b, _table, **attributes)


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
    clamp = _make_clamp(clip)
    reversals = _find_reversals(w, r, b, 3, direction, hidden_size)
    names = _activation_names(activations, _GRU_DEFAULTS, len(reversals))
    functions = _activation_functions(names, activation_alpha, activation_beta)
    apart = r.shape[2] if linear_before_reset else 0
    ways = _make_ways(w, r, b, None, functions, reversals, apart)

    def step(way, xw, h):
        f, g = way.functions
        xz, xr, xh = np.split(xw, 3, axis=1)
        Rz, Rr, Rh = np.split(way.r, 3, axis=1)
        z = f(clamp(xz + h @ Rz))
        r = f(clamp(xr + h @ Rr))
        n = g(clamp(xh + (r * (h @ Rh + way.rb) if linear_before_reset else (r * h) @ Rh)))
        return {"h": (1 - z) * n + z * h, "z": z, "r": r, "n": n}

    return run_recurrence(step, ways, x, sequence_lens, layout, _watch, h=initial_h)


@gru.prepare
def prepare_gru(w, r, b=None, *, _table=None, **attributes):
    """GRU with known weights."""

    def apply(x, sequence_lens=None, initial_h=None):
        x = _look_up_embedding(x, _table)
        return gru(x, w, r, b, sequence_lens, initial_h, **attributes)

    cell = partial(gru_cell, linear_before_reset=bool(attributes.get("linear_before_reset")))
    return _add_binder(apply, {_GRU_DEFAULTS: cell}, 3, w, r, b, _table, **attributes)


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


def _make_ways(
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    p: np.ndarray | None,
    functions: Sequence[Activation],
    reversals: Sequence[bool],
    apart: int = 0,
) -> list[Direction]:
    """The weights and functions of each direction. The last ``apart`` of Rb aren't added to Wb."""
    if p is not None:
        check_shape("P", p, (len(w), 3 * r.shape[2]))
    dtype, count = working_dtype(w.dtype), len(functions) // len(reversals)
    biases = np.zeros((len(w), 2 * w.shape[1])) if b is None else b
    ways = []
    for d, reverse in enumerate(reversals):
        wb, rb = np.split(biases[d].astype(dtype), 2)
        joined = len(rb) - apart
        wb[:joined] += rb[:joined]
        w_d, r_d = (np.array(weights[d].T, dtype, order="C") for weights in (w, r))
        p_d = None if p is None else p[d].astype(dtype, copy=False)
        chosen = functions[d * count : (d + 1) * count]
        ways.append(Direction(w_d, r_d, wb, rb[joined:], p_d, chosen, reverse))
    return ways


def _find_reversals(
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    gates: int,
    direction: str,
    hidden_size: int | None,
) -> list[bool]:
    """For each direction whether it runs backwards. Raises ValueError for weights that don't fit
    these directions, or the hidden size, which R states and the attribute may repeat."""
    named = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    named["foward"] = [False]  # GRU-1's
    if direction not in named:
        raise ValueError(f"direction {direction!r} is not forward, reverse or bidirectional")
    if w.ndim != 3 or r.ndim != 3:
        raise ValueError(f"W {w.shape} and R {r.shape} should have rank 3")
    directions, hidden = len(named[direction]), r.shape[2]
    if hidden_size is not None and hidden_size != hidden:
        raise ValueError(f"hidden_size {hidden_size} does not match R {r.shape}")
    check_shape("R", r, (directions, gates * hidden, hidden))
    check_shape("W", w, (directions, gates * hidden, w.shape[2]))
    if b is not None:
        check_shape("B", b, (directions, 2 * gates * hidden))
    return named[direction]


# ------------------------------------------------------------------------- activation functions

#: by name in lower case, with those of alpha and beta that they take. Their defaults are "the same
#: as of corresponding ONNX operators"; Affine's are those that it had as an experimental operator,
#: ScaledTanh had none.
_ACTIVATIONS: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
    "relu": (activation.relu, ()),
    "tanh": (activation.tanh, ()),
    "sigmoid": (activation.sigmoid, ()),
    "softsign": (activation.softsign, ()),
    "softplus": (activation.softplus, ()),
    "leakyrelu": (activation.leaky_relu, ("alpha",)),
    "elu": (activation.elu, ("alpha",)),
    "hardsigmoid": (activation.hard_sigmoid, ("alpha", "beta")),
    # unlike the operator, which returns 0 at alpha itself
    "thresholdedrelu": (lambda v, alpha=1.0: np.where(v < alpha, 0, v), ("alpha",)),
    "affine": (lambda v, alpha=1.0, beta=0.0: alpha * v + beta, ("alpha", "beta")),
    "scaledtanh": (lambda v, alpha, beta: alpha * np.tanh(beta * v), ("alpha", "beta")),
}


def _activation_names(
    activations: Sequence[str] | None, defaults: Sequence[str], directions: int
) -> Sequence[str]:
    """The names of the activation functions, one direction after the other."""
    # RNN's default in the spec is for two directions, and serves one, too
    if not activations or (len(defaults) == 1 and [*activations] == ["Tanh", "Tanh"]):
        return [*defaults] * directions
    if len(activations) != len(defaults) * directions:
        raise ValueError(
            f"activations {list(activations)} should be {len(defaults) * directions} names, "
            f"{len(defaults)} for each direction"
        )
    return activations


def _activation_functions(
    names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None
) -> list[Activation]:
    """The activation functions of these names. Each that has an alpha (or beta) takes the next of
    the list, as ONNX Runtime does."""
    parameters = {"alpha": iter(alphas or ()), "beta": iter(betas or ())}
    functions: list[Activation] = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise ValueError(f"{name!r} is not an activation function of the spec")
        function, keys = _ACTIVATIONS[name.lower()]
        given = {key: value for key in keys for value in itertools.islice(parameters[key], 1)}
        if name.lower() == "scaledtanh" and len(given) < 2:
            raise ValueError(f"{name} needs activation_alpha and activation_beta")
        functions.append(partial(function, **given))
    return functions


def _make_clamp(clip: float | None) -> Activation:
    """The function that clips the argument of an activation function to [-clip, clip], if at
    all."""
    if clip is None:
        return lambda v: v
    if clip <= 0:
        raise ValueError(f"clip {clip} should be positive")
    return lambda v: np.clip(v, -clip, clip)


# ------------------------------------------------------------------------------- known weights


def _add_binder(
    apply: Callable[..., Any],
    cells: Mapping[tuple[str, ...], Callable[..., Cell]],
    gates: int,
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    table: np.ndarray | None,
    *,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    **_: Any,
) -> Callable[..., Any]:
    """``apply`` with its fast form if the layer is a usual one; ``cells`` maps activation functions
    to the fast form's cells."""
    reversals = _find_reversals(w, r, b, gates, direction, hidden_size)
    usual = w.dtype == r.dtype == working_dtype(w.dtype)
    if cells and usual and clip is None and not input_forget and not layout:
        names = _activation_names(activations, next(iter(cells)), len(reversals))
        for functions, make_cell in cells.items():
            if [name.lower() for name in names] == [*functions] * len(reversals):
                cell = partial(make_cell, w, r, b, reversals)
                return with_bind(apply, make_binder(cell, table))
    return apply


def _look_up_embedding(x: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """The rows of ``table`` at the indices x; x itself without a table. The rewrite
    ``lift_embedding`` passes ``_table`` to a layer whose inputs are embeddings."""
    return x if table is None else table[x]


# ------------------------------------------------------------------------------------------ costs


@rnn.cost
@lstm.cost
@gru.cost
@gru_1.cost
def cost_of_layer(
    x: np.ndarray, w: np.ndarray, r: np.ndarray, *_: Any, layout: int = 0, **__: Any
) -> Cost:
    return cost_of_recurrence(x, w, r, layout)


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
