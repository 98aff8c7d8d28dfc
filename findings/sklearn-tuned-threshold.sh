#!/usr/bin/env bash
# skl2onnx converts a TunedThresholdClassifierCV without its threshold.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: the labels of the tuned threshold, which is all that the class is for, or a refusal, as for
#   FixedThresholdClassifier, which has no converter.
# Seen: the labels are those of the classifier inside, at one half. Probabilities agree.
# Output (one row of ten is positive; tuned for balanced accuracy):
#   threshold 0.08; balanced accuracy 0.65, in ONNX 0.52; positives found 79 of 105, in ONNX 5
# Who is hurt: screening for what is rare, where the threshold is tuned because one half finds little.
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
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

x, y = make_classification(1000, 5, n_informative=4, n_redundant=0, weights=[0.9], random_state=0)
x = x.astype(np.float32)
model = TunedThresholdClassifierCV(LogisticRegression(), scoring="balanced_accuracy", random_state=0).fit(x, y)
onx = to_onnx(model, x[:1], options={"zipmap": False})
session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
here, probabilities = session.run(None, {"X": x})
there = model.predict(x)
scores = [float(balanced_accuracy_score(y, labels)) for labels in (there, here)]
found = [int(np.sum(labels * y)) for labels in (there, here)]
print(f"threshold {model.best_threshold_:.2f}; balanced accuracy {scores[0]:.2f}, in ONNX {scores[1]:.2f};", end=" ")
print(f"positives found {found[0]} of {y.sum()}, in ONNX {found[1]}")
assert np.allclose(probabilities, model.predict_proba(x), atol=1e-5)
assert np.array_equal(there, probabilities[:, 1] >= model.best_threshold_)
assert np.array_equal(here, model.estimator_.predict(x)) and scores[0] > scores[1] + 0.1
try:
    to_onnx(FixedThresholdClassifier(LogisticRegression()).fit(x, y), x[:1])
except Exception as error:
    assert type(error).__name__ == "MissingShapeCalculator", error
else:
    raise AssertionError("FixedThresholdClassifier is converted")
PY
