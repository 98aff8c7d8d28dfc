#!/usr/bin/env bash
# In ONNX Runtime a bias of zeros turns NaN into numbers, in LSTM and GRU.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: a NaN input makes all later states NaN, as the formulas say; adding a bias of zeros changes
#   nothing.
# Seen: without a bias that is so. With one, the states are finite again in the very step of the NaN and
#   in later ones. RNN is spared.
# Output (one unit, weights 1, inputs 1, NaN, 1):
#   LSTM no bias       [0.37, nan, nan]
#   LSTM bias of zeros [0.37, 0.915, 0.85]
#   GRU  no bias       [0.205, nan, nan]
#   GRU  bias of zeros [0.205, 0.205, 0.347]
#   RNN  no bias       [0.762, nan, nan]
#   RNN  bias of zeros [0.762, nan, nan]
# Who is hurt: whoever looks for NaN in the output to find missing or broken sensor values: exporters give
#   their LSTMs a bias.
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
from onnx import TensorProto, helper, numpy_helper


def states(op, gates, bias):
    """One unit, all weights 1; the second of three inputs is NaN."""
    inputs = ["x", "w", "r"] + ["b"] * bias
    weights = [numpy_helper.from_array(np.ones((1, gates, 1), np.float32), n) for n in "wr"]
    if bias:
        weights.append(numpy_helper.from_array(np.zeros((1, 2 * gates), np.float32), "b"))
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(op, inputs, ["y"], hidden_size=1)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 1, 1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1, 1, 1])],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 14)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": np.array([1, np.nan, 1], np.float32).reshape(3, 1, 1)})[0].ravel()
    print(f"{op:4} {'bias of zeros' if bias else 'no bias      '} {[round(float(v), 3) for v in y]}")
    return np.isnan(y).tolist()


for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
    assert states(op, gates, False) == [False, True, True]
    assert states(op, gates, True) == ([False, True, True] if op == "RNN" else [False] * 3)
PY
