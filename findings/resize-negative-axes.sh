#!/usr/bin/env bash
# ONNX Runtime doesn't resize at all if the axes are negative and the aspect ratio is kept.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Resize-19 with axes [-2, -1] does what [2, 3] does; ONNX says that axes may be negative.
# Seen: with keep_aspect_ratio_policy 'not_larger' or 'not_smaller' the picture comes back in its own size, as it
#   was. With 'stretch', the default, negative axes are right. ONNX's shape inference knows the right size, so that
#   the Shape of the result, computed at load, is another than the result has.
# Output (7 x 9 to at most 14 x 36, and to at least that):
#   stretch: axes 2, 3 (14, 36), axes -2, -1 (14, 36)
#   not_larger: axes 2, 3 (14, 18), axes -2, -1 (7, 9), whose Shape is (14, 18)
#   not_smaller: axes 2, 3 (28, 36), axes -2, -1 (7, 9), whose Shape is (28, 36)
# Who is hurt: detectors that fit pictures into a square in the graph: the next layer sees the small picture in a
#   corner, or fails.
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

x = np.random.default_rng(0).random((1, 1, 7, 9), np.float32)


def run(axes, policy):
    nodes = [
        helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode="linear", axes=axes, keep_aspect_ratio_policy=policy),
        helper.make_node("Shape", ["y"], ["shape"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "height", "width"]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [4]),
        ],
        [numpy_helper.from_array(np.array([14, 36]), "size")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    ort.set_default_logger_severity(4)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, shape = session.run(None, {"x": x})
    return y, y.shape[2:], tuple(shape[2:].tolist())


for policy, size in (("stretch", (14, 36)), ("not_larger", (14, 18)), ("not_smaller", (28, 36))):
    positive, there, _ = run([2, 3], policy)
    negative, here, said = run([-2, -1], policy)
    print(f"{policy}: axes 2, 3 {there}, axes -2, -1 {here}", end="")
    print("" if said == here else f", whose Shape is {said}")
    assert there == size and said == size
    assert np.array_equal(negative, positive if policy == "stretch" else x)
PY
