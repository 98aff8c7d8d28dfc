#!/usr/bin/env bash
# Normalizer(norm='max') means three things in scikit-learn, ONNX Runtime and the official reference.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: one of the simplest converters, one operator with norm = MAX: results in [-1, 1], as for
#   scikit-learn, which divides by the largest absolute value of a row.
# Seen: the converter maps it to the operator of that name; ONNX Runtime divides by the largest signed
#   value. A row of negative numbers changes its sign, a row that is mostly negative leaves [-1, 1].
#   ONNX's reference evaluator takes absolute values, so a check against it passes.
# Output:
#   scikit-learn    [[0.5, 1.0], [-1.0, 0.5], [-1.0, -0.5]]
#   ONNX Runtime    [[0.5, 1.0], [-2.0, 1.0], [2.0, 1.0]]
#   onnx reference  [[0.5, 1.0], [-1.0, 0.5], [-1.0, -0.5]]
# Who is hurt: pipelines on centred data; a largest value just above zero gives arbitrarily large
#   features.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 skl2onnx==1.20.0 \
    scikit-learn==1.9.1
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator
from skl2onnx import to_onnx
from sklearn.preprocessing import Normalizer

x = np.array([[1, 2], [-4, 2], [-4, -2]], np.float32)
model = Normalizer("max").fit(x)
onx = to_onnx(model, x[:1])
session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
results = {
    "scikit-learn": model.transform(x),
    "ONNX Runtime": session.run(None, {"X": x})[0],
    "onnx reference": ReferenceEvaluator(onx).run(None, {"X": x})[0],
}
for name, y in results.items():
    print(f"{name:15}", y.tolist())
assert results["scikit-learn"].tolist() == [[0.5, 1], [-1, 0.5], [-1, -0.5]]
assert results["ONNX Runtime"].tolist() == [[0.5, 1], [-2, 1], [2, 1]]
assert np.array_equal(results["onnx reference"], results["scikit-learn"])
PY
