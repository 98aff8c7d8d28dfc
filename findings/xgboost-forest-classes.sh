#!/usr/bin/env bash
# onnxmltools gives the trees of an XGBoost forest to the wrong classes.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxmltools 1.16.0, skl2onnx 1.20.0, xgboost
#   3.2.0, scikit-learn 1.9.1.
# Expected: num_parallel_tree, which XGBRFClassifier sets, is a matter of how many trees there are.
# Seen: with three classes and several trees a round many labels differ, while one tree a round is right.
# Output (three classes):
#   1 a round: 0 of 300 labels differ; probabilities add up to 1.000
#   5 a round: 231 of 300 labels differ; probabilities add up to 1.000
# Who is hurt: every XGBRFClassifier of three classes or more.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxmltools==1.16.0 skl2onnx==1.20.0 \
    xgboost==3.2.0 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
import xgboost as xgb
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

rng = np.random.default_rng(0)
x = rng.normal(size=(300, 4)).astype(np.float32)
y = x[:, 0] * 2 - x[:, 1]
for trees in (1, 5):
    labels = np.digitize(y, [-1.0, 1.0])
    model = xgb.XGBClassifier(n_estimators=3, num_parallel_tree=trees, max_depth=4).fit(x, labels)
    onx = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 4]))])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    label, scores = session.run(None, {"x": x})
    wrong = int((label != model.predict(x)).sum())
    print(f"{trees} a round: {wrong} of {len(x)} labels differ; probabilities add up to {scores.sum(1).mean():.3f}")
    assert (wrong > 30) == (trees == 5)
PY
