#!/usr/bin/env bash
# CatBoost's own ONNX export loses two integer labels and the threshold.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, catboost 1.2.10.
# Expected: labels are those of predict: the export has names for strings, and numbers for three classes.
# Seen: two classes of other integers than 0 and 1 come back as 0 and 1, although [5, 8, 11] and ['n',
#   'y'] are right. A threshold set with set_probability_threshold is ignored.
# Output:
#   ['n', 'y']: CatBoost {'n': 177, 'y': 123}, ONNX {'n': 177, 'y': 123}
#   [5, 8, 11]: CatBoost {5: 100, 8: 124, 11: 76}, ONNX {5: 100, 8: 124, 11: 76}
#   [5, 8]: CatBoost {5: 177, 8: 123}, ONNX {0: 177, 1: 123}
#   [-1, 1]: CatBoost {-1: 177, 1: 123}, ONNX {0: 177, 1: 123}
#   [1, 2]: CatBoost {1: 177, 2: 123}, ONNX {0: 177, 1: 123}
#   [0, 1] with threshold 0.2: CatBoost {0: 142, 1: 158}, ONNX {0: 177, 1: 123}
# Who is hurt: labels 1 and 2 are worst: what ONNX calls 1 is the other class.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 catboost==1.2.10
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from catboost import CatBoostClassifier

settings = {"iterations": 20, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 3)).astype(np.float32)
two = (x[:, 0] + 0.5 * rng.normal(size=300) > 0).astype(int)
three = np.digitize(x[:, 0], [-0.5, 0.5])


def labels(text, names, y, threshold=None):
    model = CatBoostClassifier(**settings).fit(x, np.array(names)[y])
    if threshold is not None:
        model.set_probability_threshold(threshold)
    model.save_model("m.onnx", format="onnx")
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    here, there = session.run(None, {"features": x})[0].ravel(), model.predict(x).ravel()
    print(f"{text}: CatBoost {dict(zip(*map(np.ndarray.tolist, np.unique(there, return_counts=True))))},", end=" ")
    print(f"ONNX {dict(zip(*map(np.ndarray.tolist, np.unique(here, return_counts=True))))}")
    return there, here


for text, names, y in (("[0, 1]", [0, 1], two), ("['n', 'y']", ["n", "y"], two), ("[5, 8, 11]", [5, 8, 11], three)):
    there, here = labels(text, names, y)
    assert np.array_equal(there, here)
for names in ([5, 8], [-1, 1], [1, 2]):
    there, here = labels(str(names), names, two)
    assert np.array_equal(np.array(names)[here], there)
there, here = labels("[0, 1] with threshold 0.2", [0, 1], two, 0.2)
assert (there != here).sum() > 20
PY
