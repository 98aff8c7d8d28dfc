"""Graphs of short floats are computed in float32 from node to node."""

import importlib

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.budget import Budget, use_budget
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes import PASSES
from onnxwalk.interpreter.reader import read_model
from onnxwalk.ops.shared.numeric import wide
from tests.interpreter.compiler.test_fusion import operators
from tests.interpreter.runtime.test_bound import model, network, node, noise

F16, BF16, F32 = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT
SHORT = {F16: np.dtype(np.float16), BF16: np.dtype(ml_dtypes.bfloat16)}


def short(proto, kind):
    """The same graph with all floats of a short type."""
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    proto.opset_import[0].version = 22  # the first with Conv of bfloat16
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.elem_type == F32:
            value.type.tensor_type.elem_type = kind
    for tensor in proto.graph.initializer:
        if tensor.data_type == F32:
            array = numpy_helper.to_array(tensor).astype(SHORT[kind])
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return proto


@pytest.mark.parametrize("kind", [F16, BF16])
def test_a_network(kind):
    proto = short(network(), kind)
    session, wide = onnxwalk.load(proto), onnxwalk.load(network())
    x = noise(2, 9, 9, 3).astype(SHORT[kind])
    expected = wide.run(None, {"x": x.astype(np.float32)})
    for _ in range(2):
        for a, e in zip(session.run(None, {"x": x}), expected, strict=True):
            assert a.dtype == SHORT[kind]
            # as close as the weights are to those of the network in float32
            tolerance = 4 * float(ml_dtypes.finfo(SHORT[kind]).eps) * np.abs(e).max()
            np.testing.assert_allclose(a.astype(np.float32), e, atol=tolerance)
    if kind == F16:
        ort = pytest.importorskip("onnxruntime")
        proto.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(kind, None))
        proto.graph.output[1].type.CopyFrom(helper.make_tensor_type_proto(kind, None))
        found = session.run(None, {"x": x})
        theirs = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
        for a, e in zip(found, theirs, strict=True):
            np.testing.assert_allclose(
                a.astype(np.float32), e.astype(np.float32), rtol=2e-3, atol=1e-3
            )


def chain(nodes, outputs, constants=(), kind=F16):
    return model(nodes, [("x", kind, [None])], outputs, constants)


def test_nothing_is_rounded_between_nodes_and_everything_where_it_is_read():
    half = np.array(0.5, np.float16)
    thousands = np.array(40000, np.float16)
    proto = chain(
        [
            node("Mul", "x big", "large"),  # beyond 65,504
            node("Mul", "large half", "y"),
            node("Add", "x half", "sum"),
            node("Cast", "sum", "rounded", to=F32),
            node("Shape", "sum", "shape"),
        ],
        ["y", "large", "rounded", "shape"],
        [("big", thousands), ("half", half)],
    )
    x = np.array([1, 3, 2048, -3], np.float16)
    session = onnxwalk.load(proto)
    for _ in range(2):
        y, large, rounded, shape = session.run(None, {"x": x})
        np.testing.assert_array_equal(large, [40000, np.inf, np.inf, -np.inf])
        np.testing.assert_array_equal(y, np.array([20000, 60000, np.inf, -60000], np.float16))
        assert y.dtype == large.dtype == np.float16
        np.testing.assert_array_equal(rounded, [1.5, 3.5, 2048, -2.5])  # not 2048.5
        assert shape == [4]
    for options in ({"executor": "walk"}, {"optimize": False}, {"rewrites": ["fold_constants"]}):
        y, *_ = onnxwalk.load(proto, **options).run(None, {"x": x})
        np.testing.assert_array_equal(y, [20000, np.inf, np.inf, -np.inf])


def test_what_is_only_moved_is_not_touched():
    proto = chain(
        [node("Concat", "x x", "c", axis=0), node("Identity", "c", "i"), node("Neg", "one", "y")],
        ["i", "y"], [("one", np.array([1], np.float16))],
    )  # fmt: skip
    assert operators(proto, "widened")[:2] == ["Concat", "Identity"]
    x = np.array([np.nan, np.inf, -0.0, 6e-8], np.float16)
    found = onnxwalk.load(proto).run("i", {"x": x})[0]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found.view(np.uint16), np.concatenate([x, x]).view(np.uint16))


def test_a_branch_reads_the_rounded_value():
    branch = helper.make_graph(
        [helper.make_node("Sub", ["sum", "x"], ["b"])], "b", [],
        [helper.make_tensor_value_info("b", F16, None)],
    )  # fmt: skip
    proto = model(
        [
            node("Add", "x half", "sum"),
            node("If", "flag", "y", then_branch=branch, else_branch=branch),
        ],
        [("x", F16, [None]), ("flag", TensorProto.BOOL, [])], ["y"],
        [("half", np.array(0.5, np.float16))],
    )  # fmt: skip
    feeds = {"x": np.array([1, 2048], np.float16), "flag": np.array(True)}
    session = onnxwalk.load(proto)
    for _ in range(2):
        np.testing.assert_array_equal(session.run("y", feeds)[0], [0.5, 0])


def test_a_users_operator_gets_short_floats():
    seen = []

    def mine(x):
        seen.append(x.dtype)
        return x

    registry = onnxwalk.Registry(parent=onnxwalk.ops.registry)
    registry.op("Abs", since=1)(mine)
    proto = chain([node("Neg", "x", "n"), node("Abs", "n", "a"), node("Exp", "a", "y")], ["y"])
    onnxwalk.load(proto, registry=registry).run(None, {"x": np.ones(3, np.float16)})
    assert seen and set(seen) == {np.dtype(np.float16)}


def test_every_operator_of_the_list_exists():
    widened = importlib.import_module("onnxwalk.interpreter.compiler.passes.widened")
    for domain, names in (*widened._COMPUTING.items(), ("", widened._MOVING)):
        for name in names:
            assert any(o.domain == domain and o.name == name for o in onnxwalk.ops.registry), name


def test_weights_that_only_fit_the_memory_limit_when_short_stay_short():
    weights = np.ones((1500, 1500), np.float16)
    proto = chain(
        [node("Add", "x w", "sum"), node("ReduceMax", "sum", "y")], ["y"], [("w", weights)]
    )
    stages = []
    for limit in (None, onnxwalk.Limits(max_memory=1 << 20)):
        read = read_model(proto)
        context = Context(onnxwalk.registry, read.opsets, np.random.default_rng(0))
        with use_budget(None if limit is None else Budget(limit)):
            stages.append(PASSES["widened"](read.graph, context))
    assert [n.op_type for n in stages[0].nodes] == ["Cast", "Add", "ReduceMax", "Cast"]
    assert [n.op_type for n in stages[1].nodes] == ["Add", "ReduceMax"]


@pytest.mark.parametrize("kind", [F16, BF16])
def test_every_short_float_is_widened_to_the_bit(kind):
    every = np.arange(1 << 16, dtype=np.uint16).view(SHORT[kind])
    exact = every.astype(np.float32)
    np.testing.assert_array_equal(wide(every), exact)
    finite = every[np.isfinite(exact)]
    bits = finite.astype(np.float32).view(np.uint32)
    np.testing.assert_array_equal(wide(finite).view(np.uint32), bits)
