#!/usr/bin/env bash
# onnxoptimizer drops the first of two Reshapes, and the 0 of the second then copies another dimension.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxoptimizer 0.4.2.
# Expected: Reshape after Reshape is the second alone, unless its shape has a 0 (keep the dimension of
#   the input, here of the first's output). A pass that knows Reshape would check for it.
# Seen: eliminate_consecutive_idempotent_ops treats Reshape as idempotent whatever the shape. With
#   (2, 3, 4) -> (4, 6) -> (0, -1) the model gives (2, 12) in place of (4, 6): the same elements in
#   rows of another length, and the batch cut in half. With other numbers the model fails at run time.
# Output:
#   before: (4, 6) ['Reshape', 'Reshape']
#   after:  (2, 12) ['Reshape']
# Who is hurt: flatten layers exported as Reshape(0, -1) after a reshape that folds time into the
#   batch. ONNX Runtime, onnxsim, onnxslim and onnxscript get it right.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxoptimizer==0.4.2
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxoptimizer
import onnxruntime as ort

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[2, 3, 4] x) => (float[4, N] y)
<int64[2] rows = {4, 6}, int64[2] keep = {0, -1}> {
  t = Reshape(x, rows)
  y = Reshape(t, keep)
}
"""


def run(model):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": np.zeros((2, 3, 4), np.float32)})[0].shape


model = onnx.parser.parse_model(MODEL)
optimized = onnxoptimizer.optimize(model)
onnx.checker.check_model(optimized)
print("before:", run(model), [n.op_type for n in model.graph.node])
print("after: ", run(optimized), [n.op_type for n in optimized.graph.node])
assert run(model) == (4, 6) and run(optimized) == (2, 12)
PY
