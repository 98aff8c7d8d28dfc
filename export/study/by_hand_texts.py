"""One sentence through a SimpleRNN or an LSTM, by hand: the state over time, gates, the mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study import svg
from onnxwalk.export.study.by_hand import (
    Walk,
    decision,
    differs,
    figure,
    formula,
    n,
    paragraph,
    steps,
    table,
    term,
    total,
)
from onnxwalk.export.study.findings import Result
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


def chapter(result: Result) -> str:
    """The HTML of the chapter, without a heading."""
    walk = Walk(result)
    node = walk.node("RNN", "LSTM")
    assert node is not None, "the model has a recurrent layer"
    it = Recurrence(walk, node)
    unit, why = _unit(it)
    body = _lstm(it, unit, why) if node.op_type == "LSTM" else _rnn(it, unit, why)
    return _sentence(it) + body + _end(it) + decision(walk) + steps(walk)


def _words(it: Recurrence) -> list[str]:
    return it.walk.result.record["sample"]["words"]


def _unit(it: Recurrence) -> tuple[int, str]:
    """The cell of the forward direction to look at, and why that one."""
    last = it.h[0, it.taken]
    dense = it.walk.node("MatMul")
    alone = sum(node.op_type == it.node.op_type for node in it.walk.nodes) == 1
    if alone and dense is not None:
        weights = it.walk.value(dense.inputs[1])[: len(last), it.walk.predicted]
        unit = int(np.abs(last * weights).argmax())
        name = escape(it.walk.classes[it.walk.predicted])
        return unit, f"the cell of the forward direction that says most about “{name}” in the end"
    return int(np.abs(last).argmax()), "the cell whose state is largest in the end"


def _sentence(it: Recurrence) -> str:
    words, sample = _words(it), it.walk.result.record["sample"]
    ids = it.walk.result.sample
    chips = [
        f'<span class="chip">{escape(word)}<small>{number}</small></span>'
        for word, number in zip(words, ids, strict=False)
    ]
    rest = len(ids) - len(words)
    kind = "chip off" if it.masked else "chip pad"
    chips += [f'<span class="{kind}">∅<small>0</small></span>'] * min(rest, _AFTER)
    if rest > _AFTER:
        chips.append(f'<span class="more">… {rest} of these</span>')
    said = paragraph(
        f"The sample is text {sample['index']} of the test set, {sample['rule']}:",
        f"<b>{escape(it.walk.classes[it.walk.truth])}</b>. TextVectorization makes",
        f"an id of every word and fills up to {len(ids)} with 0:",
    )
    said += f'<p class="chips">{"".join(chips)}</p>'
    if it.masked:
        said += paragraph(
            "<b>The mask</b> tells words from padding: it is true where the id isn't 0 (the nodes",
            "Equal and Not). Summed, it gives the LSTM its <code>sequence_lens</code>: the",
            f"interpreter has <b>{it.taken}</b> here. So {it.taken} steps are taken, and the",
            f"{len(ids) - it.taken} hatched ones are not: the state stays what it was after the",
            "last word. (TopK and GatherND before it move words to the front, for texts with",
            "holes; here they change nothing.)",
        )
    else:
        said += paragraph(
            f"There is no mask: the network reads all {len(ids)} ids, the {rest} of the padding as",
            "if 0 were a word.",
        )
    first = it.x[0]
    shown = ", ".join(n(v, 3) for v in first[:6])
    word = escape(words[0]) if words else "the first"
    said += paragraph(
        f"The embedding has a row of {len(first)} numbers for each id, learnt in training. For",
        f"“{word}” it begins {shown}, … : this row is x at step 0.",
    )
    return f"<h4>From words to numbers</h4>{said}"


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


def _agrees(it: Recurrence) -> str:
    ours, theirs = it.h[:, 1:][:, : it.taken], it.interpreters()[:, : it.taken]
    directions, taken, cells = ours.shape
    both = f"{directions} directions × " if directions > 1 else ""
    said = (
        f"All of it in float64, {both}{taken} steps × {cells} cells, differs from the "
        f"interpreter's h by {differs(ours, theirs)} at most"
    )
    if it.node.op_type == "LSTM":
        last = it.walk.value(it.node.outputs[2])[:, 0]
        said += f", and the last C from its C by {differs(it.c[:, it.taken], last)}"
    return said + " (which computes in float32)."


def _rnn(it: Recurrence, unit: int, why: str) -> str:
    step = min(1, it.taken - 1)
    from_x, from_h, bias = (float(part[unit]) for part in it.sums(0, step))
    value, found = it.h[0, step + 1, unit], it.interpreters()[0, step, unit]
    words = _words(it)
    word = escape(words[step]) if step < len(words) else "the padding"
    both = len(it.h) > 1
    reverse = (
        "The second direction does the same from the last step to the first, with weights of its "
        "own; it begins with the padding and ends with the first word."
        if both and not it.masked
        else ""
    )
    return (
        "<h4>One step of the state</h4>"
        + paragraph(
            f"The state h is {it.h.shape[2]} numbers, the cells, which begin at 0. At each step",
            "every cell adds up what the word says (x · W), what all cells said before (h · R) and",
            f"a bias, and tanh bends the sum into −1 … 1. {reverse}",
        )
        + formula("h[t] = tanh( x[t] · W + h[t − 1] · R + b )")
        + paragraph(f"Cell {unit}, {why}, at step {step}, “{word}”:")
        + formula(
            f"x · W = {_products(it.w[0, unit], it.x[it.at(0, step)])}",
            f"h · R = {_products(it.r[0, unit], it.h[0, step])}",
            f"h = tanh({total(from_x, from_h, bias)}) = <b>{n(value)}</b>; "
            f"the interpreter: {n(float(found))} (difference {differs(value, found)})",
        )
        + paragraph(_agrees(it))
        + "<h4>The state over time</h4>"
        + _states(it, unit)
        + _fading(it)
    )


def _labels(it: Recurrence, count: int) -> list[str]:
    words = _words(it)
    return [words[t] if t < len(words) else "∅" for t in range(count)]


def _shade(it: Recurrence, count: int) -> tuple[float, float] | None:
    words = len(_words(it))
    return (words - 0.5, count - 1) if count > words else None


def _states(it: Recurrence, unit: int) -> str:
    """All cells over the words and a little padding, as colours."""
    count = min(len(it.x), len(_words(it)) + _AFTER)
    charts = []
    for d in range(len(it.h)):
        after = np.zeros((count, it.h.shape[2]))
        for step in range(it.taken):
            if it.at(d, step) < count:
                after[it.at(d, step)] = it.h[d, step + 1]
        which = ("forward", "backward")[d]
        charts.append(figure(_heat(it, after.T, f"all cells, {which}", unit if d == 0 else None)))
    arrow = "Read the forward picture from left to right, the backward one from right to left."
    caption = (
        "A row is a cell, a column a step; blue is below 0, orange above. "
        f"{arrow if len(it.h) > 1 else ''} The mark at the left is cell {unit}."
    )
    return f'<div class="charts">{"".join(charts)}</div>{paragraph(caption)}'


def _heat(it: Recurrence, values: NDArray[Any], title: str, unit: int | None) -> str:
    left, top, wide, tall = 48, 26, 330, 200
    cells, count = values.shape
    column = wide / count
    parts = [svg.text(left, 15, title)]
    taken = min(it.taken, count)
    colours = svg.painted(values[:, :taken], signed=True)
    parts.append(svg.pixels(left, top, column * taken, tall, colours, title))
    if count > taken:
        x = left + column * taken
        parts.append(
            f'<rect class="shade" x="{x:.1f}" y="{top}" width="{column * (count - taken):.1f}" '
            f'height="{tall}"/>'
        )
    if unit is not None:
        y = top + tall * (unit + 0.5) / cells
        parts.append(f'<path class="f1" d="M{left - 12} {y - 5:.1f}l10 5l-10 5z"/>')
    for i, label in enumerate(_labels(it, count)):
        x = left + column * (i + 0.5)
        place = f'<g transform="translate({x + 3:.1f} {top + tall + 12}) rotate(-40)">'
        parts.append(f"{place}{svg.text(0, 0, label, anchor='end', kind='muted')}</g>")
    return svg.frame(left + wide + 8, top + tall + 62, title, *parts)


def _fading(it: Recurrence) -> str:
    """How far the state moves at each step, over the whole length."""
    moves = np.linalg.norm(np.diff(it.h[0, : it.taken + 1], axis=0), axis=1)
    words = len(_words(it))
    if it.masked or words >= len(moves):
        return ""
    xs = [str(t) for t in range(len(moves))]
    picture = svg.lines(
        "how far h moves at each step, ‖h[t] − h[t − 1]‖",
        [svg.Line("forward", moves.tolist())],
        xs=xs,
        x_label="step",
        shaded=(words - 0.5, len(moves) - 1),
    )
    last = it.h[0, it.taken]
    near = np.linalg.norm(last - it.h[0, words])
    size = np.linalg.norm(last)
    return (
        "<h4>What the padding does</h4>"
        + figure(picture, "Grey: padding.")
        + paragraph(
            f"In the last word's step the forward state moves by {n(moves[words - 1], 3)}, in the",
            f"last step of all by {n(moves[-1], 3)}. From the last word to the end it goes",
            f"{n(near, 3)} away, and is itself {n(size, 3)} long: that is how much of the",
            "final state the padding has made. A mask would have kept what was there.",
        )
    )


def _lstm(it: Recurrence, unit: int, why: str) -> str:
    c = it.c[0, : it.taken + 1, unit]
    step = int(np.abs(np.diff(c)).argmax())
    words = _words(it)
    x, h, cells = it.x[it.at(0, step)], it.h[0, step], it.h.shape[2]
    rows = {"i": unit, "o": cells + unit, "f": 2 * cells + unit, "c": 3 * cells + unit}
    names = {"i": "i, take in", "f": "f, keep", "c": "g, candidate", "o": "o, show"}
    parts = it.sums(0, step)
    gate_lines = []
    for kind, name in names.items():
        a, b, bias = (float(part[rows[kind]]) for part in parts)
        bend = "tanh" if kind == "c" else "σ"
        value = it.gates[kind][0, step, unit]
        gate_lines.append(
            f"{name}: {bend}({total(a, b, bias)}) = {bend}({n(a + b + bias)}) = <b>{n(value)}</b>"
        )
    i, o, f, g = (it.gates[kind][0, step, unit] for kind in ("i", "o", "f", "c"))
    found = float(it.interpreters()[0, step, unit])
    word = escape(words[step]) if step < len(words) else "∅"
    return (
        "<h4>Four gates</h4>"
        + paragraph(
            f"An LSTM has two states of {cells} numbers: C, its memory, and h, what it shows of",
            "it. At each step four sums are made of the word x and of h, each with weights of its",
            "own. Three go through σ(z) = 1 / (1 + e<sup>−z</sup>), which gives 0 … 1, and are",
            "gates: how much to take in, to keep, to show. The fourth, through tanh, is what could",
            "be taken in.",
        )
        + formula(
            "i, f, o = σ( x · W + h · R + b )",
            "g = tanh( x · W + h · R + b )",
            "C[t] = f × C[t − 1] + i × g",
            "h[t] = o × tanh( C[t] )",
        )
        + paragraph(
            f"Cell {unit}, {why}, at step {step}, “{word}”, where its memory changes most. First",
            f"the sum of gate i in full, x · W over {len(x)} and h · R over {cells} products:",
        )
        + formula(
            f"x · W = {_products(it.w[0, unit], x)}",
            f"h · R = {_products(it.r[0, unit], h)}",
        )
        + paragraph("Then x · W + h · R + b of all four:")
        + formula(
            *gate_lines,
            f"C = {term(f, c[step], 4)} + {term(i, g, 4)} = <b>{n(c[step + 1])}</b>",
            f"h = {n(o)} × tanh({n(c[step + 1])}) = <b>{n(it.h[0, step + 1, unit])}</b>; "
            f"the interpreter: {n(found)} (difference {differs(it.h[0, step + 1, unit], found)})",
        )
        + paragraph(
            "The gates are inside of the LSTM node, which hands out only h and the last C; they",
            "are what its function shows of itself, in float64, from the same X, W, R and B.",
            _agrees(it),
        )
        + _gates_over_time(it, unit)
        + "<h4>The state over time</h4>"
        + _states(it, unit)
    )


def _gates_over_time(it: Recurrence, unit: int) -> str:
    count = min(len(it.x), it.taken + _AFTER)
    words = [*_words(it), *["∅"] * count][:count]

    def over(values: NDArray[Any]) -> list[float | None]:
        return [float(values[t]) if t < it.taken else None for t in range(count)]

    shown = it.interpreters()[0, :, unit]
    rows = []
    for t in range(it.taken):
        gates = [n(it.gates[kind][0, t, unit], 3) for kind in ("i", "f", "c", "o")]
        rows.append([escape(words[t]), *gates, n(it.c[0, t + 1, unit], 3), n(float(shown[t]), 3)])
    if it.taken < len(it.x):
        last_h, last_c = (it.walk.value(it.node.outputs[k])[0, 0, unit] for k in (1, 2))
        masked = f'<span class="offtext">∅ × {len(it.x) - it.taken}, masked</span>'
        rows.append([masked, *["–"] * 4, n(float(last_c), 3), n(float(last_h), 3)])
    shade = _shade(it, count) if it.masked else None
    gates = svg.lines(
        f"gates of cell {unit}",
        [
            svg.Line("i", over(it.gates["i"][0, :, unit]), 0),
            svg.Line("f", over(it.gates["f"][0, :, unit]), 1),
            svg.Line("o", over(it.gates["o"][0, :, unit]), 2),
        ],
        xs=words,
        x_label="",
        bounds=(0, 1),
        shaded=shade,
        height=270,
        slanted=True,
    )
    memory = svg.lines(
        f"memory and state of cell {unit}",
        [
            svg.Line("C", over(it.c[0, 1:, unit]), 3),
            svg.Line("h", over(shown), 4),
            svg.Line("g", over(it.gates["c"][0, :, unit]), 5, dashed=True),
        ],
        xs=words,
        x_label="",
        shaded=shade,
        height=270,
        slanted=True,
    )
    beyond = it.walk.value(it.node.outputs[0])[it.taken :]
    note = (
        paragraph(
            "Grey: masked. No step is taken there, so there are no gates; the last line of the",
            "table has what the interpreter hands on as the last h and C, unchanged since the last",
            f"word. Its h of the masked steps goes from {n(float(beyond.min()), 0)} to",
            f"{n(float(beyond.max()), 0)}: ONNX fills them with zeros, and nobody reads them.",
        )
        if len(beyond)
        else ""
    )
    return (
        "<h4>The gates over time</h4>"
        + '<div class="charts">'
        + figure(gates, _keys({"i, take in": 0, "f, keep": 1, "o, show": 2}))
        + figure(memory, _keys({"C": 3, "h, the interpreter's": 4, "g, candidate": 5}))
        + "</div>"
        + table(["word", "i", "f", "g", "o", "C", "h"], rows)
        + note
    )


def _keys(names: dict[str, int]) -> str:
    """What the colours and shapes of a chart mean."""
    return "".join(
        f'<span class="key"><svg viewBox="0 0 14 12" aria-hidden="true">'
        f"{svg.shape(7, 6, colour, colour)}</svg>{name}</span> "
        for name, colour in names.items()
    )


def _end(it: Recurrence) -> str:
    """How the last state becomes what Dense gets."""
    dense = it.walk.node("MatMul")
    if dense is None:
        return ""
    row = it.walk.value(dense.inputs[0])[0]
    cells = it.h.shape[2]
    if len(row) != len(it.h) * cells:
        return ""
    last = np.concatenate([it.h[d, it.taken] for d in range(len(it.h))])
    two = (
        f"the last h of the forward direction and the last of the backward one, {cells} numbers "
        f"each, one behind the other"
        if len(it.h) > 1
        else f"the last h, {cells} numbers"
    )
    stacked = sum(node.op_type == it.node.op_type for node in it.walk.nodes) > 1
    if stacked:
        return ""
    weights = it.walk.value(dense.inputs[1])[:, it.walk.predicted].astype(np.float64)
    bias = it.walk.node("Add", after=dense)
    b = float(it.walk.value(bias.inputs[1])[it.walk.predicted]) if bias is not None else 0.0
    z = float(last @ weights) + b
    found = float(it.walk.value(bias.outputs[0])[0, it.walk.predicted]) if bias is not None else z
    name = escape(it.walk.classes[it.walk.predicted])
    return (
        "<h4>What is left of the sentence</h4>"
        + paragraph(
            f"Dense gets {two}; by hand they differ from the interpreter's by",
            f"{differs(last, row)}. Dropout does nothing outside of training. For “{name}”:",
        )
        + formula(
            f"h · W = {_products(weights, last)}",
            f"z = {total(float(last @ weights), b)} = <b>{n(z)}</b>; the interpreter: {n(found)}",
        )
    )
