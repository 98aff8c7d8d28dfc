#!/usr/bin/env bash
# OpenVINO's Softmax of opset 11 goes over one axis; its LogSoftmax of the same opset goes over all from there on.
#
# Packages: openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: before opset 13 both flatten the axes from `axis` on into one, so that exp(LogSoftmax) is Softmax.
# Seen: with axis = 1, the default, and three dimensions, Softmax gives opset 13's answer, which sums to 1 in each
#   column. LogSoftmax gives opset 11's.
# Output:
#   Softmax-11 of [0, 1, 2], [3, 4, 5]: ONNX Runtime [0.004, 0.012, 0.032, 0.086, 0.233, 0.634], OpenVINO [0.047, 0.047, 0.047, 0.953, 0.953, 0.953]
#   exp(LogSoftmax-11): ONNX Runtime [0.004, 0.012, 0.032, 0.086, 0.233, 0.634], OpenVINO [0.004, 0.012, 0.032, 0.086, 0.233, 0.634]
#   Softmax-13: ONNX Runtime [0.047, 0.047, 0.047, 0.953, 0.953, 0.953], OpenVINO [0.047, 0.047, 0.047, 0.953, 0.953, 0.953]
# Who is hurt: older files whose scores have more than two dimensions.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino
from onnx import helper, numpy_helper


def both(kind, inputs, opset, constants=(), **attributes):
    """ONNX Runtime's and OpenVINO's first output of one node; the inputs numbered in constants are initializers."""
    names = ["" if v is None else f"i{n}" for n, v in enumerate(inputs)]
    held = {f"i{n}": inputs[n] for n in constants}
    feeds = {n: v for n, v in zip(names, inputs) if n and n not in held}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in feeds.items()
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"], **attributes)],
        "g",
        infos,
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(v, n) for n, v in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    there = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    compiled = openvino.Core().compile_model("model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return there, np.array(compiled(feeds)[0])


x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
flat = np.exp(x.ravel()) / np.exp(x).sum()
column = (np.exp(x) / np.exp(x).sum(1, keepdims=True)).ravel()
for text, kind, opset, right, wrong in (
    ("Softmax-11 of [0, 1, 2], [3, 4, 5]", "Softmax", 11, flat, column),
    ("exp(LogSoftmax-11)", "LogSoftmax", 11, flat, flat),
    ("Softmax-13", "Softmax", 13, column, column),
):
    there, here = (v.ravel() for v in both(kind, [x], opset, axis=1))
    if kind == "LogSoftmax":
        there, here = np.exp(there), np.exp(here)
    there, here = ([round(float(v), 3) for v in a] for a in (there, here))
    print(f"{text}: ONNX Runtime {there}, OpenVINO {here}")
    assert np.allclose(there, right, atol=1e-3) and np.allclose(here, wrong, atol=1e-3)
PY
