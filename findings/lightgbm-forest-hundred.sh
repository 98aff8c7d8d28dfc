#!/usr/bin/env bash
# onnxmltools divides LightGBM's random forest by 100, however many trees it has.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxmltools 1.16.0, skl2onnx 1.20.0, lightgbm 4.7.0.
# Expected: boosting_type="rf" averages its trees, and the converter has a Div for it: by their number.
# Seen: the denominator is a constant, 100, LightGBM's default number of trees. A forest of 20 trees
#   gives a fifth. Classifiers aren't divided at all: the sum goes into the sigmoid, and 0.114 becomes
#   0.000; half of the labels are others.
# Output:
#   regression,   5 trees: ONNX / LightGBM = 0.0500
#   regression,  20 trees: ONNX / LightGBM = 0.2000
#   regression, 100 trees: ONNX / LightGBM = 1.0000
#   classes, 20 trees: LightGBM says [0.114 0.288 0.114], ONNX [0. 0. 0.], 52% of labels agree
# Who is hurt: everyone whose forest hasn't the default size, and no one who tries the default first.
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
forest = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5, "verbose": -1}
for trees in (5, 20, 100):
    model = lgb.LGBMRegressor(n_estimators=trees, **forest).fit(x, y)
    ratio = np.median(run(model).ravel() / model.predict(x))
    print(f"regression, {trees:3} trees: ONNX / LightGBM = {ratio:.4f}")
    assert abs(ratio - trees / 100) < 1e-3

model = lgb.LGBMClassifier(n_estimators=20, **forest).fit(x, (y > 1).astype(int))
there, here = model.predict_proba(x)[:, 1], run(model)[:, 1]
agree = ((there > 0.5) == (here > 0.5)).mean()
print(f"classes, 20 trees: LightGBM says {there[:3].round(3)}, ONNX {here[:3].round(3)},", end=" ")
print(f"{agree:.0%} of labels agree")
assert np.abs(there - here).max() > 0.1
PY
