#!/usr/bin/env bash
# onnxruntime's quantize_static drops a Clip whose lower bound isn't zero.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Clip after Conv can be left out of a quantized graph if the range of its output's uint8 or
#   int8 is that of the Clip: for [0, 6]. For [1, 6] it can't, as a quantized range always contains 0.
# Seen: it is left out for [1, 6] and [-6, -1] too, in both formats and with default settings. The
#   calibrated range [1, 6] is then widened to [0, 6] so that zero is a code, and values below the
#   bound come out as 0.
# Output:
#   Clip(1, 6) QDQ: [1, 6] -> [0.00, 6.00], Clip kept: False
#   Clip(-6, -1) QDQ: [-4, -1] -> [-4.00, 0.00], Clip kept: False
# Who is hurt: whoever clips to stay away from zero: the divisor of a normalization, the argument of a
#   Log, a minimum width of a box. The float model can't give 0 there; the quantized one does.
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
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


x = np.linspace(-4, 8, 49, dtype=np.float32).reshape(1, 1, 7, 7)
for low, high in ((0, 6), (1, 6), (-6, -1)):
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["t"], name="conv"),
            helper.make_node("Clip", ["t", "low", "high"], ["y"], name="clip"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 7, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 7, 7])],
        [
            numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w"),
            numpy_helper.from_array(np.float32(low).reshape(()), "low"),
            numpy_helper.from_array(np.float32(high).reshape(()), "high"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, "m.onnx")
    before = run("m.onnx")
    for form in QuantFormat:
        quantize_static("m.onnx", "q.onnx", Samples([{"x": x}]), quant_format=form)
        kept = "Clip" in [n.op_type for n in onnx.load("q.onnx").graph.node]
        after = run("q.onnx")
        print(
            f"Clip({low}, {high}) {form.name}: [{before.min():g}, {before.max():g}] -> "
            f"[{after.min():.2f}, {after.max():.2f}], Clip kept: {kept}"
        )
        assert not kept
        if low == 0:
            assert abs(after.min()) < 0.03 and abs(after.max() - 6) < 0.03
        elif low == 1:
            assert before.min() == 1 and after.min() == 0
        else:
            assert before.max() == -1 and after.max() == 0
PY
