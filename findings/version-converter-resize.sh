#!/usr/bin/env bash
# onnx's version converter turns Resize-10 into a Resize-11 with other sampling points.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the answers stay. Resize-10 samples at x_out / scale; in opset 11 that is
#   coordinate_transformation_mode = "asymmetric", one of the values of the attribute which opset 11
#   added, so the adapter need only write it (and nearest_mode = "floor").
# Seen: the adapter adds the empty roi input and no attribute. The defaults of opset 11, half_pixel
#   and round_prefer_floor, then hold, and every "linear" Resize (and Upsample-9 that goes through 10)
#   has other values. "nearest" with whole factors hides it. Checker and shape inference are content.
# Output:
#   opset 10: [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
#   opset 11: [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
# Who is hurt: whoever lifts an old detector or segmenter to a newer opset for a runtime that wants it.
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
from onnx import version_converter

MODEL = """
<ir_version: 6, opset_import: ["": 10]>
g (float[1, 1, 1, 4] x) => (float[1, 1, 1, 8] y)
<float[4] scales = {1, 1, 1, 2}> { y = Resize <mode = "linear"> (x, scales) }
"""


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].ravel()


x = np.array([0, 1, 2, 3], np.float32).reshape(1, 1, 1, 4)
old = onnx.parser.parse_model(MODEL)
new = version_converter.convert_version(old, 11)
onnx.checker.check_model(new, full_check=True)
resize = next(node for node in new.graph.node if node.op_type == "Resize")
before, after = run(old), run(new)
print("opset 10:", before.tolist())
print("opset 11:", after.tolist())
print("attributes in opset 11:", [a.name for a in resize.attribute])
assert before.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
assert after.tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
PY
