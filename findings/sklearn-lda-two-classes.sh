#!/usr/bin/env bash
# skl2onnx doubles the log-odds of a LinearDiscriminantAnalysis of two classes.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: probabilities agree, as they do for LogisticRegression, which has the same attributes.
# Seen: with two classes the log-odds are twice as large; with three classes all is right. Labels agree.
# Output:
#   LogisticRegression, 2 classes: first row [0.276, 0.724], ONNX [0.276, 0.724]; ONNX's log-odds are 1.00 times as large
#   LinearDiscriminantAnalysis, 2 classes: first row [0.276, 0.724], ONNX [0.127, 0.873]; ONNX's log-odds are 2.00 times as large
#   LinearDiscriminantAnalysis, 3 classes: first row [0.191, 0.298, 0.511], ONNX [0.191, 0.298, 0.511]; ONNX's log-odds are 1.00 times as large
# Who is hurt: whoever acts on a threshold other than 0.5, or averages probabilities.
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
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression


def log_odds(p):
    return np.log(p[:, 1] / p[:, 0])


ratios = {}
for kind in (LogisticRegression, LinearDiscriminantAnalysis):
    for classes in (2, 3):
        x, y = make_classification(
            300, 5, n_informative=4, n_redundant=0, n_classes=classes, class_sep=0.5, random_state=0
        )
        x = x.astype(np.float32)
        model = kind().fit(x, y)
        onx = to_onnx(model, x[:1], options={"zipmap": False})
        session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        label, here = session.run(None, {"X": x})
        there = model.predict_proba(x)
        ratios[kind.__name__, classes] = ratio = np.median(log_odds(here) / log_odds(there))
        print(f"{kind.__name__}, {classes} classes: first row {[round(float(v), 3) for v in there[0]]}, ONNX", end=" ")
        print(f"{[round(float(v), 3) for v in here[0]]}; ONNX's log-odds are {ratio:.2f} times as large")
        assert np.array_equal(label, model.predict(x))
assert {k: round(float(v), 2) for k, v in ratios.items()} == {
    ("LogisticRegression", 2): 1,
    ("LogisticRegression", 3): 1,
    ("LinearDiscriminantAnalysis", 2): 2,
    ("LinearDiscriminantAnalysis", 3): 1,
}
PY
