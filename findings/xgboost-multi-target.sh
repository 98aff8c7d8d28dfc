#!/usr/bin/env bash
# onnxmltools gives zeros for all but the first target of an XGBoost regressor.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxmltools 1.16.0, skl2onnx 1.20.0, xgboost 3.2.0.
# Expected: three targets are three sets of trees and a base score for each. Converted, or refused as
#   multi_strategy="multi_output_tree" is.
# Seen: the output has the three columns; the first is roughly right, the others are 0. And
#   objective="reg:logistic" gives raw scores (plus the base score, which is a probability) in place of
#   values between 0 and 1.
# Output:
#   three targets, one row: XGBoost [ 4.83 49.66  7.17] ONNX [4.71 0.   0.  ]
#   reg:logistic: XGBoost [0.255 0.993 0.188] ONNX [-0.613  5.406 -1.003]
# Who is hurt: multi-target regression, where shape and dtype are as they should be and column 0 looks
#   fine in a spot check.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxmltools==1.16.0 \
    skl2onnx==1.20.0 xgboost==3.2.0
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
import xgboost as xgb
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType


def run(model):
    onx = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 2]))])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


rng = np.random.default_rng(0)
x = rng.normal(size=(300, 2)).astype(np.float32)
y = x[:, 0] + x[:, 1]
settings = {"n_estimators": 30, "max_depth": 3}

targets = np.c_[y + 5, 2 * y + 50, 7 - y]
model = xgb.XGBRegressor(**settings).fit(x, targets)
there, here = model.predict(x), run(model)
print("three targets, one row: XGBoost", there[0].round(2), "ONNX", here[0].round(2))
assert np.abs(there - targets).max() < 3
assert here.shape == there.shape and np.abs(there - here).max() > 5

model = xgb.XGBRegressor(objective="reg:logistic", **settings).fit(x, y > 0)
there, here = model.predict(x), run(model).ravel()
print("reg:logistic: XGBoost", there[:3].round(3), "ONNX", here[:3].round(3))
assert 0 <= there.min() and there.max() <= 1
assert here.min() < -1 and here.max() > 2
PY
