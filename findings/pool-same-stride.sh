#!/usr/bin/env bash
# A stride larger than the kernel with auto_pad SAME: ONNX Runtime's poolings disagree with its Conv, in two ways.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: nothing is padded when the windows already fit, max(0, …), as in Conv; or one answer for all poolings.
# Seen: the padding becomes negative. LpPool SAME_UPPER then begins inside the picture, SAME_LOWER doesn't. MaxPool and
#   AveragePool are refused when run, except optimized after a Conv of 16 channels, where they do what LpPool does.
# Output:
#   kernel 1 x 1, strides of 3, of 1 to 36 in 6 x 6:
#     SAME_LOWER: Conv [1.0, 4.0, 19.0, 22.0], LpPool [1.0, 4.0, 19.0, 22.0]
#     SAME_UPPER: Conv [1.0, 4.0, 19.0, 22.0], LpPool [8.0, 11.0, 26.0, 29.0]
#   Conv, then MaxPool SAME_UPPER or AveragePool SAME_UPPER, first channel:
#     1 channels, optimized: False: padding values must be non-negative
#     1 channels, optimized: True: padding values must be non-negative
#     16 channels, optimized: False: padding values must be non-negative
#     16 channels, optimized: True: [8.0, 11.0, 26.0, 29.0]
# Who is hurt: networks that thin out with a strided pooling.
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

Level = ort.GraphOptimizationLevel
ort.set_default_logger_severity(4)


def answer(nodes, channels, level=Level.ORT_ENABLE_ALL):
    """The first channel of the answer for 1 to 36 in every channel, or the end of the error."""
    weights = np.eye(channels, dtype=np.float32)[:, :, None, None]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 6, 6])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 2, 2])],
            [numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.tile(np.arange(1, 37, dtype=np.float32).reshape(1, 1, 6, 6), (1, channels, 1, 1))
    try:
        return session.run(None, {"x": x})[0][0, 0].ravel().tolist()
    except Exception as error:
        return str(error).split("Status Message: ")[-1].strip()


def pool(kind, auto_pad, source="x"):
    inputs = [source, "w"] if kind == "Conv" else [source]
    return helper.make_node(kind, inputs, ["y"], kernel_shape=[1, 1], strides=[3, 3], auto_pad=auto_pad)


thinned = [1, 4, 19, 22]
print("kernel 1 x 1, strides of 3, of 1 to 36 in 6 x 6:")
for auto_pad in ("SAME_LOWER", "SAME_UPPER"):
    conv, lp = (answer([pool(kind, auto_pad)], 1) for kind in ("Conv", "LpPool"))
    print(f"  {auto_pad}: Conv {conv}, LpPool {lp}")
    assert conv == thinned
    assert lp == (thinned if auto_pad == "SAME_LOWER" else [8, 11, 26, 29])
print("Conv, then MaxPool SAME_UPPER or AveragePool SAME_UPPER, first channel:")
for channels in (1, 16):
    for level in (Level.ORT_DISABLE_ALL, Level.ORT_ENABLE_ALL):
        before = helper.make_node("Conv", ["x", "w"], ["c"])
        largest, mean = (
            answer([before, pool(kind, "SAME_UPPER", "c")], channels, level) for kind in ("MaxPool", "AveragePool")
        )
        optimized = level == Level.ORT_ENABLE_ALL
        print(f"  {channels} channels, optimized: {optimized}: {largest}")
        runs = channels == 16 and optimized
        assert largest == mean == ([8, 11, 26, 29] if runs else "padding values must be non-negative")
PY
