"""What a notebook shows of a session and of a trace."""

import itertools
from html.parser import HTMLParser

import numpy as np
from onnx import TensorProto

import onnxwalk
from tests.interpreter.runtime.test_bound import model, network, node, noise


class Cells(HTMLParser):
    """The table's rows, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "br":
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_session():
    session = onnxwalk.load(network())
    told = dict(Cells(session._repr_html_()).rows)
    assert told["inputs"] == str(session.inputs[0])
    assert told["nodes"] == str(len(session.model.graph.nodes))
    count = sum(t.array.size for t in session.model.graph.initializers.values())
    assert told["parameters"].startswith(f"{count:,} ")
    assert "Conv ×" in told["operators"]


def test_a_trace():
    session = onnxwalk.load(network())
    trace = session.trace({"x": noise(2, 8, 8, 3)})
    head, *rows = Cells(trace._repr_html_()).rows
    assert head == ["operator", "outputs", "min", "mean", "max", "time"]
    for row, event in zip(rows, trace, strict=True):
        ((name, value),) = event.outputs.items()
        assert row[0] == event.node.op_type
        assert row[1] == f"{name}: float32[{', '.join(map(str, value.shape))}]"
        assert [float(cell) for cell in row[2:5]] == [
            float(f"{v:.4g}") for v in (value.min(), value.astype(float).mean(), value.max())
        ]
        assert row[5].endswith(" ms")


def test_names_are_escaped_and_long_traces_cut():
    names = ["x", *(f"<i>{k}" for k in range(250)), "y"]
    nodes = [node("Neg", a, b) for a, b in itertools.pairwise(names)]
    session = onnxwalk.load(model(nodes, [("x", TensorProto.FLOAT, ["n"])], ["y"]))
    text = session.trace({"x": np.array([np.nan], np.float32)})._repr_html_()
    assert "<i>" not in text and "&lt;i&gt;0: float32[1]" in text and "51 more nodes" in text
    assert len(Cells(text).rows) == 201
