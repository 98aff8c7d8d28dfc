#!/usr/bin/env bash
# skl2onnx makes float32 of int64 inputs before it subtracts their mean or minimum.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: an int64 column is scaled as scikit-learn does it, in double; that it is declared int64 is to
#   keep its digits.
# Seen: the first node is a cast to float32, which has steps of 128 at today's Unix times: an hour of
#   minutes has 29 values left of 60. The same converter with DoubleTensorType keeps all of them for the
#   scalers.
# Output:
#   StandardScaler: 60 values in scikit-learn; Int64TensorType 29, differs by up to 0.083; DoubleTensorType 60, differs by up to 0
#   MinMaxScaler: 60 values in scikit-learn; Int64TensorType 29, differs by up to 0.032; DoubleTensorType 60, differs by up to 0
#   KBinsDiscretizer: 60 values in scikit-learn; Int64TensorType 28, differs by up to 2
# Who is hurt: models with timestamps, identifiers or amounts in cents: what the model learnt of minutes
#   is gone.
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
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, StandardScaler

# One hour of Unix time, a row each minute.
x = 1_700_000_000 + 60 * np.arange(60, dtype=np.int64)[:, None]
for model in (
    StandardScaler(),
    MinMaxScaler(),
    KBinsDiscretizer(60, encode="ordinal", strategy="uniform", quantile_method="linear"),
):
    model.fit(x)
    there = model.transform(x).ravel()
    text = f"{type(model).__name__}: {len(np.unique(there))} values in scikit-learn"
    for kind, feed in ((Int64TensorType, x), (DoubleTensorType, x.astype(np.float64))):
        if isinstance(model, KBinsDiscretizer) and kind is DoubleTensorType:
            continue
        onx = to_onnx(model, initial_types=[("x", kind([None, 1]))])
        session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        here = session.run(None, {"x": feed})[0].ravel()
        text += f"; {kind.__name__} {len(np.unique(here))}, differs by up to {np.abs(there - here).max():.2g}"
        different = np.abs(there - here).max() > 1e-3
        assert different == (kind is Int64TensorType)
    print(text)
PY
