"""What the chapters that follow one sample through a graph share.

Every number in them is a value that the interpreter computed, asked for by its name, or is worked
out from such values and compared with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxwalk
from onnxwalk.export.study.findings import Result
from onnxwalk.interpreter.ir.model import Node

#: what an operator of these graphs does, for the table of all steps
_DOES = {
    "Reshape": "the same numbers in another shape",
    "Transpose": "the same numbers with their axes in another order",
    "Conv": "slides filters over the picture: a weighted sum per place and filter",
    "Relu": "what is below zero becomes zero",
    "MaxPool": "the largest of each window",
    "AveragePool": "the mean of each window",
    "ReduceMean": "the mean of each feature map: one number for each filter",
    "GlobalAveragePool": "the mean of each feature map: one number for each filter",
    "MatMul": "a weighted sum of all inputs for every unit",
    "Add": "adds the bias",
    "Softmax": "e to the power of each, divided by their sum: probabilities",
    "Gather": "looks up a row of the embedding for each id",
    "Equal": "which ids are 0, the padding",
    "Not": "the mask: true where there is a word",
    "Cast": "the mask as numbers",
    "TopK": "the order of the steps that puts words before padding",
    "Unsqueeze": "one more axis of size 1",
    "GatherND": "puts the steps into that order",
    "ReduceSum": "counts the words: how many steps will be taken",
    "RNN": "takes the steps one after another, the state of each going into the next",
    "LSTM": "takes the steps one after another, with gates that decide what is kept",
    "GRU": "takes the steps one after another, with gates that decide what is kept",
    "Squeeze": "drops an axis of size 1",
    "CumSum": "counts the words up to each step",
    "Sub": "subtracts",
}


@dataclass
class Walk:
    """One sample in one graph; ``value`` asks the interpreter for any value of it by name."""

    result: Result
    session: onnxwalk.Session = field(init=False)
    feeds: Mapping[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.session = onnxwalk.load(self.result.folder / "model.onnx")
        self.feeds = {self.session.inputs[0].name: self.result.sample[None]}
        names = [name for node in self.nodes for name in node.outputs if name]
        self._values = dict(zip(names, self.session.run(names, self.feeds), strict=True))

    @property
    def nodes(self) -> Sequence[Node]:
        return self.session.model.graph.nodes

    def node(self, *kinds: str, after: Node | None = None) -> Node | None:
        """The first node of these operators, behind another one."""
        nodes = list(self.nodes)
        start = nodes.index(after) + 1 if after is not None else 0
        return next((node for node in nodes[start:] if node.op_type in kinds), None)

    def value(self, name: str) -> NDArray[Any]:
        if name in self.feeds:
            return self.feeds[name]
        if name in self._values:
            return self._values[name]
        tensor: Any = self.session.model.graph.initializers[name]
        return tensor.array

    @property
    def probabilities(self) -> NDArray[Any]:
        """(classes,)"""
        return self.value(self.session.outputs[0].name)[0]

    @property
    def classes(self) -> Sequence[str]:
        return self.result.record["classes"]

    @property
    def predicted(self) -> int:
        return int(self.probabilities.argmax())

    @property
    def truth(self) -> int:
        return int(self.result.truth[self.result.record["sample"]["index"]])


def n(value: float, digits: int = 4) -> str:
    """A number with a real minus sign."""
    said = f"{value:.{digits}f}"
    if float(said) == 0:
        said = said.lstrip("-")
    return said.replace("-", "−")


def term(a: float, b: float, digits: int = 3) -> str:
    """a × b, with brackets around what is negative."""
    return f"{n(a, digits)} × {f'({n(b, digits)})' if b < 0 else n(b, digits)}"


def total(*values: float, digits: int = 4) -> str:
    """a + b − c"""
    first, *others = values
    return n(first, digits) + "".join(
        f" {'−' if v < 0 else '+'} {n(abs(v), digits)}" for v in others
    )


def differs(one: Any, other: Any) -> str:
    """The largest difference of two arrays, in words."""
    largest = float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max())
    return f"{largest:.1e}" if largest else "0"


def paragraph(*sentences: str) -> str:
    return f"<p>{' '.join(sentences)}</p>"


def formula(*lines: str) -> str:
    """Lines of a calculation; they scroll sideways where they don't fit."""
    return f'<div class="sum">{"".join(f"<div>{line}</div>" for line in lines)}</div>'


def figure(picture: str, caption: str = "") -> str:
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{picture}{below}</figure>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", kind: str = ""
) -> str:
    """Cells are HTML; the first of each row is its name."""
    lines = [
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    ]
    above = f"<caption>{caption}</caption>" if caption else ""
    titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return (
        f'<div class="wide"><table class="{kind}">{above}<thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def grid(values: NDArray[Any], digits: int = 3, marked: tuple[int, int] | None = None) -> str:
    """A small matrix as a table of numbers, one of them marked."""
    rows = []
    for y, row in enumerate(values):
        cells = "".join(
            f"<td{' class=marked' if (y, x) == marked else ''}>{n(v, digits)}</td>"
            for x, v in enumerate(row)
        )
        rows.append(f"<tr>{cells}</tr>")
    return f'<table class="grid">{"".join(rows)}</table>'


def steps(walk: Walk) -> str:
    """Every node of the graph with what came out of it."""
    rows = []
    for number, node in enumerate(walk.nodes, 1):
        out = walk.value(node.outputs[0])
        shape = " × ".join(map(str, out.shape)) or "a number"
        if out.dtype.kind == "f" and out.size:
            span = f"{n(float(out.min()), 3)} … {n(float(out.max()), 3)}"
        elif out.size:
            span = f"{out.min()} … {out.max()}"
        else:
            span = ""
        rows.append([str(number), escape(node.op_type), shape, span, _DOES.get(node.op_type, "")])
    head = ["step", "operator", "what comes out", "from … to", "what it does"]
    return f"<details><summary>The whole graph, step by step</summary>{table(head, rows)}</details>"


def decision(walk: Walk) -> str:
    """The last layer: sums, their exponentials, and the probabilities these make."""
    softmax = walk.node("Softmax")
    if softmax is None:
        return ""
    z = walk.value(softmax.inputs[0])[0].astype(np.float64)
    powers = np.exp(z - z.max())
    p = powers / powers.sum()
    rows = [
        [escape(name), n(z[i]), n(powers[i]), f"{n(powers[i])} / {n(powers.sum())}", n(p[i]),
         n(float(walk.probabilities[i]))]
        for i, name in enumerate(walk.classes)
    ]  # fmt: skip
    head = ["class", "z", "e<sup>z − max z</sup>", "divided by the sum", "p", "interpreter"]
    right = (
        "which is right"
        if walk.predicted == walk.truth
        else (f"though it is {escape(walk.classes[walk.truth])}")
    )
    return (
        "<h4>The decision</h4>"
        + paragraph(
            f"The last Dense layer gives one number z for each of {len(z)} classes. Softmax takes",
            "e to the power of each and divides by their sum, so that all are positive and add up",
            "to 1. (Subtracting the largest z first changes nothing and keeps the powers small.)",
        )
        + table(head, rows)
        + paragraph(
            f"The model says <b>{escape(walk.classes[walk.predicted])}</b>, {right}.",
            "By hand and by the interpreter the probabilities differ by",
            f"{differs(p, walk.probabilities)}.",
        )
    )
