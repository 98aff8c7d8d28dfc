#!/usr/bin/env bash
# ONNX Runtime moves a Transpose past a Pad and leaves Pad's axes where they were.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Pad of opset 18 with axes pads those axes; an optimizer that pushes the Transpose past it maps
#   the axes, or leaves such a Pad alone.
# Seen: it reorders the pads as if they were a full list in order. With all four axes in another order
#   another dimension is padded, silently; with fewer axes an index is out of bounds when the model runs.
# Output (1 x 2 x 2 x 2, one before and two after the third dimension of the answer):
#   axes [0, 1, 2, 3]: [1, 2, 5, 2], optimized [1, 2, 5, 2]
#   axes [1, 2, 3, 0]: [1, 2, 5, 2], optimized [1, 5, 2, 2]
#   axes [3, 2, 1, 0]: [1, 2, 5, 2], optimized [4, 2, 2, 2]
#   axes [1]: [1, 2, 5, 2], optimized InvalidArgument
# Who is hurt: models with channels last between two Transposes, of opset 18 and later, at the default
#   optimization level.
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

ort.set_default_logger_severity(4)
LEVELS = ort.GraphOptimizationLevel


def run(level, axes, pads):
    node = helper.make_node
    model = helper.make_model(
        helper.make_graph(
            [
                node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
                node("Pad", ["t", "pads", "", "axes"], ["u"]),
                node("Transpose", ["u"], ["y"], perm=[0, 3, 1, 2]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 2, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in (("pads", pads), ("axes", axes))],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    try:
        return list(session.run(None, {"x": np.ones((1, 2, 2, 2), np.float32)})[0].shape)
    except Exception as error:
        return type(error).__name__


# One before and two after axis 1 of the transposed image, which is its height, said in four ways.
seen = []
for axes, before, after in (
    ([0, 1, 2, 3], [0, 1, 0, 0], [0, 2, 0, 0]),
    ([1, 2, 3, 0], [1, 0, 0, 0], [2, 0, 0, 0]),
    ([3, 2, 1, 0], [0, 0, 1, 0], [0, 0, 2, 0]),
    ([1], [1], [2]),
):
    there, here = (run(level, axes, before + after) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL))
    print(f"axes {axes}: {there}, optimized {here}")
    assert there == [1, 2, 5, 2]
    seen.append(here)
assert seen == [[1, 2, 5, 2], [1, 5, 2, 2], [4, 2, 2, 2], "InvalidArgument"]
PY
