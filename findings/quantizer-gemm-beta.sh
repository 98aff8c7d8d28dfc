#!/usr/bin/env bash
# onnxruntime's quantizer miscounts the bias of a Gemm with alpha or beta, and optimizing changes by how much.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: y = alpha * A @ B + beta * C. Either beta is folded into the int32 bias, or the Gemm stays
#   in float.
# Seen: the bias's scale is multiplied by beta, where the integers ought to be; then beta is set to 1.
#   QDQ with beta = 0.5 adds the whole bias; when ONNX Runtime fuses that to QGemm, which reads the
#   integers without their scale, it adds twice the bias: four times what is right. QOperator format
#   has that as it is, and doubles the bias for alpha = 2 as well.
# Output (a bias of 8):
#   alpha 1 beta 1: right 8, QDQ 8, optimized 8
#   alpha 1 beta 0.5: right 4, QDQ 8, optimized 16
#   alpha 2 beta 1: right 8, QOperator 16, optimized 16
# Who is hurt: models of converters that use Gemm's factors. Comparing at ORT_DISABLE_ALL, as one does
#   to find a fault, gives a second wrong answer.
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


def run(path, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def added(alpha, beta, form, level):
    """What the quantized Gemm adds to a column whose weights are zero and whose bias is 8."""
    factors = {"alpha": float(alpha), "beta": float(beta)}
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="gemm", **factors)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 2])],
            [
                numpy_helper.from_array(np.array([[0, 25]] * 4, np.float32), "w"),
                numpy_helper.from_array(np.array([8, 0], np.float32), "b"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "float.onnx")
    assert np.allclose(run("float.onnx", level)[:, 0], 8 * beta)
    quantize_static("float.onnx", "q.onnx", Samples([feeds]), quant_format=form)
    return round(float(run("q.onnx", level)[0, 0]))


feeds = {"x": np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)}
seen = {}
for alpha, beta in ((1, 1), (1, 0.5), (2, 1)):
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        both = [added(alpha, beta, form, f"ORT_{level}_ALL") for level in ("DISABLE", "ENABLE")]
        seen[alpha, beta, form.name] = both
        print(f"alpha {alpha} beta {beta}: right {8 * beta:g}, {form.name} {both[0]}, optimized {both[1]}")
near = lambda a, b: all(abs(x - y) <= 1 for x, y in zip(a, b))  # noqa: E731
assert near(seen[1, 1, "QDQ"], [8, 8]) and near(seen[1, 1, "QOperator"], [8, 8])
assert near(seen[1, 0.5, "QDQ"], [8, 16]) and near(seen[1, 0.5, "QOperator"], [16, 16])
assert near(seen[2, 1, "QDQ"], [8, 8]) and near(seen[2, 1, "QOperator"], [16, 16])
PY
