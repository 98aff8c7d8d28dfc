#!/usr/bin/env bash
# ONNX Runtime pads a dilated pool with auto_pad SAME as if it had no dilations.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: SAME_UPPER gives as many numbers as go in (with strides of 1), so the pads are those of the dilated
#   window, which is 5 wide here: two on each side. ONNX's shape inference says so.
# Seen: MaxPool, AveragePool and LpPool pad by one on each side. The result is shorter, and its first number is
#   that of the second window. A Shape of the result, computed at load, still says 7. Conv refuses the same.
#   ONNX's reference evaluator pads MaxPool rightly.
# Output (1 to 7, windows of 3, dilation 2, SAME_UPPER):
#   MaxPool: expected [3, 4, 5, 6, 7, 6, 7], seen [4, 5, 6, 7, 6], whose Shape is 7
#   AveragePool: expected [2, 3, 3, 4, 5, 5, 6], seen [3, 3, 4, 5, 5], whose Shape is 7
#   LpPool, p = 1: expected [4, 6, 9, 12, 15, 10, 12], seen [6, 9, 12, 15, 10], whose Shape is 7
#   Conv: Dilation not supported for AutoPadType::SAME_UPPER
# Who is hurt: dilated pooling that keeps the size, as in segmentation: moved by a pixel for each, and smaller.
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
from onnx.reference import ReferenceEvaluator

x = np.arange(1, 8, dtype=np.float32).reshape(1, 1, 7)


def made(kind, **attributes):
    inputs = ["x", "w"] if kind == "Conv" else ["x"]
    nodes = [
        helper.make_node(kind, inputs, ["y"], kernel_shape=[3], dilations=[2], auto_pad="SAME_UPPER", **attributes),
        helper.make_node("Shape", ["y"], ["shape"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 7])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "length"]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [3]),
        ],
        [numpy_helper.from_array(np.ones((1, 1, 3), np.float32), "w")] if kind == "Conv" else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model):
    ort.set_default_logger_severity(4)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, shape = session.run(None, {"x": x})
    return np.round(y[0, 0]).astype(int).tolist(), int(shape[2])


windows = [[v for v in (i - 1, i + 1, i + 3) if 1 <= v <= 7] for i in range(7)]
for name, kind, attributes, of_window in (
    ("MaxPool", "MaxPool", {}, max),
    ("AveragePool", "AveragePool", {}, lambda w: sum(w) / len(w)),
    ("LpPool, p = 1", "LpPool", {"p": 1}, sum),
):
    expected = [round(of_window(window)) for window in windows]
    seen, shape = run(made(kind, **attributes))
    print(f"{name}: expected {expected}, seen {seen}, whose Shape is {shape}")
    assert seen == expected[1:6] and shape == 7
assert ReferenceEvaluator(made("MaxPool")).run(None, {"x": x})[0].ravel().tolist() == [3, 4, 5, 6, 7, 6, 7]
try:
    raise SystemExit(f"Conv runs now, and gives {run(made('Conv'))}")
except ort.capi.onnxruntime_pybind11_state.InvalidArgument as error:
    assert "Dilation not supported for AutoPadType::SAME_UPPER" in str(error)
    print("Conv: Dilation not supported for AutoPadType::SAME_UPPER")
PY
