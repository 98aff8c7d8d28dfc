#!/usr/bin/env bash
# ONNX Runtime's Where turns -0 of its second input into 0, but leaves that of its third.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Where picks elements; a picked -0 stays -0.
# Seen: a -0 picked of X is 0, one picked of Y stays -0.
# Output:
#   float32: Where([True, False], [-0, 1], [1, -0]) is [0.0, -0.0]
#   float64: Where([True, False], [-0, 1], [1, -0]) is [0.0, -0.0]
# Who is hurt: exact comparisons of bits; 1 / Where(…) is inf in place of -inf.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

for kind in ("float32", "float64"):
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Where", ["c", "x", "y"], ["z"])],
            "g",
            [helper.make_tensor_value_info("c", 9, [2])]
            + [helper.make_tensor_value_info(name, element, [2]) for name in "xy"],
            [helper.make_tensor_value_info("z", element, [2])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"c": np.array([True, False]), "x": np.array([-0.0, 1], kind), "y": np.array([1, -0.0], kind)}
    z = session.run(None, feeds)[0]
    print(f"{kind}: Where([True, False], [-0, 1], [1, -0]) is {z.tolist()}")
    assert z.tolist() == [0, 0] and np.signbit(z).tolist() == [False, True]
PY
