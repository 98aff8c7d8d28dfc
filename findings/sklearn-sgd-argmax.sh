#!/usr/bin/env bash
# skl2onnx lets SGDClassifier decide by probabilities, scikit-learn by the decision function.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: the label is scikit-learn's: the class of the largest decision value.
# Seen: with modified_huber probabilities are clipped to 0 and 1, and two classes often have the same; the
#   converted model takes the first of these. With log_loss this happens where float32 sigmoids are equal.
#   hinge, which has no probabilities, is right, and the probabilities agree, so only the labels tell.
# Output:
#   hinge: 0 of 600 labels differ, accuracy 0.895 and 0.895
#   log_loss: 1 of 600 labels differ, accuracy 0.913 and 0.912; the two largest probabilities of 1 are equal
#   modified_huber: 87 of 600 labels differ, accuracy 0.920 and 0.818; the two largest probabilities of 87 are equal
# Who is hurt: the class that comes first gets rows of the others: ten points of accuracy in this example.
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
from sklearn.datasets import make_blobs
from sklearn.linear_model import SGDClassifier

x, y = make_blobs(600, centers=3, n_features=4, cluster_std=3.0, random_state=0)
x = x.astype(np.float32)
wrong = {}
for loss in ("hinge", "log_loss", "modified_huber"):
    model = SGDClassifier(loss=loss, random_state=0).fit(x, y)
    onx = to_onnx(model, x[:1], options={"zipmap": False})
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    label, scores = session.run(None, {"X": x})
    decided = model.predict(x)
    wrong[loss] = int((label != decided).sum())
    print(f"{loss}: {wrong[loss]} of {len(x)} labels differ,", end=" ")
    print(f"accuracy {np.mean(decided == y):.3f} and {np.mean(label == y):.3f}", end="")
    if loss == "hinge":
        print()
        continue
    assert np.allclose(scores, model.predict_proba(x), atol=1e-4)
    ordered = np.sort(scores[label != decided], 1)
    print(f"; the two largest probabilities of {int((ordered[:, -1] == ordered[:, -2]).sum())} are equal")
    assert np.array_equal(label, scores.argmax(1)) and (ordered[:, -1] == ordered[:, -2]).all()
assert wrong["hinge"] == 0 and wrong["modified_huber"] > 50
PY
