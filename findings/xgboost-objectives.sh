#!/usr/bin/env bash
# onnxmltools converts XGBoost's survival:cox, multi:softmax and two labels a row to something else.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxmltools 1.16.0, skl2onnx 1.20.0, xgboost
#   3.2.0, scikit-learn 1.9.1.
# Expected: the converter has a list of objectives and refuses binary:logitraw by name; what it takes is
#   right.
# Seen: survival:cox gives the log of the hazard and one more, for the hazard. XGBClassifier with
#   multi:softmax, whose predict_proba is that of multi:softprob, gives raw scores as probabilities. With
#   two labels a row, the answer is two probabilities that add to one, and one label.
# Output (first row):
#   count:poisson: XGBoost [1.296], ONNX [1.296]
#   survival:cox: XGBoost [1.662], ONNX [1.508]
#   multi:softprob: XGBoost [0.06, 0.883, 0.057], ONNX [0.06, 0.883, 0.057]
#   multi:softmax: XGBoost [0.06, 0.883, 0.057], ONNX [-1.418, 1.269, -1.465]
#   two labels a row: XGBoost [0.949, 0.018], ONNX [0.001, 0.999]
#   labels of 300 rows: XGBoost (300, 2) ONNX (300,)
# Who is hurt: hazards near 1 look right; the probabilities of two labels have the right shape.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxmltools==1.16.0 skl2onnx==1.20.0 \
    xgboost==3.2.0 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import warnings

import numpy as np
import onnxruntime as ort
import xgboost as xgb
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

warnings.simplefilter("ignore")
settings = {"n_estimators": 8, "max_depth": 3}
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 3)).astype(np.float32)
time = np.exp(-x[:, 0]) * rng.exponential(size=300)
third = np.digitize(x[:, 0] + 0.3 * x[:, 1], [-0.5, 0.5])
both = np.c_[x[:, 0] > 0, x[:, 1] > 1].astype(int)


def run(model):
    onx = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 3]))])
    return ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


def say(text, there, here):
    row = lambda y: [round(float(v), 3) for v in np.ravel(y[0])]  # noqa: E731
    print(f"{text}: XGBoost {row(there)}, ONNX {row(here)}")


for objective in ("count:poisson", "survival:cox"):
    model = xgb.XGBRegressor(objective=objective, **settings).fit(x, time)
    there, here = model.predict(x), run(model)[0].ravel()
    say(objective, there, here)
    assert np.allclose(there, here if objective == "count:poisson" else np.exp(here - 1), rtol=1e-3)
for objective in ("multi:softprob", "multi:softmax"):
    model = xgb.XGBClassifier(objective=objective, **settings).fit(x, third)
    there, here = model.predict_proba(x), run(model)[1]
    say(objective, there, here)
    assert np.allclose(here.sum(1), 1, atol=1e-4) == np.allclose(there, here, atol=1e-4)
    assert np.allclose(there, here, atol=1e-4) == (objective == "multi:softprob")
model = xgb.XGBClassifier(**settings).fit(x, both)
there, (label, here) = model.predict_proba(x), run(model)
say("two labels a row", there, here)
print("labels of", len(x), "rows: XGBoost", model.predict(x).shape, "ONNX", label.shape)
assert model.predict(x).shape == (300, 2) and label.shape == (300,)
assert np.allclose(here.sum(1), 1) and not np.allclose(there.sum(1), 1, atol=0.1)
PY
