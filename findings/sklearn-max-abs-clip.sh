#!/usr/bin/env bash
# skl2onnx converts a MaxAbsScaler with clip=True as if it had clip=False.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: numbers beyond those that were fitted are cut to -1 and 1, as scikit-learn does and as the conversion of
#   MinMaxScaler(clip=True) does; or a refusal.
# Seen: the model has a Scaler and no Clip. What goes wrong shows only on data that wasn't fitted.
# Output (fitted on -2 to 2, asked for 1, 3 and -8):
#   MaxAbsScaler(clip=True): scikit-learn [0.5, 1.0, -1.0], ONNX [0.5, 1.5, -4.0] by ['Scaler']
#   MinMaxScaler(clip=True): scikit-learn [0.75, 1.0, 0.0], ONNX [0.75, 1.0, 0.0] by ['Cast', 'Mul', 'Add', 'Clip']
#   KNeighborsClassifier behind MaxAbsScaler(clip=True): 5 of 30 other labels
# Who is hurt: models behind such a scaler, for outliers and drifted data alone, which is what clip is for.
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
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler


def convert(model, x):
    """ONNX Runtime's first output, and the operators."""
    onx = to_onnx(model, x[:1])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": x})[0], [n.op_type for n in onx.graph.node]


seen, asked = np.array([[-2], [2]], np.float32), np.array([[1], [3], [-8]], np.float32)
for kind, wrong in ((MaxAbsScaler, [0.5, 1.5, -4]), (MinMaxScaler, [0.75, 1, 0])):
    model = kind(clip=True).fit(seen)
    there = model.transform(asked).ravel()
    here, kinds = convert(model, asked)
    print(f"{kind.__name__}(clip=True): scikit-learn {there.tolist()}, ONNX {here.ravel().tolist()} by {kinds}")
    assert np.allclose(here.ravel(), wrong) and ("Clip" in kinds) == (kind is MinMaxScaler)
    assert np.allclose(there, here.ravel()) == (kind is MinMaxScaler)

random = np.random.default_rng(0)
x = random.uniform(-1, 1, (200, 2)).astype(np.float32)
model = make_pipeline(MaxAbsScaler(clip=True), KNeighborsClassifier()).fit(x, x[:, 0] + x[:, 1] > 0)
outliers = random.uniform(-4, 4, (30, 2)).astype(np.float32)
labels, _ = convert(model, outliers)
others = int((labels != model.predict(outliers)).sum())
print(f"KNeighborsClassifier behind MaxAbsScaler(clip=True): {others} of 30 other labels")
assert others > 0 and np.array_equal(convert(model, x)[0], model.predict(x))
PY
