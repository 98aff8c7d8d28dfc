#!/usr/bin/env bash
# onnxsim fails on a Transpose without perm in front of a Gemm.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxsim 0.8.1.
# Expected: perm is optional and its absence reverses the dimensions; the Transpose becomes Gemm's transA,
#   or stays.
# Seen: simplify raises an assertion about the missing attribute and gives no model at all. With perm=[1,
#   0] written out, or with MatMul, it works.
# Output:
#   Transpose {'perm': [1, 0]}, MatMul: ['Transpose', 'MatMul'], same answer
#   Transpose without perm, MatMul: ['Transpose', 'MatMul'], same answer
#   Transpose {'perm': [1, 0]}, Gemm: ['Gemm'], same answer
#   Transpose without perm, Gemm: RuntimeError: required undefined attribute 'perm'
# Who is hurt: whoever writes x.T in a graph by hand: one node keeps the whole model from being
#   simplified.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxsim==0.8.1
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import onnxsim
from onnx import TensorProto, helper, numpy_helper


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})[0].tolist()


def compare(op, **perm):
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Transpose", ["x"], ["t"], **perm), helper.make_node(op, ["t", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2])],
            [numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    there = run(model)
    try:
        smaller = onnxsim.simplify(model)[0]
        here = f"{[n.op_type for n in smaller.graph.node]}, {'same' if run(smaller) == there else 'other'} answer"
    except Exception as error:
        here = f"{type(error).__name__}: {str(error).split(': ')[-1]}"
    print(f"Transpose {perm or 'without perm'}, {op}: {here}")
    return here


assert compare("MatMul", perm=[1, 0]).endswith("same answer")
assert compare("MatMul").endswith("same answer")
assert compare("Gemm", perm=[1, 0]) == "['Gemm'], same answer"
assert "undefined attribute 'perm'" in compare("Gemm")
PY
