#!/usr/bin/env bash
# Whether ONNX Runtime's MaxPool passes a NaN on depends on its corner, and on whether Indices are asked for.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: NaN always wins or always loses, and an optional second output doesn't change the first.
# Seen: in a window of 2 x 2 the maximum is NaN only if the last element is, without Indices, and only if
#   the first is, with Indices. Nothing but the declared outputs differs.
# Output:
#   NaN first, second, third, last, without Indices: [4.0, 4.0, 4.0, nan]
#   NaN first, second, third, last, with Indices: [nan, 4.0, 4.0, 3.0]
# Who is hurt: checks for NaN after pooling, and comparisons of a network with unpooling to the same one
#   without.
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
from onnx import TensorProto, helper


def pooled(indices, place):
    """The largest of 1, 2, 3, 4 in a 2 x 2 window, with NaN in one place."""
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 1])]
    if indices:
        outputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, [1, 1, 1, 1]))
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MaxPool", ["x"], ["y", "i"][: 1 + indices], kernel_shape=[2, 2])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])],
            outputs,
        ),
        opset_imports=[helper.make_opsetid("", 12)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    x = np.array([1, 2, 3, 4], np.float32)
    x[place] = np.nan
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return float(session.run(["y"], {"x": x.reshape(1, 1, 2, 2)})[0].item())


for indices in (False, True):
    row = [pooled(indices, place) for place in range(4)]
    print(f"NaN first, second, third, last, {'with' if indices else 'without'} Indices: {row}")
    missing = [bool(np.isnan(v)) for v in row]
    assert missing == [indices, False, False, not indices]
PY
