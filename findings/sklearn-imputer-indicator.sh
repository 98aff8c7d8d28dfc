#!/usr/bin/env bash
# skl2onnx: four transformers of scikit-learn that treat missing values otherwise in ONNX.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: settings that the converter doesn't know are refused (it does so for other settings of the
#   same classes), and what it converts has the columns and the NaN of scikit-learn.
# Seen: SimpleImputer(add_indicator=True) loses the indicator columns. A column without any value, which
#   SimpleImputer drops, stays, as NaN: all columns after it move by one. OrdinalEncoder gives -1 for a
#   missing value whatever encoded_missing_value says. PowerTransformer, which hands NaN on, gives a
#   number for it: NaN is taken as if it were zero, an imputation nobody asked for.
# Output: see the four pairs printed; for instance
#   PowerTransformer()  scikit-learn [0.03, nan, 1.21, -1.24]  ONNX [0.03, -0.38, 1.21, -1.24]
# Who is hurt: pipelines: the next step is handed too few or shifted columns, or numbers that look real.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 skl2onnx==1.20.0 \
    scikit-learn==1.9.1
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OrdinalEncoder, PowerTransformer


def both(model, x):
    model.fit(x)
    onx = to_onnx(model, x[:1])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    there, here = model.transform(x), session.run(None, {"X": x})[0]
    print(f"{model}\n  scikit-learn {there.round(2).tolist()}\n  ONNX         {here.round(2).tolist()}")
    return there, here


nan = np.nan
x = np.array([[1, nan], [3, 4], [5, 6]], np.float32)
there, here = both(SimpleImputer(add_indicator=True), x)
assert there.shape == (3, 3) and here.shape == (3, 2)

x = np.array([[1, nan], [3, nan]], np.float32)
there, here = both(SimpleImputer(), x)
assert there.shape == (2, 1) and here.shape == (2, 2) and np.isnan(here[:, 1]).all()

x = np.array([[1], [nan], [2]], np.float32)
there, here = both(OrdinalEncoder(encoded_missing_value=-5), x)
assert there.ravel().tolist() == [0, -5, 1] and here.ravel().tolist() == [0, -1, 1]

x = np.array([[0.5], [nan], [2], [-1]], np.float32)
there, here = both(PowerTransformer(), x)
assert np.isnan(there[1, 0]) and np.isfinite(here).all()
PY
