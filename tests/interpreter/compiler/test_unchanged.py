"""What stages find out once: a graph that a rewrite leaves as it is stays the same object, with the
index of its values, and what is known of one call holds for the calls that are alike, only."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes import PASSES
from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.reader import read_model
from onnxwalk.ops.contract.records import replace

VALUE = helper.make_tensor_value_info
CONTEXT = Context(onnxwalk.registry, {"": 21})


def model(nodes, constants=(), kind=TensorProto.FLOAT, out=TensorProto.FLOAT) -> bytes:
    graph = helper.make_graph(
        nodes, "g", [VALUE("x", kind, [2, 3])], [VALUE("y", out, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21)]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets)
    return made.SerializeToString()


def body() -> onnx.GraphProto:
    nodes = [helper.make_node("Add", ["r", "c"], ["z"])]
    return helper.make_graph(nodes, "b", [], [VALUE("z", TensorProto.FLOAT, [2, 3])])


PLAIN = [
    helper.make_node("Relu", ["x"], ["r"]),
    helper.make_node("Add", ["r", "c"], ["s"]),
    helper.make_node("Conv", ["u", "w"], ["y"]),
]
BRANCHES = [
    helper.make_node("Relu", ["x"], ["r"]),
    helper.make_node("ReduceSum", ["r"], ["sum"], keepdims=0),
    helper.make_node("Greater", ["sum", "c"], ["on"]),
    helper.make_node("If", ["on"], ["y"], then_branch=body(), else_branch=body()),
]
C = [("c", np.float32(1))]


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("nodes", [PLAIN[:2], BRANCHES], ids=["plain", "branches"])
def test_a_rewrite_with_nothing_to_do_returns_the_graph(name, nodes):
    if nodes is not BRANCHES:
        nodes = [*nodes[:-1], helper.make_node("Add", ["r", "c"], ["y"])]
    graph = read_model(model(nodes, C)).graph
    assert PASSES[name](graph, CONTEXT) is graph


def test_what_is_unused_makes_another_graph():
    nodes = [*BRANCHES, helper.make_node("Neg", ["r"], ["unused"])]
    graph = read_model(model(nodes, [*C, ("spare", np.float32(2))])).graph
    less = PASSES["drop_unused"](graph, CONTEXT)
    assert [n.op_type for n in less.nodes] == [n.op_type for n in graph.nodes[:-1]]
    assert list(less.initializers) == ["c"]
    assert PASSES["drop_unused"](less, CONTEXT) is less
    assert all(a is b for a, b in zip(less.nodes, graph.nodes, strict=False))


def test_constants_are_folded_in_branches():
    """The node with the branch becomes another one; those beside it stay."""
    inner = helper.make_graph(
        [helper.make_node("Neg", ["c"], ["n"]), helper.make_node("Add", ["r", "n"], ["z"])],
        "b", [], [VALUE("z", TensorProto.FLOAT, [2, 3])],
    )  # fmt: skip
    nodes = [*BRANCHES[:3], helper.make_node("If", ["on"], ["y"], then_branch=inner,
                                             else_branch=body())]  # fmt: skip
    graph = read_model(model(nodes, C)).graph
    folded = PASSES["fold_constants"](graph, CONTEXT)
    assert [a is b for a, b in zip(folded.nodes, graph.nodes, strict=True)] == [True] * 3 + [False]
    then, other = (dict(folded.nodes[3].graphs)[f"{name}_branch"] for name in ("then", "else"))
    assert [n.op_type for n in then.nodes] == ["Add"] and then.initializers["n"].array == -1
    assert other is dict(graph.nodes[3].graphs)["else_branch"]


def test_an_index_is_that_of_its_graph():
    graph = read_model(model([*PLAIN[:1], helper.make_node("Add", ["r", "r"], ["y"])])).graph
    links = Links(graph, CONTEXT)
    assert Links(graph, CONTEXT).maker is links.maker
    assert [n.op_type for n in links.readers("r")] == ["Add", "Add"]
    assert links.only_reader("x") is graph.nodes[0] and links.only_reader("r") is None
    new = replace(graph, nodes=(*graph.nodes, Node("Neg", ("x",), ("z",))))
    assert ("", "Neg") in new.operators and ("", "Neg") not in graph.operators
    assert [n.op_type for n in Links(new, CONTEXT).readers("x")] == ["Relu", "Neg"]
    assert Links(new, CONTEXT).only_reader("x") is None
    assert [n.op_type for n in Links(graph, CONTEXT).readers("x")] == ["Relu"]


def test_captured_values_have_readers():
    graph = read_model(model(BRANCHES, C)).graph
    links = Links(graph, CONTEXT)
    assert [n.op_type for n in links.readers("r")] == ["ReduceSum", "If"]
    assert [n.op_type for n in links.readers("c")] == ["Greater", "If"]


def test_every_call_with_wrong_types_is_named():
    nodes = [helper.make_node("Relu", ["x"], ["a"], "right")]
    nodes += [helper.make_node("And", ["x", "x"], [f"b{i}"], f"wrong {i}") for i in range(2)]
    nodes += [helper.make_node("And", ["on", "on"], ["y"], "right too")]
    with pytest.raises(onnxwalk.InvalidModelError) as raised:
        onnxwalk.load(model(nodes, [("on", np.array(True))], out=TensorProto.BOOL))
    assert "wrong 0" in str(raised.value) and "wrong 1" in str(raised.value)
    assert "right" not in str(raised.value)


def test_every_call_that_does_not_match_is_named():
    """Also after calls that differ from it in an attribute, or in an input that is left out."""
    nodes = [
        helper.make_node("Clip", ["x", "c"], ["a"], "right"),
        helper.make_node("Clip", ["", "c"], ["b"], "first missing"),
        helper.make_node("Softmax", ["x"], ["d"], "softmax", axis=1),
        helper.make_node("Softmax", ["x"], ["e"], "of a float", axis=1.0),
        helper.make_node("Softmax", ["x"], ["f"], "of no axis", axes=1),
        helper.make_node("Softmax", ["x"], ["g"], "again", axes=1),
        helper.make_node("Add", ["x", "x"], ["y"], "sum"),
    ]
    with pytest.raises(onnxwalk.InvalidModelError) as raised:
        onnxwalk.load(model(nodes, C))
    text = str(raised.value)
    assert all(f"'{name}'" in text for name in ("first missing", "of a float", "of no axis"))
    assert "'again'" in text and not any(f"'{n}'" in text for n in ("right", "softmax", "sum"))


def test_types_that_attributes_choose():
    """Casts that differ in an attribute only."""
    kinds = [TensorProto.INT32, TensorProto.FLOAT, TensorProto.INT32]
    nodes = [helper.make_node("Cast", ["x"], [f"c{i}"], to=kind) for i, kind in enumerate(kinds)]
    nodes += [helper.make_node("Add", ["c0", "c2"], ["s"]), helper.make_node("Abs", ["c1"], ["y"])]
    session = onnxwalk.load(model(nodes))
    assert session.run(["s"], {"x": np.full((2, 3), 2.5, np.float32)})[0].dtype == np.int32
    nodes[3] = helper.make_node("Add", ["c0", "c1"], ["s"], "mixed")
    with pytest.raises(onnxwalk.InvalidModelError, match=r"'mixed'.*one type"):
        onnxwalk.load(model(nodes))
