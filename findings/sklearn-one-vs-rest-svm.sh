#!/usr/bin/env bash
# skl2onnx turns OneVsRestClassifier of SVC upside down, and that of LinearSVC of two classes off its centre.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: the class of the largest decision value, or with two classes the sign of the one.
# Seen: SVC's decision has the other sign in the converted model, so the least likely class wins. With two
#   classes the value is compared with 0.5, as if it were a probability: LinearSVC loses what is between 0
#   and 0.5. The scores of three classes are divided by their sum, as if they were probabilities too, and a
#   negative sum turns their order.
# Output:
#   LogisticRegression, 2 classes: accuracy 0.740, ONNX 0.740; probabilities agree
#   LinearSVC, 2 classes: accuracy 0.738, ONNX 0.613; decisions [-0.07] and [1.07, -0.07]
#   SVC, 2 classes: accuracy 0.905, ONNX 0.133; decisions [0.78] and [1.78, -0.78]
#   LinearSVC, 3 classes: accuracy 0.675, ONNX 0.675; decisions [-0.93, 0.9, -0.92] and [0.98, -0.95, 0.97]
#   SVC, 3 classes: accuracy 0.840, ONNX 0.037; decisions [-1.49, 1.59, -1.28] and [1.26, -1.34, 1.08]
# Who is hurt: whoever wraps an SVM, which is the usual reason to wrap at all; nothing is raised.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 skl2onnx==1.20.0 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import warnings

import numpy as np
import onnxruntime as ort
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, LinearSVC

warnings.simplefilter("ignore")
accuracy = {}
for classes in (2, 3):
    x, y = make_classification(400, 5, n_informative=4, n_redundant=0, n_classes=classes, random_state=1)
    x = x.astype(np.float32)
    for base in (LogisticRegression(), LinearSVC(), SVC()):
        model = OneVsRestClassifier(base).fit(x, y)
        onx = to_onnx(model, x[:1], options={"zipmap": False})
        session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        label, scores = session.run(None, {"X": x})
        there, here = float(np.mean(model.predict(x) == y)), float(np.mean(label == y))
        accuracy[type(base).__name__, classes] = there, here
        print(f"{type(base).__name__}, {classes} classes: accuracy {there:.3f}, ONNX {here:.3f};", end=" ")
        if hasattr(model, "predict_proba") and not isinstance(base, SVC):
            assert np.allclose(model.predict_proba(x), scores, atol=1e-4)
            print("probabilities agree")
        else:
            first = np.ravel(model.decision_function(x[:1])).tolist()
            print(f"decisions {[round(v, 2) for v in first]} and {[round(float(v), 2) for v in scores[0]]}")
for classes in (2, 3):
    there, here = accuracy["LogisticRegression", classes]
    assert there == here
    there, here = accuracy["SVC", classes]
    assert there > 0.8 and here < 0.2
    there, here = accuracy["LinearSVC", classes]
    assert (there == here) == (classes == 3)
PY
