#!/usr/bin/env bash
# skl2onnx's nearest neighbours with weights='distance' are those with weights='uniform'.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: weights 1 / distance, perhaps with NaN or a small floor where a distance is zero.
# Seen: up to opset 10 TopK was given negated distances, and so the converter multiplies what comes out
#   by -1, from opset 11 on too, where they aren't negated. The floor, Max(distances, 1e-6), then makes
#   all of them 1e-6, all weights are equal, and the result is the plain mean of the neighbours.
# Output:
#   scikit-learn, weights='distance': [0.0, 2.5, 19.0, 35.0]
#   ONNX of it:                       [5.0, 5.0, 15.0, 30.0]
#   scikit-learn, weights='uniform':  [5.0, 5.0, 15.0, 30.0]
# Who is hurt: users of distance weights: the answers look smooth and plausible, and a model that knew
#   its training points by heart no longer does.
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
from skl2onnx import to_onnx
from sklearn.neighbors import KNeighborsRegressor

x = np.array([[0], [1], [2], [4]], np.float32)
y = np.array([0, 10, 20, 40], np.float32)
ask = np.array([[0], [0.25], [1.9], [3.5]], np.float32)


def onnx_predict(model):
    onx = to_onnx(model, x[:1])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": ask})[0].ravel()


by_distance = KNeighborsRegressor(2, weights="distance").fit(x, y)
alike = KNeighborsRegressor(2, weights="uniform").fit(x, y)
there, here, uniform = by_distance.predict(ask), onnx_predict(by_distance), alike.predict(ask)
print("scikit-learn, weights='distance':", there.round(3).tolist())
print("ONNX of it:                      ", here.round(3).tolist())
print("scikit-learn, weights='uniform': ", uniform.round(3).tolist())
assert np.allclose(there, [0, 2.5, 19, 35])
assert np.allclose(here, uniform)
PY
