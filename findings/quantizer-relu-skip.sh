#!/usr/bin/env bash
# onnxruntime's quantizer lets what goes round a Relu go through it.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the Relu after a Conv can be part of its quantized range if nobody else reads the Conv's
#   output. QDQ format minds that.
# Seen: in QOperator format the Relu is dropped and all readers of the Conv get the positive part: x -
#   relu(x) is 0 everywhere.
# Output:
#   x - relu(x) of [-8, -4, 0, 4, 8], float: [-8.0, -4.0, 0.0, 0.0, 0.0]
#   x - relu(x) of [-8, -4, 0, 4, 8], QDQ: [-8.0, -4.0, 0.0, 0.0, 0.0]
#   x - relu(x) of [-8, -4, 0, 4, 8], QOperator: [0.0, 0.0, 0.0, 0.0, 0.0]
# Who is hurt: residual networks with pre-activation, concatenated ReLUs and hand-written leaky ones;
#   calibration data can't help.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

logging.disable(logging.WARNING)


class Samples(CalibrationDataReader):
    def __init__(self, samples):
        self.samples = iter(samples)

    def get_next(self):
        return next(self.samples, None)


def run(path):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [round(float(v), 1) for v in session.run(None, feeds)[0].ravel()]


# c = Conv(x) = x, y = c - Relu(c): the negative part of x.
model = helper.make_model(
    helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("Sub", ["c", "r"], ["y"], name="sub"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 5])],
        [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "float.onnx")
feeds = {"x": np.array([-8, -4, 0, 4, 8], np.float32).reshape(1, 1, 1, 5)}
seen = {"float": run("float.onnx")}
for form in (QuantFormat.QDQ, QuantFormat.QOperator):
    quantize_static("float.onnx", "q.onnx", Samples([feeds]), quant_format=form)
    seen[form.name] = run("q.onnx")
    print(f"{form.name}: {[n.op_type for n in onnx.load('q.onnx').graph.node]}")
for form, y in seen.items():
    print(f"x - relu(x) of [-8, -4, 0, 4, 8], {form}: {y}")
assert seen["float"] == [-8, -4, 0, 0, 0] and np.allclose(seen["QDQ"], seen["float"], atol=0.2)
assert seen["QOperator"] == [0, 0, 0, 0, 0]
PY
