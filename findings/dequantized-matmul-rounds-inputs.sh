#!/usr/bin/env bash
# ONNX Runtime also rounds the inputs of a MatMul to 8 bits where only the weights were quantized.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: DequantizeLinear of 8-bit weights and a MatMul of float inputs: the product in float32.
# Seen: optimized, which is the default, both become one MatMulNBits with accuracy_level 4. It makes 8-bit integers of each
#   32 inputs, as many steps as the largest allows: beside 1000 all below 3.9 is 0, and NaN is. Basic optimizations
#   and the session entry session.qdq_matmulnbits_accuracy_level=1 are right. Gemm goes the same way.
# Output (weights 3, 5, 7, 11, 13, 17, 19 and 23):
#   [1, 1, 1, 1, 1, 1, 1, 1]: 98.0, optimized 98.0, with accuracy level 1 98.0
#   [1000, 1, 1, 1, 1, 1, 1, 1]: 3095.0, optimized 3000.0, with accuracy level 1 3095.0
#   [1000, 3, 3, 3, 3, 3, 3, 3]: 3285.0, optimized 3000.0, with accuracy level 1 3285.0
#   [inf, 1, 1, 1, 1, 1, 1, 1]: inf, optimized nan, with accuracy level 1 inf
#   [nan, 1, 1, 1, 1, 1, 1, 1]: nan, optimized 95.0, with accuracy level 1 nan
# Who is hurt: weight-only quantization, chosen to keep the inputs exact: transformers whose hidden states have a few large
#   channels, and tables whose columns have different units.
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

weights = np.array([3, 5, 7, 11, 13, 17, 19, 23], np.int8)[:, None]
model = helper.make_model(
    helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(weights, "q"), numpy_helper.from_array(np.float32(1), "s")],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
onnx.checker.check_model(model, full_check=True)


def run(x, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL, accuracy=None):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = "optimized.onnx"
    if accuracy is not None:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", accuracy)
    ort.set_default_logger_severity(3)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return float(session.run(None, {"x": x})[0][0, 0])


def equal(a, b):
    return np.allclose(a, b, rtol=1e-4, equal_nan=True)


for first, others, expected, fails in (
    (1, 1, 98, False),
    (1000, 1, 3095, True),
    (1000, 3, 3285, True),
    (np.inf, 1, np.inf, True),
    (np.nan, 1, np.nan, True),
):
    x = np.array([[first] + 7 * [others]], np.float32)
    there = run(x, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    level_one, here = run(x, accuracy="1"), run(x)
    text = ", ".join(f"{v:g}" for v in x[0])
    print(f"[{text}]: {there:.1f}, optimized {here:.1f}, with accuracy level 1 {level_one:.1f}")
    assert equal(there, expected) and equal(level_one, expected) and equal(here, expected) != fails
    assert first != 1000 or equal(here, 3000)
(node,) = onnx.load("optimized.onnx").graph.node
assert node.op_type == "MatMulNBits"
assert {a.name: a.i for a in node.attribute}["accuracy_level"] == 4
PY
