#!/usr/bin/env bash
# compose.merge_models with a prefix lets a branch of one model read the weights of the other.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: `prefix1` renames whatever the first model names, also where the branches of an If or the
#   body of a Loop refer to a weight of the graph around them. At worst the merged model is refused.
# Seen: initializers are renamed, the references to them inside bodies are not (references to inputs
#   and to nodes' outputs are). If the second model has an initializer of the old name, the branch
#   reads that one. The result passes check_model(full_check=True) and runs. (With a prefix for both
#   models, or another name in the second, the name is nowhere, and merging fails.)
# Output:
#   one after the other: [200.0, 300.0]
#   merged: [10100.0, 10200.0]
#   initializers: ['first/k', 'k']
#   inputs of the branch's Add: ['first/x', 'k']
# Who is hurt: whoever joins a preprocessing or decoding model with If or Loop to another model;
#   exporters give both the same names (onnx::Add_1), which is why there is a prefix.
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
from onnx import compose

FIRST = """
<ir_version: 8, opset_import: ["": 17]>
first (float[2] x, bool on) => (float[2] y) <float[2] k = {1, 1}> {
  y = If (on) <
    then_branch = t () => (float[2] a) { a = Add(x, k) },
    else_branch = e () => (float[2] b) { b = Identity(x) }
  >
}
"""
SECOND = """
<ir_version: 8, opset_import: ["": 17]>
second (float[2] u) => (float[2] z) <float[2] k = {100, 100}> { z = Mul(u, k) }
"""


def run(model, feeds):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


first, second = onnx.parser.parse_model(FIRST), onnx.parser.parse_model(SECOND)
x, on = np.array([1, 2], np.float32), np.array(True)
apart = run(second, {"u": run(first, {"x": x, "on": on})})

merged = compose.merge_models(first, second, io_map=[("y", "u")], prefix1="first/")
onnx.checker.check_model(merged, full_check=True)
together = run(merged, {"first/x": x, "first/on": on})
branch = next(a.g for a in merged.graph.node[0].attribute if a.name == "then_branch")
print("one after the other:", apart.tolist())
print("merged:", together.tolist())
print("initializers:", [i.name for i in merged.graph.initializer])
print("inputs of the branch's Add:", list(branch.node[0].input))
assert apart.tolist() == [200, 300]
assert together.tolist() == [10100, 10200]
PY
