#!/usr/bin/env bash
# QONNX subtracts the zero point of quantized weights in their own 8 bits.
#
# Packages: qonnx 1.0.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: QCDQToQuant replaces a DequantizeLinear of constant weights by their values.
# Seen: below the zero point uint8 starts again at 255, and int8 at 127 below -128; the Quant cuts that to its largest
#   number. A zero point of 0 is right.
# Output (a scale of 0.5, the weights as DequantizeLinear gives them):
#   int8, zero point 0: [-50.0, -5.0, 5.0, 50.0], as Quant [-50.0, -5.0, 5.0, 50.0]
#   uint8, zero point 128: [-50.0, -5.0, 5.0, 50.0], as Quant [63.5, 63.5, 5.0, 50.0]
#   int8, zero point 27: [-77.5, -5.0, 5.0, 50.0], as Quant [50.0, -5.0, 5.0, 50.0]
# Who is hurt: asymmetric weights, which is what onnxruntime's quantizer writes for QUInt8: all negative ones
#   become the largest positive one.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant

x = np.ones((1, 4), np.float32)


def both(weights, zero_point):
    """x * w before and after; QONNX wants a scale for each column."""
    constants = {"q": weights[None], "s": np.full(4, 0.5, np.float32), "z": np.full(4, zero_point, weights.dtype)}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1),
                helper.make_node("Mul", ["x", "w"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
            [numpy_helper.from_array(v, n) for n, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    changed = ModelWrapper(model).transform(InferShapes()).transform(QCDQToQuant())
    assert [n.op_type for n in changed.graph.node] == ["Quant", "Mul"]
    return session.run(None, {"x": x})[0][0].tolist(), execute_onnx(changed, {"x": x})["y"][0].tolist()


for weights, zero_point, there, here in (
    (np.array([-100, -10, 10, 100], np.int8), 0, [-50, -5, 5, 50], [-50, -5, 5, 50]),
    (np.array([28, 118, 138, 228], np.uint8), 128, [-50, -5, 5, 50], [63.5, 63.5, 5, 50]),
    (np.array([-128, 17, 37, 127], np.int8), 27, [-77.5, -5, 5, 50], [50, -5, 5, 50]),
):
    seen = both(weights, zero_point)
    print(f"{weights.dtype}, zero point {zero_point}: {seen[0]}, as Quant {seen[1]}")
    assert seen == (there, here)
PY
