#!/usr/bin/env bash
# skl2onnx makes steps of isotonic calibration, which scikit-learn draws as lines.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: CalibratedClassifierCV(method='isotonic') interpolates between the points that it learnt.
# Seen: the converted model takes one point's value. method='sigmoid' agrees everywhere.
# Output:
#   sigmoid on 300 rows: 0% of new rows differ, by up to 0.000; 0 labels of 1000 differ
#   isotonic on 100 rows: 18% of new rows differ, by up to 0.153; 11 labels of 1000 differ
#   isotonic on 300 rows: 13% of new rows differ, by up to 0.070; 1 labels of 1000 differ
#   isotonic on 1000 rows: 4% of new rows differ, by up to 0.037; 0 labels of 1000 differ
# Who is hurt: calibration is asked for when probabilities matter; the fewer points it had, the larger the
#   steps.
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
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.naive_bayes import GaussianNB

x, y = make_classification(2000, 6, n_informative=3, flip_y=0.2, random_state=0)
x = x.astype(np.float32)
worst = {}
for method in ("sigmoid", "isotonic"):
    for rows in (100, 300, 1000):
        model = CalibratedClassifierCV(GaussianNB(), method=method, cv=3).fit(x[:rows], y[:rows])
        onx = to_onnx(model, x[:1], options={"zipmap": False})
        session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        label, here = session.run(None, {"X": x[1000:]})
        there = model.predict_proba(x[1000:])
        error = np.abs(there - here)[:, 1]
        worst[method, rows] = error.max()
        print(f"{method} on {rows} rows: {np.mean(error > 1e-3):.0%} of new rows differ, by up to {error.max():.3f};", end=" ")
        print(f"{int((label != model.predict(x[1000:])).sum())} labels of 1000 differ")
assert all((v > 0.02) == (k[0] == "isotonic") for k, v in worst.items())
assert max(v for k, v in worst.items() if k[0] == "sigmoid") < 1e-3
PY
