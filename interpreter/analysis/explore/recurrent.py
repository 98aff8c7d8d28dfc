"""The gates of RNN, LSTM and GRU nodes over time, which aren't outputs of the operators but passed
to a callback at each step (``ops.shared.recurrence.Watch``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import recurrent
from onnxwalk.ops.shared.windows import working_dtype

#: the series of each operator, in the order of its formulas
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

_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "RNN": recurrent.rnn,
    "LSTM": recurrent.lstm,
    "GRU": recurrent.gru,
}


@dataclass(frozen=True)
class Direction:
    """One direction: ``series`` (T, N, H) by their letters, NaN after the end of a sequence."""

    reverse: bool
    series: dict[str, np.ndarray]


@dataclass(frozen=True)
class Recurrence:
    """The series of a recurrent node; ``lengths`` (N) of the sequences, at most ``steps``."""

    directions: list[Direction]
    lengths: np.ndarray
    steps: int

    def y(self) -> np.ndarray:
        """The operator's first output, (T, D, N, H): zeros after the end of a sequence."""
        y = np.stack([direction.series["h"] for direction in self.directions], 1)
        ended = np.arange(self.steps)[:, None] >= self.lengths
        y.swapaxes(1, 2)[ended] = 0
        return y


def compute_series(
    operator: str, inputs: Sequence[Any], attributes: Mapping[str, Any], most: int | None = None
) -> Recurrence:
    """Run the operator on a node's inputs and attributes, and record all series.

    ``most``: the number of sequences, counted from the first.
    """
    padded: list[Any] = [*inputs, *[None] * (7 - len(inputs))]
    x, w, r, b, lengths, h, c, *p = padded
    layout = attributes.get("layout", 0)
    first = (slice(most),) if layout else (slice(None), slice(most))
    x = x[first]
    h, c = (a if a is None else a[first] for a in (h, c))
    batch, steps = x.shape[:2] if layout else x.shape[1::-1]
    lengths = np.full(batch, steps) if lengths is None else lengths[:most]
    reversals = {"reverse": [True], "bidirectional": [False, True]}
    shape, dtype = (steps, batch, r.shape[2]), working_dtype(w.dtype)
    directions = [
        Direction(reverse, {letter: np.full(shape, np.nan, dtype) for letter in SERIES[operator]})
        for reverse in reversals.get(attributes.get("direction", "forward"), [False])
    ]

    def watch(d: int, times: np.ndarray, rows: np.ndarray, values: Mapping[str, Any]) -> None:
        for letter, series in directions[d].series.items():
            series[times, rows] = values[letter]

    others = [h, c, *p] if operator == "LSTM" else [h]
    _OPERATORS[operator](x, w, r, b, lengths, *others, **attributes, _watch=watch)
    return Recurrence(directions, lengths.astype(int), steps)
