"""What became of each node of a file: told by what the rewrites really made of the graph."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxwalk
from onnxwalk.interpreter.compiler.provenance import find_fates
from tests.interpreter.runtime.test_bound import model, node

F = TensorProto.FLOAT


def told(proto):
    """Of each node by its label: what it became, with which others, and by which rewrites."""
    session = onnxwalk.load(proto)
    found = find_fates(session._program.rewrite_stages())
    return {
        n.label: (str(fate), [part.label for part in fate.parts], fate.rewrites)
        for n, fate in found.items()
    }


def conv_network():
    """Pad, Conv, BatchNormalization and Relu become one; what reads constants is computed."""
    rng = np.random.default_rng(0)
    four = {name: rng.uniform(0.5, 1, 4).astype(np.float32) for name in ("s", "b", "m", "v")}
    constants = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "two": np.float32([2]),
        **four,
    }
    nodes = [
        node("Pad", "x pads", "p", name="pad"),
        node("Conv", "p w", "c", name="conv"),
        node("BatchNormalization", "c s b m v", "n", name="norm"),
        node("Relu", "n", "r", name="relu"),
        node("Add", "two two", "four", name="sum"),
        node("Mul", "r four", "y", name="times"),
        node("Neg", "x", "unread", name="dead"),
    ]
    return model(nodes, [("x", F, ["n", 3, 8, 8])], ["y"], list(constants.items()))


def test_merged_fused_folded_left_out_and_kept():
    found = told(conv_network())
    fused = (
        "FusedConv 'conv'",
        ["pad", "conv", "norm", "relu"],
        ("merge_pad", "merge_scale", "fuse_conv"),
    )
    for name in ("pad", "conv", "norm", "relu"):
        assert found[name] == fused
    assert found["sum"] == ("computed once, at load", [], ("fold_constants",))
    assert found["times"][0] == "unchanged"
    assert found["dead"][0] == "removed: no output needs it"


def test_every_node_of_the_plan_does_somebodys_work():
    session = onnxwalk.load(conv_network())
    found = find_fates(session._program.rewrite_stages())
    work = {target for fate in found.values() for target in fate.into}
    (*_, (_, last)) = session._program.rewrite_stages()
    ran = session.trace({"x": np.zeros((1, 3, 8, 8), np.float32)}, optimized=True)
    assert [n.op_type for n in last.nodes] == [event.node.op_type for event in ran]
    assert {n.label for n in work} == {event.node.label for event in ran}


def test_a_formula_that_is_recognized():
    constants = [("half", np.float32(0.5)), ("one", np.float32(1))]
    constants.append(("root", np.float32(np.sqrt(2))))
    nodes = [
        node("Div", "x root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "a"),
        node("Mul", "x a", "m"),
        node("Mul", "m half", "y"),
    ]
    constants = [(name, np.asarray(value)) for name, value in constants]
    found = told(model(nodes, [("x", F, ["n"])], ["y"], constants))
    for name in "deamy":
        assert found[name] == ("Gelu 'y'", [*"deamy"], ("recognize",))


@pytest.mark.parametrize("op", ["If", "Loop"])
def test_nodes_within_others(op):
    value = helper.make_tensor_value_info
    inner = [node("Add", "one one", "two", name="inner"), node("Mul", "x two", "r", name="last")]
    if op == "If":
        graph = helper.make_graph(inner, "g", [], [value("r", F, None)])
        outer = node("If", "yes", "y", then_branch=graph, else_branch=graph)
    else:
        given = [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, [])]
        out = [value("c2", TensorProto.BOOL, []), value("r", F, None)]
        body = helper.make_graph([*inner, node("Identity", "c", "c2")], "g", given, out)
        outer = helper.make_node("Loop", ["n"], ["y"], body=body)
    constants = [("one", np.float32([1])), ("yes", np.array(True)), ("n", np.array(2))]
    found = told(model([outer], [("x", F, ["n"])], ["y"], constants))
    assert found["inner"][0] == "computed once, at load"
    assert found["last"][0] == found["y"][0] == "unchanged"
