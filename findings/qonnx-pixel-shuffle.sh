#!/usr/bin/env bash
# QONNX makes a transposed convolution of every DepthToSpace after a Conv, as if its mode were CRD.
#
# Packages: qonnx 1.0.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: SubPixelToDeconvolution orders the weights by mode, or leaves what it can't. DCR is ONNX's default.
# Seen: CRD is right. DCR gives the same weights as CRD: all numbers are there, in other places.
# Output (a Conv of 1 x 1 that makes 10 to 80 of 1, then DepthToSpace by 2, so two channels of 2 x 2):
#   CRD: [10, 20, 30, 40, 50, 60, 70, 80], as ConvTranspose [10, 20, 30, 40, 50, 60, 70, 80]
#   DCR: [10, 30, 50, 70, 20, 40, 60, 80], as ConvTranspose [10, 20, 30, 40, 50, 60, 70, 80]
# Who is hurt: super-resolution and segmentation from TensorFlow, whose depth_to_space is DCR; one output channel is
#   right in both modes, so a test with grey pictures passes.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.subpixel_to_deconv import SubPixelToDeconvolution

x = np.ones((1, 1, 1, 1), np.float32)


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].ravel().astype(int).tolist()


def both(mode, channels):
    conv = helper.make_node(
        "Conv", ["x", "w"], ["c"], kernel_shape=[1, 1], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], group=1
    )
    weights = 10 * np.arange(1, 4 * channels + 1, dtype=np.float32).reshape(-1, 1, 1, 1)
    model = helper.make_model(
        helper.make_graph(
            [conv, helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode=mode)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 2, 2])],
            [numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    changed = ModelWrapper(model).transform(InferShapes()).transform(SubPixelToDeconvolution()).model
    assert [n.op_type for n in changed.graph.node] == ["ConvTranspose"]
    return run(model), run(changed)


for mode, expected in (("CRD", [10, 20, 30, 40, 50, 60, 70, 80]), ("DCR", [10, 30, 50, 70, 20, 40, 60, 80])):
    there, here = both(mode, 2)
    print(f"{mode}: {there}, as ConvTranspose {here}")
    assert there == expected and here == [10, 20, 30, 40, 50, 60, 70, 80]
    there, here = both(mode, 1)
    assert there == here == [10, 20, 30, 40]
PY
