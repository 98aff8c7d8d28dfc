#!/usr/bin/env bash
# ONNX Runtime answers another Shape of a pool in ceil_mode than the pool has.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Shape says what its input's shape is.
# Seen: at the default level Shape becomes a constant of shape inference, which counts windows that begin in
#   the padding at the end; the kernels, as PyTorch, leave those out. A number of elements, a mean or a
#   Reshape that goes by it is wrong, by 9 for 4 here. onnx's own inference says the same as the constant.
# Output (3 x 3 ones, windows of 2 x 2, strides 2, one pixel of padding all around):
#   MaxPool: (1, 1, 2, 2), Shape [1, 1, 2, 2], optimized Shape [1, 1, 3, 3]; mean 1.00, optimized 0.44
#   AveragePool: (1, 1, 2, 2), Shape [1, 1, 2, 2], optimized Shape [1, 1, 3, 3]; mean 1.00, optimized 0.44
# Who is hurt: models that pool with ceil_mode=True and then flatten or average by the size.
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
from onnx import TensorProto, helper

ort.set_default_logger_severity(4)
LEVELS = ort.GraphOptimizationLevel
node, info = helper.make_node, helper.make_tensor_value_info
sizes = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}


def run(operator, level):
    nodes = [
        node(operator, ["x"], ["pooled"], **sizes),
        node("Shape", ["pooled"], ["shape"]),
        node("ReduceSum", ["pooled"], ["sum"], keepdims=0),
        node("ReduceProd", ["shape"], ["count"], keepdims=0),
        node("Cast", ["count"], ["divisor"], to=TensorProto.FLOAT),
        node("Div", ["sum", "divisor"], ["mean"]),
    ]
    outputs = [info("mean", TensorProto.FLOAT, []), info("shape", TensorProto.INT64, [4])]
    outputs.append(onnx.ValueInfoProto(name="pooled"))
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, [1, 1, 3, 3])], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[2].type.tensor_type.shape
    assert [d.dim_value for d in inferred.dim] == [1, 1, 3, 3]
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    mean, shape, pooled = session.run(None, {"x": np.ones((1, 1, 3, 3), np.float32)})
    return pooled.shape, shape.tolist(), float(mean)


for operator in ("MaxPool", "AveragePool"):
    there, here = (run(operator, level) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL))
    print(f"{operator}: {there[0]}, Shape {there[1]}, optimized Shape {here[1]};", end=" ")
    print(f"mean {there[2]:.2f}, optimized {here[2]:.2f}")
    assert there[0] == here[0] == (1, 1, 2, 2)
    assert there[1] == [1, 1, 2, 2] and here[1] == [1, 1, 3, 3]
    assert np.isclose(there[2], 1) and np.isclose(here[2], 4 / 9)
PY
