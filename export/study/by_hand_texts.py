"""One sentence through a SimpleRNN or an LSTM, by hand: the state over time, gates, the mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study import charts
from onnxwalk.export.study.by_hand import (
    SampleRun,
    describe_steps,
    explain_softmax,
    max_difference,
    n,
    smaller,
    term,
    total,
)
from onnxwalk.export.study.by_hand_backwards import BackwardsThroughTime, through_dense
from onnxwalk.export.study.by_hand_layer import RecurrentLayer
from onnxwalk.export.study.charts import Line
from onnxwalk.export.study.findings import Result
from onnxwalk.export.study.language import translate as _
from onnxwalk.export.study.page import render

_PADDING_SHOWN = 6  # steps of padding that are shown after the words
_TERMS_SHOWN = 3  # products of a long sum that are written out


def chapter(result: Result) -> Any:
    """The HTML of the chapter, without a heading."""
    run = SampleRun(result)
    node = run.node("RNN", "LSTM")
    assert node is not None, "the model has a recurrent layer"
    layer = RecurrentLayer(run, node)
    unit, why = _choose_unit(layer)
    words = result.record["sample"]["words"]
    is_lstm = node.op_type == "LSTM"
    step = int(np.abs(np.diff(layer.c[0, : layer.n_steps + 1, unit])).argmax()) if is_lstm else 1
    step, theirs = min(step, layer.n_steps - 1), layer.interpreter_states()
    return render(
        "by_hand_text.html",
        run=run,
        layer=layer,
        sample=result.record["sample"],
        ids=result.sample,
        words=words,
        padding_shown=_PADDING_SHOWN,
        is_lstm=is_lstm,
        interpreters=theirs,
        difference_h=max_difference(layer.h[:, 1:][:, : layer.n_steps], theirs[:, : layer.n_steps]),
        difference_c=max_difference(layer.c[:, layer.n_steps], run.value(node.outputs[2])[:, 0])
        if is_lstm
        else None,
        unit=unit,
        why=why,
        step=step,
        word=_labels(words, step + 1)[step],
        sums=[part.reshape(-1, layer.h.shape[2])[:, unit] for part in layer.sums(0, step)],
        from_x=_products(layer.w[0, unit], layer.x[layer.position(0, step)]),
        from_h=_products(layer.r[0, unit], layer.h[0, step]),
        state_charts=_state_charts(layer, words, unit),
        gates=_gates_over_time(layer, words, unit) if is_lstm else None,
        fading=None if is_lstm else _padding_effect(layer, len(words)),
        end=_last_layer(layer),
        back=_backwards(layer, words, unit),
        decision=explain_softmax(run),
        steps=describe_steps(run),
    )


def _backwards(layer: RecurrentLayer, words: Sequence[str], unit: int) -> dict[str, Any] | None:
    """One step of training: through the Dense layer, and through the steps."""
    dense = through_dense(layer.run)
    if dense is None:
        return None
    back = BackwardsThroughTime(layer)
    return {
        "dense": dense,
        "step": back.one_step(unit),
        "over_time": back.over_time(_labels(words, len(layer.x))),
        "differences": [
            max_difference(hand, found)
            for hand, found in zip((back.w, back.r, back.b), back.found, strict=True)
        ],
    }


def _choose_unit(layer: RecurrentLayer) -> tuple[int, str]:
    """The cell of the forward direction to look at, and why that one."""
    last = layer.h[0, layer.n_steps]
    dense = layer.run.node("MatMul")
    if _count_layers(layer) == 1 and dense is not None:
        weights = layer.run.value(dense.inputs[1])[: len(last), layer.run.predicted]
        unit = int(np.abs(last * weights).argmax())
        name = layer.run.classes[layer.run.predicted]
        why = _("the cell of the forward direction that says most about “{name}” in the end")
        return unit, why.format(name=name)
    return int(np.abs(last).argmax()), _("the cell whose state is largest in the end")


def _count_layers(layer: RecurrentLayer) -> int:
    return sum(node.op_type == layer.node.op_type for node in layer.run.nodes)


def _labels(words: Sequence[str], count: int) -> list[str]:
    """The words and the padding after them."""
    return [*words, *["∅"] * count][:count]


def _products(row: NDArray[Any], values: NDArray[Any]) -> str:
    """A long sum with its largest products written out."""
    products = row * values
    order = np.argsort(-np.abs(products))[:_TERMS_SHOWN]
    written = " + ".join(term(values[k], row[k]) for k in order)
    rest = products.sum() - products[order].sum()
    return (
        f"{written} + {smaller(len(row) - _TERMS_SHOWN)} = "
        f"{total(products[order].sum(), rest)} = {n(products.sum())}"
    )


def _state_charts(layer: RecurrentLayer, words: Sequence[str], unit: int) -> list[str]:
    """All cells over the words and a little padding, as colours; one chart for each direction."""
    count = min(len(layer.x), len(words) + _PADDING_SHOWN)
    pictures = []
    for d in range(len(layer.h)):
        after = np.zeros((min(count, layer.n_steps), layer.h.shape[2]))
        for step in range(layer.n_steps):
            if layer.position(d, step) < count:
                after[layer.position(d, step)] = layer.h[d, step + 1]
        largest = np.abs(after).max()
        title = _("backward: h from {low} to {high}") if d else _("forward: h from {low} to {high}")
        title = title.format(low=n(-largest, 2), high=n(largest, 2))
        marked = unit if d == 0 else None
        xs = _labels(words, count)
        pictures.append(charts.svg_chart(charts.draw_heatmap, title, after.T, xs=xs, marked=marked))
    return pictures


def _padding_effect(layer: RecurrentLayer, words: int) -> dict[str, Any] | None:
    """How far the state moves at each step, over the complete length."""
    moves = np.linalg.norm(np.diff(layer.h[0, : layer.n_steps + 1], axis=0), axis=1)
    if layer.masked or words >= len(moves):
        return None
    last = layer.h[0, layer.n_steps]
    return {
        "moves": moves,
        "away": np.linalg.norm(last - layer.h[0, words]),
        "length": np.linalg.norm(last),
        "chart": charts.svg_chart(
            charts.draw_lines,
            _("how far h moves at each step"),
            [Line(_("forward"), moves.tolist())],
            xs=[str(t) for t in range(len(moves))],
            x_label=_("step"),
            y_label="‖h[t] − h[t − 1]‖",
            shaded=(words - 0.5, len(moves) - 1, _("padding")),
        ),
    }


def _gates_over_time(layer: RecurrentLayer, words: Sequence[str], unit: int) -> dict[str, Any]:
    """The gates and states of a cell at each step: ``rows`` of a table, and two charts."""
    count = min(len(layer.x), layer.n_steps + _PADDING_SHOWN)
    xs = _labels(words, count)
    shown = layer.interpreter_states()[0, :, unit]
    gates = {kind: values[0, :, unit] for kind, values in layer.gates.items()}
    columns = [*(gates[kind] for kind in "ifco"), layer.c[0, 1:, unit], shown]
    rows = [[xs[t], *(n(float(values[t]), 3) for values in columns)] for t in range(layer.n_steps)]
    if layer.n_steps < len(layer.x):
        last_h, last_c = (float(layer.run.value(layer.node.outputs[k])[0, 0, unit]) for k in (1, 2))
        masked = f"∅ × {len(layer.x) - layer.n_steps}, " + _("masked")
        rows.append([masked, *["–"] * 4, n(last_c, 3), n(last_h, 3)])

    def over(values: NDArray[Any]) -> list[float | None]:
        return [float(values[t]) if t < layer.n_steps else None for t in range(count)]

    masked_steps = count > len(words) and layer.masked
    shaded = (len(words) - 0.5, count - 1, _("masked")) if masked_steps else None
    lines = [
        (_("gates of cell {number}"), (0, 1), [
            Line(_("i, take in"), over(gates["i"]), 0),
            Line(_("f, keep"), over(gates["f"]), 1),
            Line(_("o, show"), over(gates["o"]), 2),
        ]),
        (_("memory and state of cell {number}"), None, [
            Line("C", over(layer.c[0, 1:, unit]), 3),
            Line(_("h, the interpreter's"), over(shown), 4),
            Line(_("g, candidate"), over(gates["c"]), 5, dashed=True),
        ]),
    ]  # fmt: skip
    return {
        "rows": rows,
        "charts": [
            charts.svg_chart(
                charts.draw_lines,
                title.format(number=unit),
                series,
                xs=xs,
                x_label=_("word"),
                bounds=bounds,
                shaded=shaded,
                height=290,
            )
            for title, bounds, series in lines
        ],
        "beyond": layer.run.value(layer.node.outputs[0])[layer.n_steps :],
    }


def _last_layer(layer: RecurrentLayer) -> dict[str, Any] | None:
    """From the last state to the input of Dense; None if another layer is between them."""
    dense = layer.run.node("MatMul")
    last = np.concatenate([layer.h[d, layer.n_steps] for d in range(len(layer.h))])
    if dense is None or _count_layers(layer) > 1:
        return None
    row = layer.run.value(dense.inputs[0])[0]
    if len(row) != len(last):
        return None
    weights = layer.run.value(dense.inputs[1])[:, layer.run.predicted].astype(np.float64)
    bias = layer.run.node("Add", after=dense)
    b = float(layer.run.value(bias.inputs[1])[layer.run.predicted]) if bias is not None else 0.0
    z = float(last @ weights) + b
    return {
        "last": last,
        "row": row,
        "products": _products(weights, last),
        "sum": float(last @ weights),
        "bias": b,
        "z": z,
        "found": layer.run.value(bias.outputs[0])[0, layer.run.predicted]
        if bias is not None
        else z,
    }
