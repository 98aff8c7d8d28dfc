#!/usr/bin/env bash
# ONNX Runtime takes (mean - x) / deviation for a layer normalization, and a fourth power for a square.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the pattern is recognised by its nodes and the order of their inputs; mean - x over the
#   deviation is the negative of it.
# Seen: both orders of Sub become LayerNormalization, so the answer changes its sign. The exponent isn't
#   looked at either: the fourth power becomes a square.
# Output (x = 0, 0, 1, 7):
#   x - mean, power 2: [-0.69, -0.69, -0.34, 1.71], optimized [-0.69, -0.69, -0.34, 1.71]
#   mean - x, power 2: [0.69, 0.69, 0.34, -1.71], optimized [-0.69, -0.69, -0.34, 1.71]
#   x - mean, power 4: [-0.16, -0.16, -0.08, 0.39], optimized [-0.69, -0.69, -0.34, 1.71]
# Who is hurt: hand-written normalizations at the default optimization level.
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


def run(level, swapped, exponent):
    """The nine nodes of a layer normalization; the last scale is 1, the last bias 0."""
    node = helper.make_node
    constants = {"two": exponent, "e": 1e-5, "g": [1] * 4, "b": [0] * 4}
    model = helper.make_model(
        helper.make_graph(
            [
                node("ReduceMean", ["x"], ["m"], axes=[-1]),
                node("Sub", ["m", "x"] if swapped else ["x", "m"], ["d"]),
                node("Pow", ["d", "two"], ["p"]),
                node("ReduceMean", ["p"], ["v"], axes=[-1]),
                node("Add", ["v", "e"], ["w"]),
                node("Sqrt", ["w"], ["s"]),
                node("Div", ["d", "s"], ["n"]),
                node("Mul", ["n", "g"], ["h"]),
                node("Add", ["h", "b"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
            [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array([[0, 0, 1, 7]], np.float32)})[0].ravel()


for swapped, exponent in ((False, 2), (True, 2), (False, 4)):
    there, here = (run(level, swapped, exponent) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL))
    text = [[round(float(v), 2) for v in y] for y in (there, here)]
    print(f"{'mean - x' if swapped else 'x - mean'}, power {exponent}: {text[0]}, optimized {text[1]}")
    assert np.allclose(here, run(LEVELS.ORT_DISABLE_ALL, False, 2), atol=1e-4)
    assert np.allclose(there, here, atol=1e-4) == (not swapped and exponent == 2)
    if swapped:
        assert np.allclose(there, -here, atol=1e-4)
PY
