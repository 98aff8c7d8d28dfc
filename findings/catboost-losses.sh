#!/usr/bin/env bash
# CatBoost's own ONNX export forgets the link of Poisson and Tweedie, and makes a softmax of one-against-all.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, catboost 1.2.10.
# Expected: save_model(format='onnx') gives what predict and predict_proba give, or refuses, as it does
#   for trees that aren't symmetric.
# Seen: a regressor with Poisson or Tweedie predicts exp of its sum of leaves; the file has the sum.
#   MultiClassOneVsAll and MultiLogloss have one sigmoid a class; the file has a softmax over them, so two
#   labels that are both likely share one probability.
# Output (first row):
#   RMSE: CatBoost [2.542], ONNX [2.542]
#   Poisson: CatBoost [1.594], ONNX [0.466]
#   Tweedie:variance_power=1.5: CatBoost [1.504], ONNX [0.408]
#   MultiClass: CatBoost [0.005, 0.966, 0.029], ONNX [0.005, 0.966, 0.029]
#   MultiClassOneVsAll: CatBoost [0.348, 0.603, 0.351], ONNX [0.206, 0.586, 0.208]
#   MultiLogloss: CatBoost [0.967, 0.023], ONNX [0.999, 0.001]
# Who is hurt: counts and claims come out as their logarithms, of the same order of size; several labels a
#   row become one.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 catboost==1.2.10
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from catboost import CatBoostClassifier, CatBoostRegressor

ort.set_default_logger_severity(3)
settings = {"iterations": 20, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 3)).astype(np.float32)
count = rng.poisson(np.exp(1 + x[:, 0]))
third = np.digitize(x[:, 0] + 0.3 * x[:, 1], [-0.5, 0.5])
both = np.c_[x[:, 0] > 0, x[:, 1] > 1].astype(int)


def run(model):
    model.save_model("m.onnx", format="onnx")
    return ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"]).run(None, {"features": x})


def say(text, there, here):
    row = lambda y: [round(float(v), 3) for v in np.ravel(y[0])]  # noqa: E731
    print(f"{text}: CatBoost {row(there)}, ONNX {row(here)}")


for loss in ("RMSE", "Poisson", "Tweedie:variance_power=1.5"):
    model = CatBoostRegressor(loss_function=loss, **settings).fit(x, count)
    there, here = model.predict(x), run(model)[0].ravel()
    say(loss, there, here)
    assert np.allclose(there, here if loss == "RMSE" else np.exp(here), rtol=1e-4, atol=1e-4)
for loss, y in (("MultiClass", third), ("MultiClassOneVsAll", third), ("MultiLogloss", both)):
    model = CatBoostClassifier(loss_function=loss, **settings).fit(x, y)
    there, here = model.predict_proba(x), np.array([list(row.values()) for row in run(model)[1]])
    say(loss, there, here)
    raw = model.predict(x, prediction_type="RawFormulaVal")
    softmax = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    assert np.allclose(there, softmax if loss == "MultiClass" else 1 / (1 + np.exp(-raw)), atol=1e-4)
    assert (np.abs(there - here).max() > 0.1) == (loss != "MultiClass")
    assert np.allclose(here, softmax, atol=1e-4)
PY
