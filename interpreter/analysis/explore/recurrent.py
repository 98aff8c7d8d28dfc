"""The gates of RNN, LSTM and GRU nodes over time, which no output of theirs gives.

The formulas are those of ``ops/ai_onnx/recurrent.py``, one time step after the other; the tests
hold what comes out here against the outputs of the operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.ops.shared.gates import Activation, activations_of, bound
from onnxwalk.ops.shared.windows import working_dtype

#: what can be watched, by operator and in the order in which the formulas have it
SERIES: Mapping[str, Mapping[str, str]] = {
    "RNN": {"h": "hidden state h"},
    "LSTM": {
        "h": "hidden state h",
        "C": "cell state C",
        "i": "input gate i",
        "f": "forget gate f",
        "c": "candidate c",
        "o": "output gate o",
    },
    "GRU": {
        "h": "hidden state h",
        "z": "update gate z",
        "r": "reset gate r",
        "n": "candidate n",
    },
}

#: cell(x, h, C) of some sequences at one time: everything in SERIES, by its letter
_Cell = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Way:
    """One direction: ``series`` are (T, N, H) by their letters, NaN where a sequence has ended."""

    reverse: bool
    series: dict[str, np.ndarray]
    last_h: np.ndarray  # (N, H), and the cell's state
    last_c: np.ndarray


@dataclass(frozen=True)
class Recurrence:
    """What a recurrent node did: ``lengths`` (N) of the sequences out of ``steps``."""

    ways: list[Way]
    lengths: np.ndarray
    steps: int

    def y(self) -> np.ndarray:
        """The operator's first output, (T, D, N, H): zeros where a sequence has ended."""
        y = np.stack([way.series["h"] for way in self.ways], 1)
        ended = np.arange(self.steps)[:, None] >= self.lengths
        y.swapaxes(1, 2)[ended] = 0
        return y

    def y_h(self) -> np.ndarray:
        """(D, N, H)"""
        return np.stack([way.last_h for way in self.ways])

    def y_c(self) -> np.ndarray:
        """(D, N, H), of an LSTM"""
        return np.stack([way.last_c for way in self.ways])


def recurrence(
    operator: str, inputs: Sequence[Any], attributes: Mapping[str, Any], most: int | None = None
) -> Recurrence:
    """Everything over time, out of a node's inputs in the spec's order and its attributes.

    ``most``: only so many sequences, the first ones.
    """
    given: list[Any] = [*inputs, *[None] * (8 - len(inputs))]
    x, w, r, b, lengths, h = given[:6]
    c, p = given[6:8] if operator == "LSTM" else (None, None)
    batch_first = bool(attributes.get("layout", 0))

    def ordered(a: Any) -> Any:
        return a if a is None else (a.swapaxes(0, 1) if batch_first else a)[:, :most]

    x, h, c = ordered(x), ordered(h), ordered(c)
    steps, batch, _ = x.shape
    lengths = np.full(batch, steps) if lengths is None else lengths[:most].astype(int)
    dtype = working_dtype(w.dtype)
    hidden = r.shape[2]
    direction = attributes.get("direction", "forward")
    reversals = {"reverse": [True], "bidirectional": [False, True]}.get(direction, [False])
    defaults = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
    names = attributes.get("activations")
    if operator == "RNN" and names == ["Tanh", "Tanh"]:
        names = None  # the spec's default, which serves one direction too
    chosen = activations_of(
        names,
        defaults[operator],
        len(reversals),
        attributes.get("activation_alpha"),
        attributes.get("activation_beta"),
    )
    ways = []
    for d, reverse in enumerate(reversals):
        gates = w.shape[1]
        wide_b = np.zeros(2 * gates, dtype) if b is None else b[d].astype(dtype)
        cell = _CELLS[operator](
            w[d].astype(dtype).T,
            r[d].astype(dtype).T,
            wide_b[:gates],
            wide_b[gates:],
            None if p is None else p[d].astype(dtype),
            chosen[d],
            attributes,
        )
        start_h, start_c = (
            np.zeros((batch, hidden), dtype) if state is None else state[d].astype(dtype)
            for state in (h, c)
        )
        series = SERIES[operator]
        ways.append(_walk(cell, series, x.astype(dtype), lengths, reverse, start_h, start_c))
    return Recurrence(ways, lengths, steps)


def _walk(
    cell: _Cell,
    letters: Mapping[str, str],
    x: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    h: np.ndarray,
    c: np.ndarray,
) -> Way:
    steps, batch, _ = x.shape
    series = {name: np.full((steps, batch, h.shape[1]), np.nan, h.dtype) for name in letters}
    for step in range(steps):
        rows = np.flatnonzero(step < lengths)
        times = lengths[rows] - 1 - step if reverse else step
        found = cell(x[times, rows], h[rows], c[rows])
        h[rows] = found["h"]
        c[rows] = found.get("C", c[rows])
        for name, values in series.items():
            values[times, rows] = found[name]
    return Way(reverse, series, h, c)


def _of(function: Activation, clipped: Activation, v: np.ndarray) -> np.ndarray:
    """The activation of a fresh array; both work in place."""
    function(clipped(v))
    return v


def _rnn(wx: Any, wh: Any, bx: Any, bh: Any, p: Any, functions: Any, attributes: Any) -> _Cell:
    clipped = bound(attributes.get("clip"))

    def cell(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
        return {"h": _of(functions[0], clipped, x @ wx + h @ wh + bx + bh)}

    return cell


def _lstm(wx: Any, wh: Any, bx: Any, bh: Any, p: Any, functions: Any, attributes: Any) -> _Cell:
    clipped = bound(attributes.get("clip"))
    f_, g_, h_ = functions
    hidden = len(wh)
    p_i, p_o, p_f = np.zeros((3, hidden), wh.dtype) if p is None else p.reshape(3, hidden)

    def cell(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
        i, o, f, g = np.split(x @ wx + h @ wh + bx + bh, 4, axis=1)
        i = _of(f_, clipped, i + p_i * c)
        f = 1 - i if attributes.get("input_forget") else _of(f_, clipped, f + p_f * c)
        g = _of(g_, clipped, g)
        new_c = f * c + i * g
        o = _of(f_, clipped, o + p_o * new_c)
        shown = new_c.copy()
        h_(shown)
        return {"h": o * shown, "C": new_c, "i": i, "f": f, "c": g, "o": o}

    return cell


def _gru(wx: Any, wh: Any, bx: Any, bh: Any, p: Any, functions: Any, attributes: Any) -> _Cell:
    clipped = bound(attributes.get("clip"))
    f_, g_ = functions
    hidden = len(wh)
    z_, r_, n_ = (slice(k * hidden, (k + 1) * hidden) for k in range(3))

    def cell(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
        given = x @ wx + bx
        z, r = (_of(f_, clipped, given[:, k] + h @ wh[:, k] + bh[k]) for k in (z_, r_))
        if attributes.get("linear_before_reset"):
            past = r * (h @ wh[:, n_] + bh[n_])
        else:
            past = (r * h) @ wh[:, n_] + bh[n_]
        n = _of(g_, clipped, given[:, n_] + past)
        return {"h": (1 - z) * n + z * h, "z": z, "r": r, "n": n}

    return cell


_CELLS: Mapping[str, Callable[..., _Cell]] = {"RNN": _rnn, "LSTM": _lstm, "GRU": _gru}
