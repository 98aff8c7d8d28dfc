#!/usr/bin/env bash
# onnxruntime's quantize_static in QOperator format quantizes a shared bias once, with the first scale.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: a bias is stored as int32 in units of (input scale x weight scale), which differ for two
#   Convs that share it, so each gets its own copy; or sharing is refused.
# Seen: QDQ format copes. In QOperator format the bias is quantized for the first Conv and the second
#   takes the same integers in its own units. Inputs 100 times larger: a bias 100 times too large.
# Output:
#   float.onnx      bias added by the first   1.00, the second   1.00
#   QDQ.onnx        bias added by the first   1.00, the second   0.78
#   QOperator.onnx  bias added by the first   1.00, the second  96.86
# Who is hurt: heads with shared weights on several feature levels (detectors), siamese networks, and
#   any model in which a tool merged equal initializers, for instance biases of zeros and ones.
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


shape = [1, 1, 4, 4]
model = helper.make_model(
    helper.make_graph(
        [
            helper.make_node("Conv", ["a", "w", "b"], ["y"], name="first"),
            helper.make_node("Conv", ["c", "v", "b"], ["z"], name="second"),
        ],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "ac"],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "yz"],
        [
            numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w"),
            numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "v"),
            numpy_helper.from_array(np.array([1], np.float32), "b"),
        ],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "float.onnx")
small = np.linspace(-1, 1, 16, dtype=np.float32).reshape(shape)
feeds = {"a": small, "c": small * 100}
added = {}
for form in (None, QuantFormat.QDQ, QuantFormat.QOperator):
    path = "float.onnx" if form is None else f"{form.name}.onnx"
    if form is not None:
        quantize_static("float.onnx", path, Samples([feeds]), quant_format=form)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    y, z = session.run(None, feeds)
    added[path] = [float(np.median(y - feeds["a"])), float(np.median(z - feeds["c"]))]
    print(f"{path:15} bias added by the first {added[path][0]:6.2f}, the second {added[path][1]:6.2f}")
assert abs(added["QDQ.onnx"][1] - 1) < 1
assert added["QOperator.onnx"][1] > 50
PY
