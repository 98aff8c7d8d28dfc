#!/usr/bin/env bash
# onnx2torch takes the maximum over other axes than those named from the end.
#
# Packages: onnx2torch 1.5.15, torch 2.14.1, torchvision 0.29.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: ReduceMax over [-2, -1] without keepdims is the maximum of each image, as is [2, 3].
# Seen: it goes axis by axis and subtracts the number of those done from each, which holds for axes counted
#   from the front only: the second one is the channels. ReduceMin and ReduceProd do the same. ReduceMean,
#   and keepdims=1, are right.
# Output (2 x 3 x 4 x 5):
#   ReduceMax over [2, 3]: (2, 3), onnx2torch (2, 3), equal
#   ReduceMax over [-2, -1]: (2, 3), onnx2torch (2, 5), different
#   ReduceMean over [-2, -1]: (2, 3), onnx2torch (2, 3), equal
# Output (3 x 3 x 3, where no shape tells):
#   ReduceMax over [-2, -1]: (3,), onnx2torch (3,), different
# Who is hurt: global max pooling written as amax((-2, -1)).
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


random = np.random.default_rng(0)
seen = []
for operator, axes, shape in (
    ("ReduceMax", [2, 3], (2, 3, 4, 5)),
    ("ReduceMax", [-2, -1], (2, 3, 4, 5)),
    ("ReduceMean", [-2, -1], (2, 3, 4, 5)),
    ("ReduceMax", [-2, -1], (3, 3, 3)),
):
    x = random.standard_normal(shape).astype(np.float32)
    there, module = both(helper.make_node(operator, ["x"], ["y"], axes=axes, keepdims=0), x)
    here = module(torch.from_numpy(x)).numpy()
    equal = there.shape == here.shape and np.allclose(there, here, atol=1e-6)
    print(f"{operator} over {axes}: {there.shape}, onnx2torch {here.shape}, {'equal' if equal else 'different'}")
    seen.append(equal)
assert seen == [True, False, True, False]
PY
