#!/usr/bin/env bash
# ONNX's reference evaluator divides by the sum, not by the sum of absolute values, in LpNormalization with p = 1.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: absolute values that add up to 1; LogSoftmax subtracts, and has no logarithm of a softmax.
# Seen: numbers that cancel each other become large, and other signs; p = 2 is right. LogSoftmax is -inf from a difference
#   of 104 on (the smallest float32), where Softmax is merely 0.
# Output:
#   LpNormalization, p = 1, of [1, -3]: ONNX Runtime [0.25, -0.75], reference [-0.5, 1.5]
#   LpNormalization, p = 1, of [3, -2.5]: ONNX Runtime [0.55, -0.45], reference [6.0, -5.0]
#   LpNormalization, p = 2, of [3, -4]: ONNX Runtime [0.6, -0.8], reference [0.6, -0.8]
#   LogSoftmax of [0, -80]: ONNX Runtime [0.0, -80.0], reference [0.0, -80.0]
#   LogSoftmax of [0, -200]: ONNX Runtime [0.0, -200.0], reference [0.0, -inf]
# Who is hurt: tests that take the reference for the truth, and constants folded by it.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY' 2>/dev/null
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def both(kind, row, **attributes):
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, ["x"], ["y"], axis=1, **attributes)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"x": np.array([row], np.float32)}
    return session.run(None, feeds)[0][0], ReferenceEvaluator(model).run(None, feeds)[0][0]


for kind, attributes, row, right, wrong in (
    ("LpNormalization", {"p": 1}, [1, -3], [0.25, -0.75], [-0.5, 1.5]),
    ("LpNormalization", {"p": 1}, [3, -2.5], [3 / 5.5, -2.5 / 5.5], [6, -5]),
    ("LpNormalization", {"p": 2}, [3, -4], [0.6, -0.8], [0.6, -0.8]),
    ("LogSoftmax", {}, [0, -80], [0, -80], [0, -80]),
    ("LogSoftmax", {}, [0, -200], [0, -200], [0, -np.inf]),
):
    there, here = both(kind, row, **attributes)
    text = kind + "".join(f", {n} = {v}," for n, v in attributes.items())
    there_text, here_text = (np.round(a.astype(float), 2).tolist() for a in (there, here))
    print(f"{text} of {row}: ONNX Runtime {there_text}, reference {here_text}")
    assert np.allclose(there, right) and np.allclose(here, wrong, rtol=1e-3)
PY
