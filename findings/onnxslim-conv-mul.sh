#!/usr/bin/env bash
# onnxslim folds a Mul by column or by row into the channels of a Conv.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxslim 0.1.98.
# Expected: Conv then Mul by a constant is one Conv if the constant has one factor for a channel, which
#   with NumPy's broadcasting is the shape (C, 1, 1). A vector (C,) multiplies along the width.
# Seen: if the constant has as many elements as there are output channels, whatever its shape, its
#   values become factors of the channels. (C,), (C, 1) and (1, 1, 1, C) fit if width or height is C
#   too; the answer is silently another one.
# Output (3 channels, 3 x 3, factors 1, 10, 100):
#   factor of shape (3,): ['Conv']
#     channel 0 before [[1, 10, 100], [1, 10, 100], [1, 10, 100]] after [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
# Who is hurt: windows and positional weights over feature maps whose width equals the number of
#   channels (8 x 8 of 8, 64 x 64 of 64), and only at that size.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxslim==0.1.98
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
from onnx import TensorProto, helper, numpy_helper


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 1, 3, 3), np.float32)})[0][0]


def compare(shape):
    factor = np.array([1, 10, 100], np.float32).reshape(shape)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["t"]), helper.make_node("Mul", ["t", "k"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 3, 3])],
        [
            numpy_helper.from_array(np.ones((3, 1, 1, 1), np.float32), "w"),
            numpy_helper.from_array(factor, "k"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    before = run(model)
    slim = onnxslim.slim(model)
    onnx.checker.check_model(slim, full_check=True)
    after = run(slim)
    print(f"factor of shape {shape}: {[n.op_type for n in slim.graph.node]}")
    print("  channel 0 before", before[0].tolist(), "after", after[0].tolist())
    return np.array_equal(before, after)


assert compare((3, 1, 1))  # one factor a channel: rightly folded
for shape in ((3,), (3, 1), (1, 1, 1, 3)):  # one a column or a row
    assert not compare(shape)
PY
