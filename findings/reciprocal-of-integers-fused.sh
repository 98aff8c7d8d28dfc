#!/usr/bin/env bash
# ONNX Runtime turns (1 / x) * y into y / x for integers too.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: 1 / x of integers is 0 unless x is 1 or -1, so the product is 0; y / x is not.
# Seen: the basic optimizations, which are to keep the meaning, fuse Div and Mul for int32 and int64 as
#   for floats.
# Output:
#   int32: (1 / [7, 2, 1, 3]) * [7, 9, 8, 30] is [0, 0, 8, 0], with basic optimizations [1, 4, 8, 10]
#   int64: (1 / [7, 2, 1, 3]) * [7, 9, 8, 30] is [0, 0, 8, 0], with basic optimizations [1, 4, 8, 10]
# Who is hurt: shape and index arithmetic that uses 1 / x for 'is x one'; turning optimizations off to
#   find the fault hides it.
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

LEVELS = ort.GraphOptimizationLevel


def run(level, kind):
    """(1 // x) * y: zero unless x is 1 or -1."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Div", ["one", "x"], ["t"]), helper.make_node("Mul", ["t", "y"], ["z"])],
            "g",
            [helper.make_tensor_value_info(name, element, [4]) for name in "xy"],
            [helper.make_tensor_value_info("z", element, [4])],
            [numpy_helper.from_array(np.array(1, kind), "one")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array([7, 2, 1, 3], kind), "y": np.array([7, 9, 8, 30], kind)})[0].tolist()


for kind in ("int32", "int64"):
    there, here = run(LEVELS.ORT_DISABLE_ALL, kind), run(LEVELS.ORT_ENABLE_BASIC, kind)
    print(f"{kind}: (1 / [7, 2, 1, 3]) * [7, 9, 8, 30] is {there}, with basic optimizations {here}")
    assert there == [0, 0, 8, 0] and here == [1, 4, 8, 10]
PY
