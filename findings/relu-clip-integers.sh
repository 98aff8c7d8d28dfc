#!/usr/bin/env bash
# ONNX Runtime doesn't load a Relu and a Clip in a row, of integers or float64.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Clip(Relu(x), -2, 6) is Clip(x, 0, 6); an optimization that can't do that for a type leaves
#   the two nodes.
# Seen: the basic optimizations raise an error for float64, int8 and int32, and the session isn't made.
#   Without optimizations the same model runs.
# Output:
#   Relu then Clip of float32: [0.0, 3.0, 6.0], with basic optimizations [0.0, 3.0, 6.0]
#   Relu then Clip of float64: [0.0, 3.0, 6.0], with basic optimizations Fail
#   Relu then Clip of int8: [0, 3, 6], with basic optimizations Fail
#   Relu then Clip of int32: [0, 3, 6], with basic optimizations Fail
#   Abs then Clip of int32: [6, 3, 6], with basic optimizations [6, 3, 6]
# Who is hurt: double precision exports and integer networks: a valid model is no model at the default
#   level.
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
from onnx import helper, numpy_helper

ort.set_default_logger_severity(4)
LEVELS = ort.GraphOptimizationLevel


def run(level, first, kind):
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(first, ["x"], ["t"]),
                helper.make_node("Clip", ["t", "low", "high"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", element, [3])],
            [helper.make_tensor_value_info("y", element, [3])],
            [numpy_helper.from_array(np.array(v, kind), k) for k, v in (("low", -2), ("high", 6))],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return type(error).__name__
    return session.run(None, {"x": np.array([-9, 3, 9], kind)})[0].tolist()


seen = {}
for first, kind in (("Relu", "float32"), ("Relu", "float64"), ("Relu", "int8"), ("Relu", "int32"), ("Abs", "int32")):
    there, here = (run(level, first, kind) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC))
    print(f"{first} then Clip of {kind}: {there}, with basic optimizations {here}")
    assert there == ([0, 3, 6] if first == "Relu" else [6, 3, 6])
    seen[first, kind] = here
assert seen["Relu", "float32"] == [0, 3, 6] and seen["Abs", "int32"] == [6, 3, 6]
assert all(seen["Relu", kind] == "Fail" for kind in ("float64", "int8", "int32"))
PY
