#!/usr/bin/env bash
# ebm2onnx converts explainable boosting for counts and skewed targets without its exponential.
#
# Packages: ebm2onnx 3.3.1, interpret-core 0.7.8, scikit-learn 1.9.1, pandas 3.1.1, onnx 1.23.2, onnxruntime 1.32.0,
#   numpy 2.4.6.
# Expected: what predict of the model says: with the objectives poisson_deviance, gamma_deviance, tweedie_deviance
#   and rmse_log that is the exponential of the sum of the terms. Or a refusal.
# Seen: the file gives the sum itself, also negative counts. With rmse the file is right.
# Output:
#   rmse: right
#   rmse_log: wrong, the logarithm of predict is right
#   poisson_deviance: wrong, the logarithm of predict is right
#   gamma_deviance: wrong, the logarithm of predict is right
#   tweedie_deviance:variance_power=1.5: wrong, the logarithm of predict is right
# Who is hurt: forecasts of counts, costs and durations.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    ebm2onnx==3.3.1 interpret-core==0.7.8 scikit-learn==1.9.1 pandas==3.1.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import ebm2onnx
import numpy as np
import onnxruntime as ort
import pandas as pd
from interpret.glassbox import ExplainableBoostingRegressor

generator = np.random.default_rng(0)
x = pd.DataFrame(generator.normal(size=(400, 2)), columns=["a", "b"])
target = np.exp(0.8 * x.a + np.sin(2 * x.b))
for objective in ("rmse", "rmse_log", "poisson_deviance", "gamma_deviance", "tweedie_deviance:variance_power=1.5"):
    model = ExplainableBoostingRegressor(
        objective=objective, interactions=0, max_rounds=50, outer_bags=2, n_jobs=1, random_state=0
    ).fit(x, target)
    there = model.predict(x)
    onx = ebm2onnx.to_onnx(model, dtype={"a": "double", "b": "double"}, name="ebm")
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    here = session.run(None, {name: x[name].to_numpy() for name in ("a", "b")})[0].ravel()
    if objective == "rmse":
        assert np.allclose(here, there, atol=1e-5)
        print("rmse: right")
    else:
        assert np.allclose(here, np.log(there), atol=1e-5) and here.min() < 0 < there.min()
        print(f"{objective}: wrong, the logarithm of predict is right")
PY
