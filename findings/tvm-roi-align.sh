#!/usr/bin/env bash
# TVM takes half a pixel of the region from RoiAlign's boxes, where ONNX takes half a pixel of the picture.
#
# Packages: apache-tvm 0.27.0.post1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: with half_pixel, the default since opset 16, boxes are scaled and then moved by half a pixel.
# Seen: the half is taken before the scaling. With spatial_scale 1 it is the same; with 1/16 all is moved by 15/32 of a
#   pixel of the features, 7.5 pixels of the picture. output_half_pixel and opset 10 are right.
# Output (features 0 to 9 in each row, the middle of columns 2 to 6 of the features; the mean is the place):
#   spatial_scale 1: ONNX Runtime 3.5, TVM 3.5
#   spatial_scale 0.5: ONNX Runtime 3.5, TVM 3.75
#   spatial_scale 0.0625: ONNX Runtime 3.5, TVM 3.97
#   spatial_scale 0.0625, output_half_pixel: ONNX Runtime 4.0, TVM 4.0
# Who is hurt: Mask R-CNN and its relatives, whose scales are 1/4 to 1/32.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    apache-tvm==0.27.0.post1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

x = np.tile(np.arange(10, dtype=np.float32), (10, 1))[None, None]


def both(scale, **attributes):
    """The mean of columns 2 to 6 and rows 2 to 6 of the features, whose box in the picture is larger by 1 / scale."""
    constants = {"rois": np.array([[2, 2, 6, 6]], np.float32) / np.float32(scale), "batch": np.array([0])}
    node = helper.make_node(
        "RoiAlign", ["x", *constants], ["y"], spatial_scale=scale, sampling_ratio=2, output_height=1, output_width=1,
        **attributes,
    )
    model = helper.make_model(
        helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 1])],
            [numpy_helper.from_array(v, n) for n, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 16)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    there = session.run(None, {"x": x})[0].item()
    module = relax.transform.DecomposeOpsForInference()(from_onnx(model))
    machine = relax.VirtualMachine(tvm.compile(relax.transform.LegalizeOps()(module), target="llvm"), tvm.cpu())
    return there, machine["main"](tvm.runtime.tensor(x)).numpy().item()


for scale, attributes, right, wrong in (
    (1.0, {}, 3.5, 3.5),
    (0.5, {}, 3.5, 3.75),
    (0.0625, {}, 3.5, 3.96875),
    (0.0625, {"coordinate_transformation_mode": "output_half_pixel"}, 4, 4),
):
    there, here = both(scale, **attributes)
    text = f"spatial_scale {scale:g}" + "".join(f", {v}" for v in attributes.values())
    print(f"{text}: ONNX Runtime {round(there, 2)}, TVM {round(here, 2)}")
    assert np.isclose(there, right) and np.isclose(here, wrong)
PY
