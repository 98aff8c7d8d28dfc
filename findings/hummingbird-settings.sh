#!/usr/bin/env bash
# Hummingbird converts a sigmoid SVC with another kernel, a Poisson loss without exp, a clip without clip.
#
# Packages: hummingbird-ml 0.4.12, torch 2.13.0, scikit-learn 1.9.1, numpy 2.4.6.
# Expected: the model's answers, or a refusal as for models that it doesn't know.
# Seen: SVC(kernel="sigmoid") is computed with 1 / (1 + exp(-z)); scikit-learn's sigmoid kernel is tanh(z).
#   HistGradientBoostingRegressor of the losses 'poisson' and 'gamma' gives the logarithm of its answers.
#   MinMaxScaler(clip=True) doesn't clip. No warning.
# Output:
#   SVC(kernel='sigmoid', gamma=0.1) on iris: accuracy 0.97 becomes 0.33
#   HistGradientBoostingRegressor(loss='poisson'): 179.4 becomes 5.2; loss='gamma': 183.6 becomes 5.2
#   MinMaxScaler(clip=True) of [-1, 2], fitted to [0, 1]: [0.0, 1.0] becomes [-1.0, 2.0]
# Who is hurt: counts and costs (0.2 % of what they were); inputs beyond those of the training.
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
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

x, y = load_iris(return_X_y=True)
x = StandardScaler().fit_transform(x).astype(np.float32)
model = SVC(kernel="sigmoid", gamma=0.1).fit(x, y)
converted = hummingbird.ml.convert(model, "torch", x)
right, theirs = np.mean(model.predict(x) == y), np.mean(converted.predict(x) == y)
print(f"SVC(kernel='sigmoid', gamma=0.1) on iris: accuracy {right:.2f} becomes {theirs:.2f}")
assert right > 0.95 and theirs < 0.5

x, y = load_diabetes(return_X_y=True)
x, said = x.astype(np.float32), []
for loss in ("poisson", "gamma"):
    model = HistGradientBoostingRegressor(loss=loss, max_iter=30, random_state=0).fit(x, y)
    right, theirs = model.predict(x), hummingbird.ml.convert(model, "torch", x).predict(x).ravel()
    said.append(f"loss='{loss}'{')' if loss == 'poisson' else ''}: {right[0]:.1f} becomes {theirs[0]:.1f}")
    assert np.allclose(np.exp(theirs), right, rtol=1e-3)
print(f"HistGradientBoostingRegressor({'; '.join(said)}")

scaler = MinMaxScaler(clip=True).fit([[0.0], [1.0]])
rows = np.array([[-1.0], [2.0]])
right = scaler.transform(rows).ravel().tolist()
theirs = hummingbird.ml.convert(scaler, "torch", rows).transform(rows).ravel().tolist()
print(f"MinMaxScaler(clip=True) of [-1, 2], fitted to [0, 1]: {right} becomes {theirs}")
assert right == [0, 1] and theirs == [-1, 2]
PY
