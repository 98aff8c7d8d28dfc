#!/usr/bin/env bash
# Hummingbird gives a LogisticRegression of three classes other probabilities, and the same labels.
#
# Packages: hummingbird-ml 0.4.12, torch 2.13.0, scikit-learn 1.9.1, numpy 2.4.6.
# Expected: scikit-learn's probabilities, which are a softmax of the scores.
# Seen: a sigmoid of each score, divided by their sum. Hummingbird asks the model for `multi_class`, which
#   scikit-learn no longer has, and then takes one against the rest. Two classes are right. No warning.
# Output:
#   iris: labels that differ 0 of 150, log loss 0.130 becomes 0.601, largest difference of a probability 0.48
#   wine: labels that differ 0 of 178, log loss 0.032 becomes 0.292, largest difference of a probability 0.40
# Who is hurt: whoever checks labels alone, and then cuts off by a threshold, ranks, or stacks (a stack ends
#   in a LogisticRegression).
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check hummingbird-ml==0.4.12 torch==2.13.0 \
    scikit-learn==1.9.1 numpy==2.4.6
venv/bin/python - <<'PY' 2>errors.txt || { cat errors.txt; exit 1; }
import hummingbird.ml
import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def both(load):
    x, y = load(return_X_y=True)
    x = StandardScaler().fit_transform(x).astype(np.float32)
    model = LogisticRegression().fit(x, y)
    return model, hummingbird.ml.convert(model, "torch", x), x, y


for load in (load_iris, load_wine):
    model, converted, x, y = both(load)
    right, theirs = model.predict_proba(x), converted.predict_proba(x)
    labels = np.count_nonzero(model.predict(x) != converted.predict(x))
    loss = [-np.log(p[np.arange(len(y)), y]).mean() for p in (right, theirs)]
    apart = np.abs(right - theirs).max()
    print(f"{load.__name__.removeprefix('load_')}: labels that differ {labels} of {len(y)}, log loss "
          f"{loss[0]:.3f} becomes {loss[1]:.3f}, largest difference of a probability {apart:.2f}")
    assert labels == 0 and apart > 0.3
    each = 1 / (1 + np.exp(-model.decision_function(x)))
    assert np.allclose(theirs, each / each.sum(1, keepdims=True), atol=1e-4)
model, converted, x, _ = both(load_breast_cancer)
assert np.allclose(model.predict_proba(x), converted.predict_proba(x), atol=1e-4)
PY
