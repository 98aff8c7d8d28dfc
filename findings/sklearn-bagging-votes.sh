#!/usr/bin/env bash
# skl2onnx counts the votes of bagged classifiers along the wrong dimension.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: members without predict_proba vote with their labels; the share of the votes is the
#   probability, one line a row.
# Seen: the votes are counted over the rows: there is one line a member, whose numbers are not between 0
#   and 1, and as many labels. If only the first line is read, nothing looks wrong.
# Output:
#   DecisionTreeClassifier, 7 members, 100 rows: scikit-learn (100, 2), ONNX (100, 2), first row [0.02, 0.98] and [0.02, 0.98]
#   LinearSVC, 7 members, 100 rows: scikit-learn (100, 2), ONNX (7, 2), first row [0.0, 1.0] and [7.86, 6.43]
#   RidgeClassifier, 7 members, 100 rows: scikit-learn (100, 2), ONNX (7, 2), first row [0.0, 1.0] and [8.14, 6.14]
# Who is hurt: services that ask one row at a time and read the first label.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 skl2onnx==1.20.0 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

x, y = make_classification(100, 4, random_state=0)
x = x.astype(np.float32)
shapes = {}
for base in (DecisionTreeClassifier(max_depth=2), LinearSVC(), RidgeClassifier()):
    model = BaggingClassifier(base, n_estimators=7, random_state=0).fit(x, y)
    onx = to_onnx(model, x[:1], options={"zipmap": False})
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    label, scores = session.run(None, {"X": x})
    there = model.predict_proba(x)
    shapes[type(base).__name__] = scores.shape
    print(f"{type(base).__name__}, 7 members, {len(x)} rows: scikit-learn {there.shape}, ONNX {scores.shape},", end=" ")
    print(f"first row {there[0].round(2).tolist()} and {[round(float(v), 2) for v in scores[0]]}")
assert shapes == {"DecisionTreeClassifier": (100, 2), "LinearSVC": (7, 2), "RidgeClassifier": (7, 2)}
PY
