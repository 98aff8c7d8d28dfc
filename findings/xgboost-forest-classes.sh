#!/usr/bin/env bash
# onnxmltools gives the trees of an XGBoost forest to the wrong classes.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxmltools 1.16.0, skl2onnx 1.20.0, xgboost
#   3.2.0, scikit-learn 1.9.1.
# Expected: num_parallel_tree, which XGBRFClassifier sets, is a matter of how many trees there are: with two
#   classes, and for regression, the converted model is right.
# Seen: with three classes XGBoost lists all trees of a round for the first class, then for the second; the
#   converter deals them out in turn (tree number modulo classes). Each class gets a mixture of all of them.
# Output:
#   2 classes, 1 tree a round: 0 of 300 labels differ
#   3 classes, 1 tree a round: 0 of 300 labels differ
#   2 classes, 5 trees a round: 0 of 300 labels differ
#   3 classes, 5 trees a round: N of 300 labels differ
# Who is hurt: every XGBRFClassifier of three classes or more. Probabilities still add up to one.
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
    for classes in (2, 3):
        labels = np.digitize(y, [0.0] if classes == 2 else [-1.0, 1.0])
        model = xgb.XGBClassifier(n_estimators=3, num_parallel_tree=trees, max_depth=4).fit(x, labels)
        onx = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 4]))])
        session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        wrong = int((session.run(None, {"x": x})[0] != model.predict(x)).sum())
        print(f"{classes} classes, {trees} tree{'s' * (trees > 1)} a round: {wrong} of {len(x)} labels differ")
        assert (wrong > 30) == (classes == 3 and trees == 5)
PY
