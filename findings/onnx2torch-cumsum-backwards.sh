#!/usr/bin/env bash
# onnx2torch sums from the end where a CumSum has no attribute reverse.
#
# Packages: onnx2torch 1.5.15, torch 2.14.1, torchvision 0.29.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: reverse is 0 where a node doesn't have it, as the specification says and as PyTorch's own
#   exporter relies on.
# Seen: it is taken as 1. Written out it is right.
# Output (CumSum of 1, 2, 3):
#   no attribute: ONNX Runtime [1.0, 3.0, 6.0], onnx2torch [6.0, 5.0, 3.0]
#   reverse=0: ONNX Runtime [1.0, 3.0, 6.0], onnx2torch [1.0, 3.0, 6.0]
#   reverse=1: ONNX Runtime [6.0, 5.0, 3.0], onnx2torch [6.0, 5.0, 3.0]
# Who is hurt: positions from a mask, cumulative distributions, and whatever else counts up.
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


x = np.array([1, 2, 3], np.float32)
seen = []
for attributes in ({}, {"reverse": 0}, {"reverse": 1}):
    there, module = both(helper.make_node("CumSum", ["x", "axis"], ["y"], **attributes), x, axis=np.int64(0))
    here = module(torch.from_numpy(x)).numpy()
    name = ", ".join(f"{k}={v}" for k, v in attributes.items()) or "no attribute"
    print(f"{name}: ONNX Runtime {there.tolist()}, onnx2torch {here.tolist()}")
    seen.append(np.array_equal(there, here))
assert seen == [False, True, True]
PY
