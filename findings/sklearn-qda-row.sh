#!/usr/bin/env bash
# skl2onnx writes the labels of a QuadraticDiscriminantAnalysis as one row, and calibrated, most are another.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: a vector of one label a row, as for every other classifier; the same probabilities when calibrated.
# Seen: labels have the shape (1, rows), and the model declares it so. They are right, but label[0] is all of
#   them. CalibratedClassifierCV around it converts and runs: with three classes its accuracy falls from 0.75
#   to a third. The same around GaussianNB, which has the same kind of output, is right.
# Output:
#   QuadraticDiscriminantAnalysis: declared [1, None], 5 labels have the shape (1, 5)
#   GaussianNB: declared [None], 5 labels have the shape (5,)
#   calibrated QuadraticDiscriminantAnalysis, 2 classes: accuracy 0.907, ONNX 0.897; probabilities differ by up to 0.443
#   calibrated QuadraticDiscriminantAnalysis, 3 classes: accuracy 0.747, ONNX 0.337; probabilities differ by up to 0.609
#   calibrated GaussianNB, 2 classes: accuracy 0.703, ONNX 0.703; probabilities differ by up to 0.000
#   calibrated GaussianNB, 3 classes: accuracy 0.673, ONNX 0.673; probabilities differ by up to 0.000
# Who is hurt: whoever reads labels row by row, and every calibrated discriminant analysis.
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
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB


def data(classes):
    x, y = make_classification(
        300, 5, n_informative=4, n_redundant=0, n_classes=classes, class_sep=0.5, random_state=0
    )
    return x.astype(np.float32), y


def session(model, x):
    onx = to_onnx(model, x[:1], options={"zipmap": False})
    return ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])


kinds = (QuadraticDiscriminantAnalysis, GaussianNB)
for kind, shape in zip(kinds, ((1, 5), (5,))):
    x, y = data(3)
    model = kind().fit(x, y)
    there = session(model, x)
    label = there.run(["label"], {"X": x[:5]})[0]
    print(f"{kind.__name__}: declared {there.get_outputs()[0].shape}, 5 labels have the shape {label.shape}")
    assert label.shape == shape and np.array_equal(label.ravel(), model.predict(x[:5]))
for kind in kinds:
    for classes in (2, 3):
        x, y = data(classes)
        model = CalibratedClassifierCV(kind(), ensemble=False).fit(x, y)
        label, here = session(model, x).run(None, {"X": x})
        apart = np.abs(here - model.predict_proba(x)).max()
        right, wrong = np.mean(model.predict(x) == y), np.mean(label == y)
        print(f"calibrated {kind.__name__}, {classes} classes: accuracy {right:.3f},", end=" ")
        print(f"ONNX {wrong:.3f}; probabilities differ by up to {apart:.3f}")
        assert apart < 1e-5 if kind is GaussianNB else apart > 0.3
        assert right == wrong if kind is GaussianNB else right > wrong
        assert kind is GaussianNB or classes == 2 or wrong < 0.4 < 0.7 < right
PY
