"""Equal messages are read once: each node and value must still have its own contents."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

import onnxwalk
from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.interpreter.ir.model import TensorType
from onnxwalk.interpreter.reader import read_model

VALUE = helper.make_tensor_value_info


def test_equal_attributes_and_types():
    nodes = [
        helper.make_node("Softmax", [name], [f"{name}y"], axis=axis)
        for name, axis in (("a", 0), ("b", 1), ("c", 0))
    ]
    infos = [VALUE(name, TensorProto.FLOAT, shape) for name, shape in (("a", [2, 3]), ("b", [4]))]
    infos.append(VALUE("c", TensorProto.FLOAT, [2, 3]))
    outputs = [VALUE(f"{name}y", TensorProto.FLOAT, None) for name in "abc"]
    graph = helper.make_graph(nodes, "g", infos, outputs)
    read = read_model(helper.make_model(graph).SerializeToString()).graph
    assert [node.attributes for node in read.nodes] == [{"axis": 0}, {"axis": 1}, {"axis": 0}]
    assert [(v.name, v.type) for v in read.inputs] == [
        ("a", TensorType(1, (2, 3))),
        ("b", TensorType(1, (4,))),
        ("c", TensorType(1, (2, 3))),
    ]
    assert read.inputs[0].type is read.inputs[2].type  # read once


def test_equal_denotations():
    infos = [VALUE(name, TensorProto.FLOAT, [2, 3]) for name in "abc"]
    for info in (infos[0], infos[2]):
        info.type.tensor_type.shape.dim[1].denotation = "CHANNEL"
    graph = helper.make_graph([], "g", infos, infos[:1])
    read = read_model(helper.make_model(graph).SerializeToString()).graph
    assert [v.denotations for v in read.inputs] == [("", "CHANNEL"), (), ("", "CHANNEL")]


def test_equal_subgraphs_are_two():
    """Whoever looks a node of a graph up must find the one of that graph."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "b", [], [VALUE("z", TensorProto.FLOAT, [1])]
    )
    node = helper.make_node("If", ["on"], ["y"], then_branch=body, else_branch=body)
    again = helper.make_node("If", ["on"], ["y2"], then_branch=body, else_branch=body)
    graph = helper.make_graph(
        [node, again],
        "g",
        [VALUE("on", TensorProto.BOOL, []), VALUE("x", TensorProto.FLOAT, [1])],
        [VALUE("y", TensorProto.FLOAT, [1]), VALUE("y2", TensorProto.FLOAT, [1])],
    )
    read = read_model(helper.make_model(graph).SerializeToString()).graph
    graphs = [inner for node in read.nodes for _, inner in node.graphs]
    assert len(set(map(id, graphs))) == 4
    assert len({id(node) for inner in graphs for node in inner.nodes}) == 4


def test_a_type_that_is_continued_is_not_that_of_others():
    """A field that occurs twice is merged: into a dictionary that other values must not see."""
    first = VALUE("a", TensorProto.FLOAT, [2])
    more = onnx.ValueInfoProto()
    more.type.tensor_type.elem_type = TensorProto.INT64
    twice = first.SerializeToString() + more.SerializeToString()  # as protobuf concatenates
    assert onnx.ValueInfoProto.FromString(twice).type.tensor_type.elem_type == TensorProto.INT64
    graph = helper.make_graph([], "g", [VALUE(n, TensorProto.FLOAT, [2]) for n in "ab"], [first])
    data = graph.SerializeToString() + b"\x5a" + bytes([len(twice)]) + twice
    last = VALUE("c", TensorProto.FLOAT, [2]).SerializeToString()
    data += b"\x5a" + bytes([len(last)]) + last
    model = helper.make_model(helper.make_graph([], "g", [], []))
    model.ClearField("graph")
    size = len(data)
    model_bytes = model.SerializeToString() + b"\x3a" + bytes([size & 127 | 128, size >> 7]) + data
    read = read_model(model_bytes).graph
    elements = [(value.name, value.type.element) for value in read.inputs]
    assert elements == [("a", 1), ("b", 1), ("a", 7), ("c", 1)]


def test_where_a_small_message_is_damaged():
    """The place in the file is named, also in messages that are copied to be read."""
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["\u00e9"])], "g", [], [])
    data = helper.make_model(graph).SerializeToString()
    at = data.index("\u00e9".encode())
    damaged = data[:at] + b"\xff" + data[at + 1 :]
    with pytest.raises(InvalidModelError, match=f"output at byte {at - 2} is not UTF-8"):
        read_model(damaged)
    with pytest.raises(InvalidModelError, match=f"output at byte {at - 2} is not UTF-8"):
        onnxwalk.load(damaged)
