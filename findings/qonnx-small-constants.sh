#!/usr/bin/env bash
# QONNX takes an Add of 1e-5 for one of 0, and drops it.
#
# Packages: qonnx 1.0.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: RemoveIdentityOps removes Add and Sub of zeros, Mul and Div by ones.
# Seen: all that is within 1e-5 of them counts as them, and 1e-5 is the usual epsilon of a normalization. Zeros that
#   make the shape larger are dropped too.
# Output:
#   a normalization with epsilon 1e-4, of a constant row: [0.0, 0.0], then [0.0, 0.0] with Add
#   a normalization with epsilon 1e-5, of a constant row: [0.0, 0.0], then [nan, nan] without Add
#   log(0 + 1e-6): [-13.82, -13.82], then [-inf, -inf]
#   x + zeros of two rows: shape (2, 2), then (1, 2)
# Who is hurt: whoever streamlines a model for an FPGA: division by zero where it was excluded, for a constant row, a
#   black picture, padding.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.remove import RemoveIdentityOps

ort.set_default_logger_severity(4)


def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def both(nodes, constant, x, rows=1):
    """The answers before and after, and the operators after; constant is the initializer k."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, x.shape[1]])],
            [numpy_helper.from_array(np.array(constant, np.float32), "k")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    there = run(model, x)
    changed = ModelWrapper(model).transform(RemoveIdentityOps()).model
    return there, run(changed, x), [n.op_type for n in changed.graph.node]


node = helper.make_node
normalization = [
    node("ReduceMean", ["x"], ["mean"], axes=[1]),
    node("Sub", ["x", "mean"], ["d"]),
    node("Mul", ["d", "d"], ["square"]),
    node("ReduceMean", ["square"], ["variance"], axes=[1]),
    node("Add", ["variance", "k"], ["larger"]),
    node("Sqrt", ["larger"], ["deviation"]),
    node("Div", ["d", "deviation"], ["y"]),
]
constant_row = np.full((1, 2), 3, np.float32)
for epsilon, kept in ((1e-4, True), (1e-5, False)):
    there, here, kinds = both(normalization, [epsilon], constant_row)
    with_or_without = "with" if "Add" in kinds else "without"
    text = f"1e{round(np.log10(epsilon))}"
    print(f"a normalization with epsilon {text}, of a constant row: {there[0].tolist()},", end=" ")
    print(f"then {here[0].tolist()} {with_or_without} Add")
    assert ("Add" in kinds) == kept and (there == 0).all() and np.isnan(here).all() != kept
logarithm = [node("Relu", ["x"], ["r"]), node("Add", ["r", "k"], ["a"]), node("Log", ["a"], ["y"])]
there, here, kinds = both(logarithm, [1e-6], np.zeros((1, 2), np.float32))
print(f"log(0 + 1e-6): {np.round(there[0].astype(float), 2).tolist()}, then {here[0].tolist()}")
assert np.allclose(there, np.log(1e-6)) and np.isneginf(here).all()
larger = [node("Add", ["x", "k"], ["a"]), node("Relu", ["a"], ["y"])]
there, here, kinds = both(larger, np.zeros((2, 2)), constant_row, rows=2)
print(f"x + zeros of two rows: shape {there.shape}, then {here.shape}")
assert there.shape == (2, 2) and here.shape == (1, 2)
PY
