#!/usr/bin/env bash
# ONNX Runtime drops the coarser of two quantizations in a row.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: rounding to tenths and then to whole numbers gives whole numbers, at every optimization level.
# Seen: the basic optimizations merge the two pairs of QuantizeLinear and DequantizeLinear into one, whose
#   scale is made from the common range alone. -12.8 to 12.7 in tenths, then 0 to 255 in ones, becomes 0 to
#   12.7 in 255 steps: finer than either, and not whole.
# Output:
#   x         [0.26, 0.74, 3.3, 7.6, 12.7]
#   as it is  [0.0, 1.0, 3.0, 8.0, 13.0]
#   optimized [0.25, 0.75, 3.29, 7.62, 12.7]
# Who is hurt: whoever simulates a coarse device with such pairs after a finer one: the simulation is
#   better than the device.
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

LEVELS = ort.GraphOptimizationLevel


def run(level):
    """Two pairs of QuantizeLinear and DequantizeLinear: to tenths first, then to whole numbers."""
    constants = {"tenth": 0.1, "one": 1.0}
    weights = [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in constants.items()]
    weights += [numpy_helper.from_array(np.array(z, np.uint8), f"z{z}") for z in (128, 0)]
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("QuantizeLinear", ["x", "tenth", "z128"], ["a"]),
                helper.make_node("DequantizeLinear", ["a", "tenth", "z128"], ["b"]),
                helper.make_node("QuantizeLinear", ["b", "one", "z0"], ["c"]),
                helper.make_node("DequantizeLinear", ["c", "one", "z0"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5])],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


x = np.array([0.26, 0.74, 3.3, 7.6, 12.7], np.float32)
there, here = run(LEVELS.ORT_DISABLE_ALL), run(LEVELS.ORT_ENABLE_BASIC)
print("x        ", [round(float(v), 2) for v in x])
print("as it is ", there.tolist())
print("optimized", [round(float(v), 2) for v in here])
assert there.tolist() == [0, 1, 3, 8, 13]
assert np.abs(here - there).max() > 0.3 and np.abs(here - x).max() < 0.1
PY
