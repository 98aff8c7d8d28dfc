"""One sentence through a SimpleRNN or an LSTM, by hand: the state over time, gates, the mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study import charts
from onnxwalk.export.study.by_hand import Walk, decision, differs, n, steps, term, total
from onnxwalk.export.study.charts import Line
from onnxwalk.export.study.findings import Result
from onnxwalk.export.study.page import render
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.ops.ai_onnx import recurrent

_AFTER = 6  # steps of padding that are shown behind the words
_SHOWN = 3  # products of a long sum that are written out


@dataclass
class Recurrence:
    """The recurrent node of a walk, computed once more in float64: the operator shows every step.

    D directions, T steps, H cells. ``h`` and ``c`` (D, T + 1, H) begin with the zeros before the
    first step; of direction 1 the steps run backwards. ``gates``: name -> (D, T, H). Only the
    ``taken`` steps hold anything.
    """

    walk: Walk
    node: Node

    def __post_init__(self) -> None:
        value = self.walk.value
        names = [*self.node.inputs, *[""] * 5]
        self.x = value(names[0])[:, 0].astype(np.float64)
        self.w, self.r, self.b = (value(name).astype(np.float64) for name in names[1:4])
        self.taken = int(value(names[4])[0]) if names[4] else len(self.x)
        self.masked = bool(names[4])
        directions, _, cells = self.r.shape
        self.h = np.zeros((directions, len(self.x) + 1, cells))
        self.c = np.zeros_like(self.h)
        kinds = ("i", "o", "f", "c") if self.node.op_type == "LSTM" else ("h",)
        self.gates = {kind: np.zeros((directions, len(self.x), cells)) for kind in kinds}
        operator = recurrent.lstm if self.node.op_type == "LSTM" else recurrent.rnn
        lengths = np.array([self.taken])
        x, attributes = self.x[:, None], self.node.attributes
        operator(x, self.w, self.r, self.b, lengths, **attributes, _watch=self._see)

    def _see(self, d: int, times: Any, rows: Any, values: Mapping[str, NDArray[Any]]) -> None:
        step = self.at(d, times.item())
        self.h[d, step + 1] = values["h"][0]
        self.c[d, step + 1] = values.get("C", values["h"])[0]
        for kind, gates in self.gates.items():
            gates[d, step] = values[kind][0]

    def at(self, d: int, step: int) -> int:
        """The position in the sentence that a direction reads at its ``step``."""
        return self.taken - 1 - step if d else step

    def sums(self, d: int, step: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """x W', h R' and the biases, each (gates · H,)."""
        half = self.b.shape[1] // 2
        x = self.x[self.at(d, step)]
        bias = self.b[d, :half] + self.b[d, half:]
        return self.w[d] @ x, self.r[d] @ self.h[d, step], bias

    def interpreters(self) -> NDArray[Any]:
        """The interpreter's h after each step, as ``h[:, 1:]``."""
        y = self.walk.value(self.node.outputs[0])[:, :, 0].transpose(1, 0, 2)
        ours = np.zeros_like(y)
        for d in range(len(y)):
            for step in range(self.taken):
                ours[d, step] = y[d, self.at(d, step)]
        return ours


def chapter(result: Result) -> Any:
    """The HTML of the chapter, without a heading."""
    walk = Walk(result)
    node = walk.node("RNN", "LSTM")
    assert node is not None, "the model has a recurrent layer"
    it = Recurrence(walk, node)
    unit, why = _unit(it)
    words = result.record["sample"]["words"]
    is_lstm = node.op_type == "LSTM"
    step = int(np.abs(np.diff(it.c[0, : it.taken + 1, unit])).argmax()) if is_lstm else 1
    step, theirs = min(step, it.taken - 1), it.interpreters()
    return render(
        "by_hand_text.html",
        walk=walk,
        it=it,
        sample=result.record["sample"],
        ids=result.sample,
        words=words,
        padding_shown=_AFTER,
        is_lstm=is_lstm,
        interpreters=theirs,
        difference_h=differs(it.h[:, 1:][:, : it.taken], theirs[:, : it.taken]),
        difference_c=differs(it.c[:, it.taken], walk.value(node.outputs[2])[:, 0])
        if is_lstm
        else None,
        unit=unit,
        why=why,
        step=step,
        word=_labels(words, step + 1)[step],
        sums=[part.reshape(-1, it.h.shape[2])[:, unit] for part in it.sums(0, step)],
        from_x=_products(it.w[0, unit], it.x[it.at(0, step)]),
        from_h=_products(it.r[0, unit], it.h[0, step]),
        state_charts=_state_charts(it, words, unit),
        gates=_gates_over_time(it, words, unit) if is_lstm else None,
        fading=None if is_lstm else _fading(it, len(words)),
        end=_end(it),
        decision=decision(walk),
        steps=steps(walk),
    )


def _unit(it: Recurrence) -> tuple[int, str]:
    """The cell of the forward direction to look at, and why that one."""
    last = it.h[0, it.taken]
    dense = it.walk.node("MatMul")
    if _layers(it) == 1 and dense is not None:
        weights = it.walk.value(dense.inputs[1])[: len(last), it.walk.predicted]
        unit = int(np.abs(last * weights).argmax())
        name = it.walk.classes[it.walk.predicted]
        return unit, f"the cell of the forward direction that says most about “{name}” in the end"
    return int(np.abs(last).argmax()), "the cell whose state is largest in the end"


def _layers(it: Recurrence) -> int:
    return sum(node.op_type == it.node.op_type for node in it.walk.nodes)


def _labels(words: Sequence[str], count: int) -> list[str]:
    """The words and the padding behind them."""
    return [*words, *["∅"] * count][:count]


def _products(row: NDArray[Any], values: NDArray[Any]) -> str:
    """A long sum with its largest products written out."""
    products = row * values
    order = np.argsort(-np.abs(products))[:_SHOWN]
    written = " + ".join(term(values[k], row[k]) for k in order)
    rest = products.sum() - products[order].sum()
    return (
        f"{written} + {len(row) - _SHOWN} smaller ones = {total(products[order].sum(), rest)} "
        f"= {n(products.sum())}"
    )


def _state_charts(it: Recurrence, words: Sequence[str], unit: int) -> list[str]:
    """All cells over the words and a little padding, as colours; one chart for each direction."""
    count = min(len(it.x), len(words) + _AFTER)
    pictures = []
    for d in range(len(it.h)):
        after = np.zeros((min(count, it.taken), it.h.shape[2]))
        for step in range(it.taken):
            if it.at(d, step) < count:
                after[it.at(d, step)] = it.h[d, step + 1]
        largest = np.abs(after).max()
        title = f"{('forward', 'backward')[d]}: h from {n(-largest, 2)} to {n(largest, 2)}"
        marked = unit if d == 0 else None
        xs = _labels(words, count)
        pictures.append(charts.picture(charts.heat, title, after.T, xs=xs, marked=marked))
    return pictures


def _fading(it: Recurrence, words: int) -> dict[str, Any] | None:
    """How far the state moves at each step, over the whole length."""
    moves = np.linalg.norm(np.diff(it.h[0, : it.taken + 1], axis=0), axis=1)
    if it.masked or words >= len(moves):
        return None
    last = it.h[0, it.taken]
    return {
        "moves": moves,
        "away": np.linalg.norm(last - it.h[0, words]),
        "length": np.linalg.norm(last),
        "chart": charts.picture(
            charts.lines,
            "how far h moves at each step",
            [Line("forward", moves.tolist())],
            xs=[str(t) for t in range(len(moves))],
            x_label="step",
            y_label="‖h[t] − h[t − 1]‖",
            shaded=(words - 0.5, len(moves) - 1, "padding"),
        ),
    }


def _gates_over_time(it: Recurrence, words: Sequence[str], unit: int) -> dict[str, Any]:
    """The gates and states of a cell at each step: ``rows`` of a table, and two charts."""
    count = min(len(it.x), it.taken + _AFTER)
    xs = _labels(words, count)
    shown = it.interpreters()[0, :, unit]
    gates = {kind: values[0, :, unit] for kind, values in it.gates.items()}
    columns = [*(gates[kind] for kind in "ifco"), it.c[0, 1:, unit], shown]
    rows = [[xs[t], *(n(float(values[t]), 3) for values in columns)] for t in range(it.taken)]
    if it.taken < len(it.x):
        last_h, last_c = (float(it.walk.value(it.node.outputs[k])[0, 0, unit]) for k in (1, 2))
        masked = f"∅ × {len(it.x) - it.taken}, masked"
        rows.append([masked, *["–"] * 4, n(last_c, 3), n(last_h, 3)])

    def over(values: NDArray[Any]) -> list[float | None]:
        return [float(values[t]) if t < it.taken else None for t in range(count)]

    masked_steps = count > len(words) and it.masked
    shaded = (len(words) - 0.5, count - 1, "masked") if masked_steps else None
    lines = {
        f"gates of cell {unit}": [
            Line("i, take in", over(gates["i"]), 0),
            Line("f, keep", over(gates["f"]), 1),
            Line("o, show", over(gates["o"]), 2),
        ],
        f"memory and state of cell {unit}": [
            Line("C", over(it.c[0, 1:, unit]), 3),
            Line("h, the interpreter's", over(shown), 4),
            Line("g, candidate", over(gates["c"]), 5, dashed=True),
        ],
    }
    return {
        "rows": rows,
        "charts": [
            charts.picture(
                charts.lines,
                title,
                series,
                xs=xs,
                x_label="word",
                bounds=(0, 1) if "gates" in title else None,
                shaded=shaded,
                height=290,
            )
            for title, series in lines.items()
        ],
        "beyond": it.walk.value(it.node.outputs[0])[it.taken :],
    }


def _end(it: Recurrence) -> dict[str, Any] | None:
    """How the last state becomes what Dense gets; None if another layer is between them."""
    dense = it.walk.node("MatMul")
    last = np.concatenate([it.h[d, it.taken] for d in range(len(it.h))])
    if dense is None or _layers(it) > 1:
        return None
    row = it.walk.value(dense.inputs[0])[0]
    if len(row) != len(last):
        return None
    weights = it.walk.value(dense.inputs[1])[:, it.walk.predicted].astype(np.float64)
    bias = it.walk.node("Add", after=dense)
    b = float(it.walk.value(bias.inputs[1])[it.walk.predicted]) if bias is not None else 0.0
    z = float(last @ weights) + b
    return {
        "last": last,
        "row": row,
        "products": _products(weights, last),
        "sum": float(last @ weights),
        "bias": b,
        "z": z,
        "found": it.walk.value(bias.outputs[0])[0, it.walk.predicted] if bias is not None else z,
    }
