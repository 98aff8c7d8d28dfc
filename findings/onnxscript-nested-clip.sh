#!/usr/bin/env bash
# onnxscript's rewriter merges nested Clips and Relu of a Clip into a Clip with its bounds crossed.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxscript 0.7.2, onnx-ir 1.1.0.
# Expected: Clip(Clip(x, a, b), c, d) is Clip(x, max(a, c), min(b, d)) only where the two ranges
#   overlap. For [1, 2] and [5, 6] the answer is always 5. A rule for constants would check.
# Seen: the rule takes max and min always. The merged Clip has min 5 and max 2, and as ONNX defines
#   Clip as Min(max, Max(x, min)), the answer is 2: outside of the outer range. In the same way
#   Relu(Clip(x, -5, -2)), always 0, becomes -2: a negative Relu.
#   ONNX Runtime, onnxsim, onnxslim and onnxoptimizer leave or fold these rightly.
# Output:
#   Clip(Clip(x, 1, 5), 2, 6): [2.0, 2.0, 5.0] -> [2.0, 2.0, 5.0] ['Clip']
#   Clip(Clip(x, 1, 2), 5, 6): [5.0, 5.0, 5.0] -> [2.0, 2.0, 2.0] ['Clip']
#   Relu(Clip(x, -5, -2)): [0.0, 0.0, 0.0] -> [-2.0, -2.0, -2.0] ['Clip']
# Who is hurt: graphs whose bounds come from constants of several layers, as in guards and hard
#   activations; the outer Clip, there to guarantee a range, is what fails.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxscript==0.7.2 \
    onnx-ir==1.1.0
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnxscript import optimizer, rewriter

TEMPLATE = """
<ir_version: 8, opset_import: ["": 17]>
g (float[3] x) => (float[3] y)
<float a = {%s}, float b = {%s}, float c = {%s}, float d = {%s}> {
  t = Clip(x, a, b)
  y = %s
}
"""


def run(model):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": np.array([-9, 0, 9], np.float32)})[0].tolist()


def compare(what, bounds, last):
    model = onnx.parser.parse_model(TEMPLATE % (*bounds, last))
    rewritten = rewriter.rewrite(optimizer.optimize(model))
    onnx.checker.check_model(rewritten, full_check=True)
    before, after = run(model), run(rewritten)
    print(f"{what}: {before} -> {after}", [n.op_type for n in rewritten.graph.node])
    return before, after


overlap = compare("Clip(Clip(x, 1, 5), 2, 6)", (1, 5, 2, 6), "Clip(t, c, d)")
assert overlap[0] == overlap[1] == [2, 2, 5]
apart = compare("Clip(Clip(x, 1, 2), 5, 6)", (1, 2, 5, 6), "Clip(t, c, d)")
assert apart == ([5, 5, 5], [2, 2, 2])
relu = compare("Relu(Clip(x, -5, -2))", (-5, -2, 0, 0), "Relu(t)")
assert relu == ([0, 0, 0], [-2, -2, -2])
PY
