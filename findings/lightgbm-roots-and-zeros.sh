#!/usr/bin/env bash
# onnxmltools forgets LightGBM's reg_sqrt, and zero_as_missing where a zero decides.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxmltools 1.16.0, skl2onnx 1.20.0, lightgbm
#   4.7.0, scikit-learn 1.9.1.
# Expected: the model's text says 'regression sqrt' and has the kind of missing value of each node; the
#   converter reads that text.
# Seen: reg_sqrt trains on square roots and squares its answers; ONNX has the roots. zero_as_missing sends
#   zeros the learnt way; ONNX compares them with the threshold, so the rows with a zero in the column that
#   matters are wrong.
# Output:
#   plain: 0% of the rows differ; first rows [10.23, 10.18, 14.13], ONNX [10.23, 10.18, 14.13]
#   reg_sqrt: 100% of the rows differ; first rows [10.18, 10.17, 14.15], ONNX [3.19, 3.19, 3.76]
#   zero_as_missing: 31% of the rows differ; first rows [10.26, 10.18, 14.06], ONNX [10.26, 10.18, 9.71]
# Who is hurt: sparse data, which zero_as_missing is meant for, and skewed targets.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxmltools==1.16.0 skl2onnx==1.20.0 \
    lightgbm==4.7.0 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import lightgbm as lgb
import numpy as np
import onnxruntime as ort
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

settings = {"n_estimators": 20, "num_leaves": 7, "verbose": -1}
rng = np.random.default_rng(0)
x = rng.normal(size=(400, 2)).astype(np.float32)
x[rng.random(x.shape) < 0.3] = 0
y = 10 + x[:, 0] + 5 * (x[:, 1] == 0)


def compare(text, x, **more):
    model = lgb.LGBMRegressor(**settings, **more).fit(x, y)
    onx = convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, 2]))])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    there, here = model.predict(x), session.run(None, {"x": x.astype(np.float32)})[0].ravel()
    differ = np.mean(np.abs(there - here) > 1e-3)
    print(f"{text}: {differ:.0%} of the rows differ; first rows {[round(float(v), 2) for v in there[:3]]},", end=" ")
    print(f"ONNX {[round(float(v), 2) for v in here[:3]]}")
    return there, here


there, here = compare("plain", x)
assert np.allclose(there, here, atol=1e-3)
there, here = compare("reg_sqrt", x, reg_sqrt=True)
assert np.allclose(there, here * np.abs(here), rtol=1e-3) and np.abs(there - here).min() > 1
there, here = compare("zero_as_missing", x, zero_as_missing=True)
differ = np.abs(there - here) > 1
assert differ.sum() > 100 and np.array_equal(differ, x[:, 1] == 0)
PY
