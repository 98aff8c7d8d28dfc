#!/usr/bin/env bash
# ONNX Runtime quantizes an output of the model that is only quantized further on.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: quantizing a transposed copy leaves the tensor itself as it is.
# Seen: from the basic level on QuantizeLinear and DequantizeLinear are moved in front of the Transpose, and
#   its input, an output of the model, is what comes out of them: rounded, and cut to the range that the copy
#   has. Past a Flatten they aren't moved.
# Output (scale 0.5, zero point 0, uint8; the output is -x):
#   Transpose: [0.3, -0.26, -1.4, -9.0], optimized [0.5, 0.0, 0.0, 0.0]
#   Flatten: [0.3, -0.26, -1.4, -9.0], optimized [0.3, -0.26, -1.4, -9.0]
# Who is hurt: models that return features next to a quantized head: an embedding or a map without its signs.
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
node, info = helper.make_node, helper.make_tensor_value_info
x = np.array([[-0.3, 0.26], [1.4, 9]], np.float32)


def features(mover, level):
    nodes = [
        node("Neg", ["x"], ["features"]),
        node(mover, ["features"], ["moved"]),
        node("QuantizeLinear", ["moved", "scale", "zero"], ["quantized"]),
        node("DequantizeLinear", ["quantized", "scale", "zero"], ["head"]),
    ]
    outputs = [info("features", TensorProto.FLOAT, [2, 2]), info("head", TensorProto.FLOAT, [None, None])]
    constants = {"scale": np.float32(0.5), "zero": np.uint8(0)}
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, [2, 2])],
        outputs,
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [round(float(v), 2) for v in session.run(["features"], {"x": x})[0].ravel()]


answers = []
for mover in ("Transpose", "Flatten"):
    there, here = (features(mover, level) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL))
    print(f"{mover}: {there}, optimized {here}")
    assert there == [0.3, -0.26, -1.4, -9]
    answers.append(here)
assert answers == [[0.5, 0, 0, 0], [0.3, -0.26, -1.4, -9]]
PY
