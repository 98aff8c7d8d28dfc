"""``diff``: what is other in another file."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper


def report(cli, *argv):
    result = cli("diff", *argv, "--json")
    assert result.err == "" and result.status in (0, 1), result.err
    found = json.loads(result.out)
    assert found["equal"] is (result.status == 0)
    return found


@pytest.fixture
def edited(classifier):
    """A copy of the classifier, changed."""

    def edit(change):
        model = onnx.load(classifier)
        change(model)
        onnx.save(model, "other.onnx")
        return report_of(classifier)

    def report_of(path):
        return path, "other.onnx"

    return edit


def test_the_same(cli, classifier):
    found = report(cli, classifier, classifier)
    assert found["equal"] and found["nodes"]["same"] == 2 and found["weights"]["same"] == 1
    result = cli("diff", classifier, classifier)
    assert result.status == 0 and result.out.endswith("\nthe files are equal\n")


def test_weights(cli, edited):
    def change(model):
        tensor = model.graph.initializer[0]
        array = numpy_helper.to_array(tensor).copy()
        array[1, 2] += 0.25
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "more"))

    files = edited(change)
    found = report(cli, *files)["weights"]
    assert found["only_b"] == {"more": "float32 (3,)"} and found["same"] == 0
    apart = found["differing"]["w"]
    assert apart["absolute"] == pytest.approx(0.25) and apart["relative"] == pytest.approx(
        0.25 / 0.6
    )
    assert [spot["index"] for spot in apart["differs_most"]] == [[1, 2]]
    text = cli("diff", *files)
    assert text.status == 1
    assert "differs  w" in text.out and "only b   more" in text.out and "[1, 2]: " in text.out


def test_zero_and_minus_zero_have_different_bits_but_no_difference(cli, edited):
    def change(model):
        tensor = model.graph.initializer[0]
        array = numpy_helper.to_array(tensor).copy()
        array[array == 0] = -0.0
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    found = report(cli, *edited(change))
    assert not found["equal"] and found["weights"]["differing"]["w"]["absolute"] == 0


def test_nodes(cli, edited):
    def change(model):
        nodes = model.graph.node
        nodes[1].attribute[0].i = 0
        nodes[0].op_type = "Gemm"
        nodes.append(helper.make_node("Neg", ["y"], ["z"], name="extra"))

    files = edited(change)
    nodes = report(cli, *files)["nodes"]
    assert nodes["only_b"] == {"extra": "Neg(y)"} and nodes["only_a"] == {}
    assert nodes["changed"] == {
        "dense": ["operator: MatMul → Gemm"],
        "y": ["axis: -1 → 0"],
    }
    text = cli("diff", *files).out
    assert "nodes (0 equal)" in text and "operator: MatMul → Gemm" in text


def test_header_inputs_and_outputs(cli, edited):
    def change(model):
        model.opset_import[0].version = 18
        model.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v"))
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
        model.graph.output[0].name = "out"
        model.graph.node[1].output[0] = "out"

    found = report(cli, *edited(change))
    assert found["header"]["changed"] == {"opset ai.onnx": ["17 → 18"]}
    assert found["header"]["only_b"] == {"metadata k": "v"}
    assert found["inputs"]["changed"] == {"x": ["float32[batch, 4] → float32[batch, 5]"]}
    assert found["outputs"]["only_a"] == {"y": "float32[batch, 3]"}
    assert found["outputs"]["only_b"] == {"out": "float32[batch, 3]"}


def test_order_alone_is_no_difference(cli, adder):
    model = onnx.load(adder)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, "other.onnx")
    found = report(cli, adder, "other.onnx")
    assert found["equal"] and found["reordered"]


def test_nodes_within_nodes(cli, make):
    def model(name, operator):
        branches = {
            f"{which}_branch": helper.make_graph(
                [helper.make_node(kind, ["x"], ["r"], name="inside")],
                which,
                [],
                [helper.make_tensor_value_info("r", T.FLOAT, [2])],
            )
            for which, kind in (("then", "Neg"), ("else", operator))
        }
        node = helper.make_node("If", ["c"], ["y"], name="choose", **branches)
        return make(name, [node], [("c", T.BOOL, []), ("x", T.FLOAT, [2])], [("y", T.FLOAT, [2])])

    found = report(cli, model("a.onnx", "Abs"), model("b.onnx", "Exp"))
    assert found["nodes"]["changed"] == {"choose/else_branch/inside": ["operator: Abs → Exp"]}


def test_an_unreadable_file_is_reported(cli, classifier):
    result = cli("diff", classifier, "none.onnx")
    assert result.status == 2 and result.out == "" and result.err.count("\n") == 1
    assert result.err.startswith("onnxwalk: none.onnx")
