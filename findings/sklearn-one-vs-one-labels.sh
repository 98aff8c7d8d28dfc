#!/usr/bin/env bash
# skl2onnx forgets the names of the classes of a OneVsOneClassifier.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: labels are those of the training data, as for OneVsRestClassifier.
# Seen: the converted model answers the class's number, 0, 1 or 2. Labels of other numbers are silently
#   replaced by these; names are refused, by ONNX Runtime and not by the converter, as the declared string
#   output gets integers.
# Output:
#   OneVsRestClassifier of [5, 8, 11]: ONNX says [5, 8, 11], 100% agree
#   OneVsOneClassifier of [0, 1, 2]: ONNX says [0, 1, 2], 100% agree
#   OneVsOneClassifier of [5, 8, 11]: ONNX says [0, 1, 2], 0% agree
#   OneVsOneClassifier of [2, 4, 1]: ONNX says [0, 1, 2], 0% agree
#   OneVsOneClassifier of ['a', 'b', 'c']: Fail
# Who is hurt: labels such as 1, 2 and 4, of which some exist among the numbers: the answers look
#   plausible.
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
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier

x, y = make_blobs(90, centers=3, random_state=0)
x = x.astype(np.float32)
ort.set_default_logger_severity(4)
seen = []
for kind in (OneVsRestClassifier, OneVsOneClassifier):
    for names in ([0, 1, 2], [5, 8, 11], [2, 4, 1], ["a", "b", "c"]):
        model = kind(LogisticRegression()).fit(x, np.array(names)[y])
        onx = to_onnx(model, x[:1])
        try:
            session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
            label = session.run(None, {"X": x})[0].ravel()
            agree = float(np.mean(label == model.predict(x)))
            print(f"{kind.__name__} of {names}: ONNX says {sorted(set(label.tolist()))}, {agree:.0%} agree")
        except Exception as error:
            agree = type(error).__name__
            print(f"{kind.__name__} of {names}: {agree}")
        seen.append(agree)
assert seen[:5] == [1] * 5 and seen[5] == 0 and seen[6] < 0.5 and seen[7] == "Fail", seen
PY
