"""``inspect`` tells what is in a file, also in one that can't be run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper


def about(cli, model) -> dict:
    result = cli("inspect", model, "--json")
    assert result.status == 0 and result.err == "", result.err
    return json.loads(result.out)


def test_the_complete_report_of_a_simple_model(cli, make):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")
    model = make(
        "m.onnx",
        [node],
        [("x", T.FLOAT, ["batch", None, 4]), ("w", T.FLOAT, [4, 3])],
        [("y", T.FLOAT, ["batch", None, 3])],
        {"w": np.ones((4, 3), np.float32), "ids": np.arange(5)},
        producer_name="maker",
        producer_version="1.2",
        doc_string="two\nlines",
    )
    proto = onnx.load(model)
    helper.set_model_props(proto, {"licence": "MIT"})
    onnx.save(proto, model)
    found = about(cli, model)
    assert found["bytes"] == Path(model).stat().st_size
    assert (found["ir_version"], found["producer"]) == (8, "maker 1.2")
    assert found["opsets"] == {"ai.onnx": 17}
    assert found["inputs"] == [
        {"name": "x", "type": "float32[batch, ?, 4]", "shape": ["batch", None, 4]}
    ]
    assert [v["name"] for v in found["outputs"]] == ["y"]
    assert [v["name"] for v in found["overridable"]] == ["w"]
    assert found["parameters"] == [
        {"type": "float", "tensors": 1, "elements": 12, "bytes": 48},
        {"type": "int64", "tensors": 1, "elements": 5, "bytes": 40},
    ]
    assert found["nodes"] == 1
    (matmul,) = found["operators"]
    assert (matmul["operator"], matmul["opset"], matmul["nodes"]) == ("MatMul", 17, 1)
    assert isinstance(matmul["since"], int)
    assert found["metadata"] == {"licence": "MIT"}
    assert found["unsupported"] == [] and found["training"] == [] and found["problem"] is None
    text = cli("inspect", model).out
    for part in (
        "float32[batch, ?, 4]",
        "17 parameters, 88 bytes",
        "maker 1.2",
        "two lines",
        "MIT",
    ):
        assert part in text
    assert "not supported" not in text


def test_packed_types_and_strings_count_as_stored(cli, make):
    tensor = helper.make_tensor("w", T.INT4, [5], [1, 2, 3, 4, 5])
    text = helper.make_tensor("s", T.STRING, [2], ["ü".encode(), b"abc"])
    model = make("m.onnx", [], [("x", T.FLOAT, [1])], [("x", T.FLOAT, [1])])
    proto = onnx.load(model)
    proto.graph.initializer.extend([tensor, text])
    onnx.save(proto, model)
    sizes = {p["type"]: (p["elements"], p["bytes"]) for p in about(cli, model)["parameters"]}
    assert sizes == {"int4": (5, 3), "string": (2, 5)}


def test_all_unsupported_operators_are_listed(cli, make):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Zonk", ["a"], ["b"], name="first"),
        helper.make_node("Zonk", ["b"], ["c"]),
        helper.make_node("Frob", ["c"], ["y"], name="alien", domain="my.own"),
    ]
    model = make("m.onnx", nodes, [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])])
    assert "not supported" in cli("run", model, "--random").error
    assert about(cli, model)["unsupported"] == [
        {"operator": "Zonk (opset 17)", "nodes": ["first", "c"]},
        {"operator": "my.own.Frob (opset 1)", "nodes": ["alien"]},
    ]
    text = cli("inspect", model).out
    assert "  Zonk (opset 17): first, c" in text and "my.own.Frob (opset 1): alien" in text


def test_an_opset_from_the_future_is_reported(cli, make):
    node = helper.make_node("Relu", ["x"], ["y"])
    model = make("m.onnx", [node], [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])], opset=999)
    assert "opset 999 of ai.onnx is newer" in about(cli, model)["problem"]
    assert "opset 999 of ai.onnx is newer" in cli("inspect", model).out


def test_subgraphs_and_functions_are_counted(cli, tmp_path):
    def branch(name):
        out = helper.make_tensor_value_info(name, T.FLOAT, [1])
        nodes = [
            helper.make_node("Relu", ["x"], [f"{name}_"]),
            helper.make_node("Add", [f"{name}_", f"{name}w"], [name]),
        ]
        weight = numpy_helper.from_array(np.ones(1, np.float32), f"{name}w")
        return helper.make_graph(nodes, name, [], [out], [weight])

    body = [helper.make_node("Relu", ["p"], ["q"]), helper.make_node("Neg", ["q"], ["r"])]
    opset = helper.make_opsetid("", 17)
    function = helper.make_function("own", "Twice", ["p"], ["r"], body, [opset])
    nodes = [
        helper.make_node("If", ["c"], ["a"], then_branch=branch("t"), else_branch=branch("e")),
        helper.make_node("Twice", ["a"], ["b"], domain="own"),
        helper.make_node("Twice", ["b"], ["y"], domain="own"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", T.FLOAT, [1]),
        helper.make_tensor_value_info("c", T.BOOL, []),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, [1])])
    imports = [opset, helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    found = about(cli, tmp_path / "m.onnx")
    counts = {o["operator"]: o["nodes"] for o in found["operators"]}
    assert counts == {"Relu": 4, "Add": 2, "Neg": 2, "If": 1} and found["nodes"] == 9
    assert found["functions"] == [{"function": "own.Twice", "nodes": 2, "calls": 2}]
    assert found["parameters"][0]["elements"] == 2
    assert "own.Twice" in cli("inspect", tmp_path / "m.onnx").out


def test_training_is_reported(cli, classifier):
    proto = onnx.load(classifier)
    info = proto.training_info.add()
    info.algorithm.CopyFrom(
        helper.make_graph([helper.make_node("Neg", ["w"], ["v"])] * 3, "step", [], [])
    )
    onnx.save(proto, classifier)
    assert about(cli, classifier)["training"] == [{"algorithm": 3, "initialization": 0}]
    assert "algorithm of 3 nodes" in cli("inspect", classifier).out


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n", b"\xff" * 30, b"hello, world"])
def test_what_is_no_model(cli, content):
    Path("m.onnx").write_bytes(content)
    assert "m.onnx" in cli("inspect", "m.onnx").error
    assert "no such file" in cli("inspect", "none.onnx").error
    assert "a folder" in cli("inspect", ".").error


def test_invalid_models_are_refused(cli, make):
    node = helper.make_node("Relu", ["nowhere"], ["y"])
    model = make("m.onnx", [node], [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])])
    assert "'nowhere' is not defined" in cli("inspect", model).error
    node = helper.make_node("Relu", ["x", "x", "x"], ["y"])
    model = make("m.onnx", [node], [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])])
    assert "3 inputs" in cli("inspect", model).error


def test_names_cannot_write_to_the_terminal(cli, make):
    evil = "a\x1b[2Jb\n[bold]c:smile:"
    node = helper.make_node("Zonk", ["x"], ["y"], name=evil)
    model = make("m.onnx", [node], [(evil, T.FLOAT, [1]), ("x", 1, [1])], [("y", T.FLOAT, [1])])
    out = cli("inspect", model).out
    assert "\x1b" not in out
    assert out.count(r"a\x1b[2Jb\n[bold]c:smile:") == 2  # its input, and the unsupported node
    error = cli("run", model, "--random").error
    assert "\x1b" not in error


def weights_in_nodes(make):
    """y = x·w in which w is the value of a Constant node; relu in an If."""
    value = helper.make_tensor_value_info
    tensor = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(operator, ["p"], ["r"], name=operator.lower())],
            name,
            [],
            [value("r", T.FLOAT, None)],
        )
        for name, operator in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor),
        helper.make_node("MatMul", ["x", "w"], ["p"], name="model/dense/MatMul"),
        helper.make_node("If", ["c"], ["y"], name="choose", **branches),
        helper.make_node("Softmax", ["y"], ["z"], name="soft", axis=-1),
    ]
    inputs = [("x", T.FLOAT, ["batch", 4]), ("c", T.BOOL, [])]
    return make("c.onnx", nodes, inputs, [("z", T.FLOAT, None)])


def test_weights_in_constant_nodes_are_counted(cli, make):
    model = weights_in_nodes(make)
    assert about(cli, model)["parameters"] == [
        {"type": "float", "tensors": 1, "elements": 12, "bytes": 48}
    ]
    assert "12 parameters, 48 bytes" in cli("inspect", model).out


def test_the_nodes_in_order(cli, make):
    model = weights_in_nodes(make)
    result = cli("inspect", model, "--nodes", "--json")
    nodes = json.loads(result.out)["node_list"]
    assert [(n["number"], n["operator"], n["graph"]) for n in nodes] == [
        (1, "Constant", None),
        (2, "MatMul", None),
        (3, "If", None),
        (4, "Neg", "choose/else_branch"),
        (5, "Relu", "choose/then_branch"),
        (6, "Softmax", None),
    ]
    matmul = nodes[1]
    assert matmul["inputs"] == [
        {"name": "x", "type": "float32[batch, 4]"},
        {"name": "w", "type": "float32[4, 3]"},
    ]
    assert matmul["outputs"] == [{"name": "p", "type": "float32[batch, 3]"}]
    assert nodes[3]["inputs"] == [{"name": "p", "type": "float32[batch, 3]"}]
    assert nodes[5]["attributes"] == {"axis": "-1"}
    text = cli("inspect", model, "--nodes").out
    assert "2. MatMul  model/dense/MatMul" in text and "out  p: float32[batch, 3]" in text
    for pattern, found in (("Soft*", [6]), ("model/dense/*", [2]), ("p", [2]), ("Relu", [5])):
        result = cli("inspect", model, "--nodes", "--select", pattern, "--json")
        assert [n["number"] for n in json.loads(result.out)["node_list"]] == found, pattern
    assert (
        "--select nothing: no value, node"
        in cli("inspect", model, "--nodes", "--select", "nothing").error
    )
    assert cli("inspect", model, "--select", "p").error == "--select requires --nodes"


def test_a_check_for_programs(cli, make):
    """Its exit status says whether the model can be run."""
    model = weights_in_nodes(make)
    result = cli("inspect", model, "--check")
    assert (result.status, result.out) == (0, f"{model}: can be run; 6 nodes\n")
    node = helper.make_node("Whirl", ["x"], ["y"], name="whirl")
    unknown = make("u.onnx", [node], [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])])
    result = cli("inspect", unknown, "--check")
    assert (result.status, result.out.count("\n")) == (1, 1)
    assert "Whirl (opset 17) isn't supported: whirl" in result.out
    assert json.loads(cli("inspect", unknown, "--check", "--json").out)["problems"]
    assert cli("inspect", unknown).status == 0
    Path("broken.onnx").write_bytes(b"no model")
    assert "broken.onnx" in cli("inspect", "broken.onnx", "--check").error
    late = [helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Abs", ["x"], ["a"])]
    unsorted = make("s.onnx", late, [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])])
    assert cli("inspect", unsorted, "--check").status == 0
    assert cli("inspect", unsorted, "--check", "--strict").status == 1
