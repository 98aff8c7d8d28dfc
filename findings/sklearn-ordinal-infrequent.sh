#!/usr/bin/env bash
# skl2onnx uses the first column's rare categories for all columns of an OrdinalEncoder.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: min_frequency and max_categories are refused, as they are for OneHotEncoder, or each column
#   has its own.
# Seen: the columns of one input all get the first column's mapping of rare categories. One column alone
#   is right, so tests with one column pass.
# Output:
#   Int64TensorType {}, second column: scikit-learn [0, 1, 0, 2, 0, 3, 3], ONNX [0, 1, 0, 2, 0, 3, 3]
#   Int64TensorType {'min_frequency': 2}, second column: scikit-learn [0, 2, 0, 2, 0, 1, 1], ONNX [0, 1, 0, 2, 0, 2, 2]
#   StringTensorType {'max_categories': 3}, second column: scikit-learn [0, 2, 0, 2, 0, 1, 1], ONNX [0, 1, 0, 2, 0, 2, 2]
#   OneHotEncoder with min_frequency is refused
# Who is hurt: tree models over encoded categories: a frequent category gets the code of the rare ones and
#   the other way round.
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
from skl2onnx.common.data_types import Int64TensorType, StringTensorType
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder


def run(model, x, kind):
    onx = to_onnx(model, initial_types=[("x", kind([None, x.shape[1]]))])
    session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


# First column: 3 and 4 are rare. Second column: 6 and 7 are rare.
x = np.array([[1, 5], [2, 6], [2, 5], [3, 7], [1, 5], [2, 8], [4, 8]], np.int64)
for kind, values in ((Int64TensorType, x), (StringTensorType, x.astype(str).astype(object))):
    for settings in ({}, {"min_frequency": 2}, {"max_categories": 3}):
        model = OrdinalEncoder(**settings).fit(values)
        there, here = model.transform(values), run(model, values, kind)
        assert np.array_equal(there[:, 0], here[:, 0])
        print(f"{kind.__name__} {settings}, second column: scikit-learn {there[:, 1].astype(int).tolist()},", end=" ")
        print(f"ONNX {here[:, 1].astype(int).tolist()}")
        assert np.array_equal(there, here) == (not settings)
        alone = OrdinalEncoder(**settings).fit(values[:, 1:])
        assert np.array_equal(there[:, 1:], run(alone, values[:, 1:], kind))
try:
    run(OneHotEncoder(min_frequency=2, sparse_output=False).fit(x), x, Int64TensorType)
except NotImplementedError:
    print("OneHotEncoder with min_frequency is refused")
else:
    raise AssertionError("OneHotEncoder is no longer refused")
PY
