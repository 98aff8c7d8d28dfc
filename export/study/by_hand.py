"""Helpers of the chapters that follow one sample through a graph.

Every number in the chapters is a value of the interpreter, selected by its name, or computed from
such values and compared with one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxwalk
from onnxwalk.export.study.findings import Result
from onnxwalk.export.study.language import later, number
from onnxwalk.export.study.language import translate as _
from onnxwalk.interpreter.ir.model import Node

#: operator -> its effect, for the table of all steps
_DESCRIPTIONS = {
    "Reshape": later("the same numbers in another shape"),
    "Transpose": later("the same numbers with their axes in another order"),
    "Conv": later("slides filters over the picture: a weighted sum for each position and filter"),
    "Relu": later("values below zero become zero"),
    "MaxPool": later("the largest of each window"),
    "AveragePool": later("the mean of each window"),
    "ReduceMean": later("the mean of each feature map: one number for each filter"),
    "GlobalAveragePool": later("the mean of each feature map: one number for each filter"),
    "MatMul": later("a weighted sum of all inputs for every unit"),
    "Add": later("adds the bias"),
    "Softmax": later("e to the power of each, divided by their sum: probabilities"),
    "Gather": later("looks up a row of the embedding for each id"),
    "Equal": later("which ids are 0, the padding"),
    "Not": later("the mask: true where there is a word"),
    "Cast": later("the mask as numbers"),
    "TopK": later("the order of the steps that puts words before padding"),
    "Unsqueeze": later("one more axis of size 1"),
    "GatherND": later("puts the steps into that order"),
    "ReduceSum": later("counts the words: the number of steps"),
    "RNN": later("takes the steps one after another, the state of each going into the next"),
    "LSTM": later("takes the steps one after another, with gates that decide what to keep"),
    "GRU": later("takes the steps one after another, with gates that decide what to keep"),
    "Squeeze": later("drops an axis of size 1"),
    "CumSum": later("counts the words up to each step"),
    "Sub": later("subtracts"),
}


@dataclass
class SampleRun:
    """One sample in one graph; ``value`` returns any value of the run by its name."""

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
        """The first node with one of these operators, optionally after another node."""
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

    def loss_gradients(self, names: Sequence[str]) -> list[NDArray[Any]]:
        """The gradient of the sample's loss with respect to each of these values, by the
        interpreter; the loss is −log p of the true class."""
        name = self.session.outputs[0].name
        seed = np.zeros_like(self.value(name))
        seed[0, self.truth] = -1 / max(float(self.probabilities[self.truth]), 1e-30)
        return self.session.gradients(name, list(names), self.feeds, seed=seed)

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
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return number(text.replace("-", "−"))


def term(a: float, b: float, digits: int = 3) -> str:
    """a × b, with brackets around a negative b."""
    return f"{n(a, digits)} × {f'({n(b, digits)})' if b < 0 else n(b, digits)}"


def total(*values: float, digits: int = 4) -> str:
    """a + b − c"""
    first, *others = values
    return n(first, digits) + "".join(
        f" {'−' if v < 0 else '+'} {n(abs(v), digits)}" for v in others
    )


def g(value: float) -> str:
    """A number with three significant digits, and a real minus sign: gradients may be small."""
    return number(f"{value:.3g}".replace("-", "−"))


def term_g(a: float, b: float) -> str:
    """a × b, with brackets around a negative b."""
    return f"{g(a)} × {f'({g(b)})' if b < 0 else g(b)}"


def total_g(a: float, b: float) -> str:
    """a + b, or a − |b|."""
    return f"{g(a)} {'−' if b < 0 else '+'} {g(abs(b))}"


def smaller(count: int) -> str:
    """The products of a long sum that aren't written out."""
    return _("{count} smaller ones").format(count=count)


def max_difference(one: Any, other: Any) -> str:
    """The largest difference of two arrays, in words."""
    largest = float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max())
    return number(f"{largest:.1e}") if largest else "0"


def describe_steps(run: SampleRun) -> list[list[str]]:
    """Number, operator, shape and range of the output, and description of each node."""
    rows = []
    for place, node in enumerate(run.nodes, 1):
        out = run.value(node.outputs[0])
        shape = " × ".join(map(str, out.shape)) or _("a number")
        if out.dtype.kind == "f" and out.size:
            span = f"{n(float(out.min()), 3)} … {n(float(out.max()), 3)}"
        elif out.size:
            span = f"{out.min()} … {out.max()}"
        else:
            span = ""
        effect = _DESCRIPTIONS.get(node.op_type)
        rows.append([str(place), node.op_type, shape, span, _(effect) if effect else ""])
    return rows


def explain_softmax(run: SampleRun) -> dict[str, Any] | None:
    """The Softmax of the last layer: its inputs ``z`` (classes,), their ``powers``, and the
    probabilities ``p`` from these. None for a model without a Softmax."""
    softmax = run.node("Softmax")
    if softmax is None:
        return None
    z = run.value(softmax.inputs[0])[0].astype(np.float64)
    powers = np.exp(z - z.max())
    return {"z": z, "powers": powers, "p": powers / powers.sum()}
