#!/usr/bin/env bash
# ONNX Runtime doesn't round to float16 before a Cast to float32, unless the float16 value is asked for.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the result of a float16 Mul is a float16; Cast to float32 shows its 11 bits.
# Seen: the CPU provider computes in float32 and casts around the node; two casts in a row go, also
#   the file's own, with optimizations on or off. An inner value that becomes an output changes what
#   comes after it.
# Output:
#   [1.5, 1000, 60000] · float16(1.001), cast to float32, optimizations off: [1.50146484375, 1000.9765625, 60058.59375]
#     the same with the product as an output, too: [1.501953125, 1001.0, 60064.0]
#   [1.5, 1000, 60000] · float16(1.001), cast to float32, optimizations on: [1.50146484375, 1000.9765625, 60058.59375]
#     the same with the product as an output, too: [1.501953125, 1001.0, 60064.0]
# Who is hurt: whoever looks for the layer where two runtimes part by making inner values outputs.
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


def run(level, *, ask_for_product):
    """x·1.001 in float16, cast to float32."""
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])]
    if ask_for_product:
        outputs.append(helper.make_tensor_value_info("product", TensorProto.FLOAT16, [3]))
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Mul", ["x", "factor"], ["product"]),
                helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [3])],
            outputs,
            [numpy_helper.from_array(np.array(1.001, np.float16), "factor")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": np.array([1.5, 1000, 60000], np.float16)})[0].tolist()


for name, level in (("off", LEVELS.ORT_DISABLE_ALL), ("on", LEVELS.ORT_ENABLE_ALL)):
    alone, beside = (run(level, ask_for_product=ask) for ask in (False, True))
    print(f"[1.5, 1000, 60000] · float16(1.001), cast to float32, optimizations {name}: {alone}")
    print(f"  the same with the product as an output, too: {beside}")
    assert alone == [1.50146484375, 1000.9765625, 60058.59375]
    assert beside == [1.501953125, 1001.0, 60064.0]
PY
