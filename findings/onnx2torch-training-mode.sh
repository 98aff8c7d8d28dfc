#!/usr/bin/env bash
# What onnx2torch makes of a model for inference is in training mode.
#
# Packages: onnx2torch 1.5.15, torch 2.14.1, torchvision 0.29.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: a file whose Dropout and BatchNormalization do nothing of training becomes a module that answers
#   the same, since an ONNX file has no mode to be switched; the project's own example calls it as it comes.
# Seen: Dropout drops, BatchNormalization normalizes by the batch and moves its own statistics, so that the
#   file's mean and variance fade with each call. After eval() both are right, if it is called first.
# Output (128 ones; for BatchNormalization with mean 0 and variance 1):
#   Dropout: ONNX Runtime [1.0], onnx2torch [0.0, 2.0], after eval() [1.0]
#   BatchNormalization: ONNX Runtime [1.0], onnx2torch [0.0], after eval() [0.95]
# Who is hurt: whoever follows the example.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx2torch==1.5.15 torch==2.14.1 torchvision==0.29.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx2torch import convert


def both(node, x, **constants):
    """What ONNX Runtime answers for a node, and the module that onnx2torch makes of it."""
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0], convert(model)


x = np.ones((16, 8), np.float32)
zeros, ones = np.zeros(8, np.float32), np.ones(8, np.float32)
statistics = {"scale": ones, "bias": zeros, "mean": zeros, "variance": ones}
seen = {}
for node, constants in (
    (helper.make_node("Dropout", ["x"], ["y"]), {}),
    (helper.make_node("BatchNormalization", ["x", *statistics], ["y"]), statistics),
):
    there, module = both(node, x, **constants)
    answers = [there, module(torch.from_numpy(x)), module.eval()(torch.from_numpy(x))]
    values = [sorted({round(v, 2) for v in torch.as_tensor(y).ravel().tolist()}) for y in answers]
    print(f"{node.op_type}: ONNX Runtime {values[0]}, onnx2torch {values[1]}, after eval() {values[2]}")
    seen[node.op_type] = values
assert seen["Dropout"] == [[1], [0, 2], [1]]
assert seen["BatchNormalization"][:2] == [[1], [0]] and np.allclose(seen["BatchNormalization"][2], 0.95, atol=0.02)
PY
