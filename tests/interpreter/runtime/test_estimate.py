"""What a run will take, told before it: held against what runs are then refused, and against what
they really take."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidInputError, LimitError, Limits
from onnxwalk.interpreter.__main__ import main

RNG = np.random.default_rng(0)


def model(nodes, inputs, constants):
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", infos, out, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def convolutions():
    w = [RNG.standard_normal(s).astype(np.float32) for s in ((16, 3, 3, 3), (32, 16, 3, 3))]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["y"], pads=[1] * 4),
    ]
    return model(nodes, {"x": ["n", 3, "h", "w"]}, {"w0": w[0], "w1": w[1]}), (64, 3, 96, 96)


def attention():
    """The scores grow with the square of the length."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "x"], ["y"]),
    ]
    return model(nodes, {"x": ["n", "length", 32]}, {}), (4, 1500, 32)


@pytest.mark.parametrize("build", [convolutions, attention])
def test_a_run_takes_no_more_and_not_much_less(build):
    proto, shape = build()
    estimated = onnxwalk.load(proto).estimate({"x": shape})
    x = np.zeros(shape, np.float32)
    session = onnxwalk.load(proto, optimize=False)
    tracemalloc.start()
    session.run(None, {"x": x})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= estimated.memory <= 4 * peak
    onnxwalk.load(proto, limits=Limits(max_memory=estimated.memory)).run(None, {"x": x})
    with pytest.raises(LimitError):
        onnxwalk.load(proto, limits=Limits(max_memory=estimated.memory // 8)).run(None, {"x": x})


DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"


@pytest.mark.parametrize("name", ["digits", "simple_rnn", "lstm"])
def test_more_costs_more_and_an_estimate_is_a_limit(name):
    """Of these models scratch memory stays the same for some hundred rows, and then grows."""
    path = DEMO / f"{name}.onnx"
    session = onnxwalk.load(path)
    (info,) = session.inputs
    before = onnxwalk.Estimate(0, 0)
    for rows in (1, 40, 300, 512, 1024, 4096, 2**22, 2**63):
        shape = (rows, *info.shape[1:])
        cost = session.estimate({info.name: shape})
        assert cost.memory >= before.memory and cost.seconds >= before.seconds
        before = cost
        if 300 <= rows <= 4096:  # with fewer, loading the file needs more
            x = np.ones(shape, info.dtype)
            onnxwalk.load(path, limits=Limits(max_memory=cost.memory)).run({info.name: x})


@pytest.mark.parametrize("shapes", [None, 3, {"x": 3}, {1: (2, 3)}, {"x": (True, 3)}])
def test_what_are_no_shapes(shapes):
    proto = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 3]}, {})
    session = onnxwalk.load(proto)
    assert session.estimate({"x": (np.int64(2), 3)}) == session.estimate({"x": (2, 3)})
    with pytest.raises(onnxwalk.InvalidInputError, match=r"expected a (dict|shape)"):
        session.estimate(shapes)


def test_fixed_shapes_need_no_telling():
    proto = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1000, 1000]}, {})
    assert 4e6 <= onnxwalk.load(proto).estimate({}).memory <= 2e7


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "expected a shape for input x: float32.n, length, 32."),
        ({"x": (1, 5, 31)}, "expected a shape for input x"),
        ({"x": (1, 5)}, "expected a shape for input x"),
        ({"x": (1, 5, 32), "z": (1,)}, "no input is named 'z'"),
    ],
)
def test_shapes_that_do_not_fit(shapes, message):
    proto, _ = attention()
    with pytest.raises(InvalidInputError, match=message):
        onnxwalk.load(proto).estimate(shapes)


def test_the_command_tells_and_does_not_run(tmp_path, capsys):
    proto, _ = attention()
    path = tmp_path / "attention.onnx"
    path.write_bytes(proto.SerializeToString())
    arguments = ["run", str(path), "--random", "--shape", "2,40000,32", "--dry-run"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "x: float32 (2, 40000, 32)" in out
    assert "GiB and" in out and "s of a slow core" in out
