#!/usr/bin/env bash
# skl2onnx sends missing values to the right in every tree of scikit-learn.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: scikit-learn's trees and forests learn where NaN goes at each split (missing_go_to_left), and
#   ONNX has nodes_missing_value_tracks_true for it. The converter handles both, or refuses NaN.
# Seen: it writes 0 for every node, so that NaN, for which x <= threshold is false, always goes right.
#   Trees, forests and extra trees, regressors and classifiers; no warning.
# Output (the first of five rows is NaN):
#   DecisionTreeRegressor: scikit-learn [1. 1. 1. 0. 0.], ONNX [0. 1. 1. 0. 0.]
#   RandomForestRegressor: scikit-learn [1. 1. 1. 0. 0.], ONNX [0. 1. 1. 0. 0.]
# Who is hurt: tabular models on data with gaps; a test on complete rows passes.
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
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

# The answer is 1 where the feature is missing or small, else 0.
x = np.array([[np.nan], [0], [1], [2], [3]] * 20, np.float32)
y = np.where(np.isnan(x[:, 0]) | (x[:, 0] < 1.5), 1.0, 0.0)

for kind in (DecisionTreeRegressor, RandomForestRegressor, ExtraTreesRegressor):
    settings = {} if kind is DecisionTreeRegressor else {"n_estimators": 5}
    model = kind(random_state=0, **settings).fit(x, y)
    onx = to_onnx(model, x[:1])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    there, here = model.predict(x[:5]), session.run(None, {"X": x[:5]})[0].ravel()
    tracks = next(
        list(a.ints)
        for node in onx.graph.node
        for a in node.attribute
        if a.name == "nodes_missing_value_tracks_true"
    )
    print(f"{kind.__name__}: scikit-learn {there.round(2)}, ONNX {here.round(2)}")
    assert there[0] > 0.8 and here[0] < 0.2 and not any(tracks)
    assert np.allclose(there[1:], here[1:])
PY
