#!/usr/bin/env bash
# ONNX Runtime sorts the nodes of the main graph, not those of branches and functions.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the specification wants nodes in topological order, and onnx.checker refuses others. A runtime
#   that accepts a turned main graph sorts its nodes, so it accepts the same nodes in a branch of If.
# Seen: the main graph runs; the very same two nodes in a branch are an invalid graph, and in a model-
#   local function an error about a missing type.
# Output:
#   main     turned   checker refuses, ONNX Runtime [2.0]
#   branch   turned   checker refuses, ONNX Runtime InvalidGraph
#   function turned   checker refuses, ONNX Runtime Fail
# Who is hurt: tools that append nodes and are tested with ONNX Runtime: all is well until someone wraps
#   the graph in If, Loop or a function.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

ort.set_default_logger_severity(4)
F, one = TensorProto.FLOAT, helper.make_opsetid("", 20)
info = helper.make_tensor_value_info


def nodes(turned):
    both = [helper.make_node("Neg", ["x"], ["t"]), helper.make_node("Abs", ["t"], ["y"])]
    return both[::-1] if turned else both


def main(turned):
    return helper.make_graph(nodes(turned), "g", [info("x", F, [1])], [info("y", F, [1])]), []


def branch(turned):
    inner = helper.make_graph(nodes(turned), "b", [], [info("y", F, [1])])
    call = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    c = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    return helper.make_graph([call], "g", [info("x", F, [1])], [info("z", F, [1])], [c]), []


def function(turned):
    inner = helper.make_function("d", "f", ["x"], ["y"], nodes(turned), [one])
    call = helper.make_node("f", ["x"], ["z"], domain="d")
    return helper.make_graph([call], "g", [info("x", F, [1])], [info("z", F, [1])]), [inner]


def answer(build, turned):
    graph, functions = build(turned)
    model = helper.make_model(
        graph, opset_imports=[one, helper.make_opsetid("d", 1)], functions=functions, ir_version=10
    )
    try:
        onnx.checker.check_model(model)
        checked = "passes"
    except onnx.checker.ValidationError:
        checked = "refuses"
    try:
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        ran = str(session.run(None, {"x": np.array([2], np.float32)})[0].tolist())
    except Exception as error:
        ran = type(error).__name__
    print(f"{build.__name__:8} {'turned  ' if turned else 'in order'} checker {checked}, ONNX Runtime {ran}")
    return checked, ran


for build in (main, branch, function):
    assert answer(build, False) == ("passes", "[2.0]")
seen = [answer(build, True) for build in (main, branch, function)]
assert seen == [("refuses", "[2.0]"), ("refuses", "InvalidGraph"), ("refuses", "Fail")], seen
PY
