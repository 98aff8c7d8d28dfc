"""Small models, and a command line that says what came of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxwalk.interpreter.cli import main


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The message of a command that failed as it should: one line, status 1, nothing else."""
        assert self.status == 1, (self.status, self.err)
        assert self.err.count("\n") == 1 and self.err.endswith("\n"), self.err
        assert self.err.startswith("onnxwalk: ")
        assert self.out == ""
        return self.err.removeprefix("onnxwalk: ").rstrip("\n")


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Run a command in this process, within an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: object) -> Result:
        capsys.readouterr()
        status = main([str(a) for a in argv])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def feed(cli):
    """What ``run MODEL ARGV…`` makes of its inputs: the outputs by name, and the text."""

    def run(*argv: object) -> tuple[dict[str, np.ndarray], str]:
        result = cli("run", *argv, "-o", "out.npz")
        assert result.status == 0, result.err
        with np.load("out.npz", allow_pickle=False) as archive:
            return dict(archive), result.out

    return run


def save(path, nodes, inputs, outputs, initializers=None, opset=17, **more) -> str:
    """Write a model; inputs and outputs are (name, element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()],
    )
    domains = {node.domain for node in nodes} - {""}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, **more)
    onnx.save(model, path)
    return str(path)


@pytest.fixture
def make(tmp_path):
    """Write a model into the test's folder."""

    def write(name, *args, **more) -> str:
        return save(tmp_path / name, *args, **more)

    return write


@pytest.fixture
def identity(make):
    """A model whose output y is its input x: shows what the command made of a file."""

    def write(shape, element=TensorProto.FLOAT) -> str:
        node = helper.make_node("Identity", ["x"], ["y"])
        return make("identity.onnx", [node], [("x", element, shape)], [("y", element, None)])

    return write


@pytest.fixture
def classifier(make):
    """x (batch, 4) -> y = softmax(x·w) (batch, 3); the product is called scores."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) / 10 - 0.5
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"], name="dense"),
        helper.make_node("Softmax", ["scores"], ["y"], axis=-1),
    ]
    inputs = [("x", TensorProto.FLOAT, ["batch", 4])]
    outputs = [("y", TensorProto.FLOAT, ["batch", 3])]
    return make("classifier.onnx", nodes, inputs, outputs, {"w": weights})


@pytest.fixture
def adder(make):
    """s = a + b, both (batch, 2); d = a - b."""
    nodes = [helper.make_node(op, ["a", "b"], [y]) for op, y in (("Add", "s"), ("Sub", "d"))]
    inputs = [(name, TensorProto.FLOAT, ["batch", 2]) for name in "ab"]
    outputs = [(name, TensorProto.FLOAT, ["batch", 2]) for name in "sd"]
    return make("adder.onnx", nodes, inputs, outputs)
