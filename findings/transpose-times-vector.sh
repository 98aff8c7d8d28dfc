#!/usr/bin/env bash
# ONNX Runtime forgets to transpose a matrix that is multiplied by a vector.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: MatMul(Transpose(a), v) is a.T @ v, optimized or not.
# Seen: from the extended level on, which is below the default, Transpose and MatMul become one FusedMatMul
#   with transA. With a vector on the right it reads a's memory as if it lay in the transposed shape: the
#   shape of the answer is right, the numbers are those of a.reshape(4, 3) @ v. A vector on the left and a
#   matrix of one column are right.
# Output (a is 3 x 4, with 1 to 12 row by row; v is 1, 0, 0, so that the answer is a's first row):
#   a.T @ v: [1, 2, 3, 4], optimized [1, 4, 7, 10]
#   a.T @ v[:, None]: [1, 2, 3, 4], optimized [1, 2, 3, 4]
#   v @ (a.T).T: [1, 2, 3, 4], optimized [1, 2, 3, 4]
# Who is hurt: least squares, attention pooling and all else that says x.T @ w with a vector; PyTorch's
#   x.T @ v is exported so.
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

LEVELS = ort.GraphOptimizationLevel
a = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
v = np.array([1, 0, 0], np.float32)


def run(left, right, transposed, level):
    nodes = [
        helper.make_node("Transpose", [transposed], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", [{transposed: "t"}.get(n, n) for n in ("left", "right")], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape)
        for n, x in (("left", left), ("right", right))
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"left": left, "right": right})[0].ravel().astype(int).tolist()


answers = []
for name, left, right, transposed in (
    ("a.T @ v", a, v, "left"),
    ("a.T @ v[:, None]", a, v[:, None], "left"),
    ("v @ (a.T).T", v, np.ascontiguousarray(a.T), "right"),
):
    there, here = (
        run(left, right, transposed, level) for level in (LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_ALL)
    )
    print(f"{name}: {there}, optimized {here}")
    assert there == [1, 2, 3, 4]
    answers.append(here)
assert answers == [(a.reshape(4, 3) @ v).astype(int).tolist(), [1, 2, 3, 4], [1, 2, 3, 4]]
PY
