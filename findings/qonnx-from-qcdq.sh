#!/usr/bin/env bash
# QONNX counts the numbers between the bounds of a Clip, not where they lie: 0 to 127 becomes -64 to 63.
#
# Packages: qonnx 1.0.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: QuantizeLinear, Clip and DequantizeLinear become a Quant of the same range, or stay.
# Seen: the bits are the logarithm of the count, rounded up, signed if the numbers are int8. A Relu that was made a
#   Clip loses its upper half; bounds that aren't a power of two are widened.
# Output (a scale of 0.5, so that 40 is 80):
#   Clip -8 to 7 of int8: [-60, -3, 3, 40, 60] is [-4.0, -3.0, 3.0, 3.5, 3.5], as Quant [-4.0, -3.0, 3.0, 3.5, 3.5]
#   Clip 0 to 127 of int8: [-60, -3, 3, 40, 60] is [0.0, 0.0, 3.0, 40.0, 60.0], as Quant [-32.0, -3.0, 3.0, 31.5, 31.5]
#   Clip 0 to 12 of int8: [-60, -3, 3, 40, 60] is [0.0, 0.0, 3.0, 6.0, 6.0], as Quant [-4.0, -3.0, 3.0, 3.5, 3.5]
#   Clip 0 to 12 of uint8: [-60, -3, 3, 40, 60] is [0.0, 0.0, 3.0, 6.0, 6.0], as Quant [0.0, 0.0, 3.0, 7.5, 7.5]
#   Clip -100 to 100 of int8: [-60, -3, 3, 40, 60] is [-50.0, -3.0, 3.0, 40.0, 50.0], as Quant [-60.0, -3.0, 3.0, 40.0, 60.0]
# Who is hurt: quantized models with a Relu6 or a Relu between the two, on the way to FINN or hls4ml.
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

x = np.array([-60, -3, 3, 40, 60], np.float32)


def both(low, high, dtype):
    constants = {"s": np.float32(0.5), "z": dtype(0), "low": dtype(low), "high": dtype(high)}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                helper.make_node("Clip", ["q", "low", "high"], ["c"]),
                helper.make_node("DequantizeLinear", ["c", "s", "z"], ["d"]),
                helper.make_node("Identity", ["d"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    changed = ModelWrapper(model).transform(InferShapes()).transform(QCDQToQuant())
    assert [n.op_type for n in changed.graph.node] == ["Quant", "Identity"]
    return session.run(None, {"x": x})[0].tolist(), execute_onnx(changed, {"x": x})["y"].tolist()


for low, high, dtype, there, here in (
    (-8, 7, np.int8, [-4, -3, 3, 3.5, 3.5], [-4, -3, 3, 3.5, 3.5]),
    (0, 127, np.int8, [0, 0, 3, 40, 60], [-32, -3, 3, 31.5, 31.5]),
    (0, 12, np.int8, [0, 0, 3, 6, 6], [-4, -3, 3, 3.5, 3.5]),
    (0, 12, np.uint8, [0, 0, 3, 6, 6], [0, 0, 3, 7.5, 7.5]),
    (-100, 100, np.int8, [-50, -3, 3, 40, 50], [-60, -3, 3, 40, 60]),
):
    seen = both(low, high, dtype)
    print(f"Clip {low} to {high} of {dtype.__name__}: {x.astype(int).tolist()} is {seen[0]}, as Quant {seen[1]}")
    assert seen == (there, here)
PY
