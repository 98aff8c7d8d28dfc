#!/usr/bin/env bash
# onnxmltools ignores LightGBM's sigmoid, takes softmax for one-against-all, and forgets linear trees.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxmltools 1.16.0, skl2onnx 1.20.0, lightgbm 4.7.0.
# Expected: the model's text states "binary sigmoid:2", "multiclassova" and "is_linear=1". The converter
#   parses that text, and refuses objectives that it doesn't know (it does refuse mape and fair).
# Seen: sigmoid=2 converts to a logistic of the raw score: the log-odds are halved. multiclassova, whose
#   probabilities are separate sigmoids and don't sum to one, gets a softmax. linear_tree keeps the
#   leaves' constants only. No warning.
# Output:
#   sigmoid=2.0: log-odds are 2.00 times those of ONNX
#   multiclassova, one row: LightGBM [0.107, 0.671, 0.151] ONNX [0.051, 0.872, 0.076]
#   linear_tree: R² of LightGBM 0.877, of ONNX 0.835
# Who is hurt: whoever acts on probabilities with a threshold; the top class stays, so accuracy does too.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxmltools==1.16.0 \
    skl2onnx==1.20.0 lightgbm==4.7.0
venv/bin/python - <<'PY'
import lightgbm as lgb
import numpy as np
import onnxruntime as ort
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType


def run(model):
    onx = convert_lightgbm(
        model, initial_types=[("x", FloatTensorType([None, 2]))], zipmap=False
    )
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[-1]


rng = np.random.default_rng(0)
x = rng.normal(size=(400, 2)).astype(np.float32)
y = x[:, 0] + x[:, 1] ** 2
settings = {"n_estimators": 10, "num_leaves": 7, "verbose": -1}

for sigmoid in (1.0, 2.0):
    model = lgb.LGBMClassifier(sigmoid=sigmoid, **settings).fit(x, (y > 1).astype(int))
    there, here = model.predict_proba(x), run(model)
    ratio = np.median(np.log(there[:, 1] / there[:, 0]) / np.log(here[:, 1] / here[:, 0]))
    print(f"sigmoid={sigmoid}: log-odds are {ratio:.2f} times those of ONNX")
    assert abs(ratio - sigmoid) < 1e-3

model = lgb.LGBMClassifier(objective="multiclassova", **settings).fit(x, np.digitize(y, [0, 1]))
there, here, raw = model.predict_proba(x), run(model), model.predict(x, raw_score=True)
softmax = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
print("multiclassova, one row: LightGBM", there[0].round(3).tolist(), "ONNX", here[0].round(3).tolist())
assert np.allclose(there, 1 / (1 + np.exp(-raw))) and np.allclose(here, softmax, atol=1e-5)
assert np.abs(there - here).max() > 0.1

model = lgb.LGBMRegressor(linear_tree=True, **settings).fit(x, 3 * x[:, 0])
there, here = model.predict(x), run(model).ravel()
print(f"linear_tree: R² of LightGBM {1 - np.var(there - 3 * x[:, 0]) / np.var(3 * x[:, 0]):.3f},", end=" ")
print(f"of ONNX {1 - np.var(here - 3 * x[:, 0]) / np.var(3 * x[:, 0]):.3f}")
assert np.abs(there - here).max() > 0.5
PY
