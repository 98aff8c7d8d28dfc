#!/usr/bin/env bash
# OpenVINO runs Resize with antialias or keep_aspect_ratio_policy as if they weren't there.
#
# Packages: openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: both attributes count, or the model is refused.
# Seen: a picture halved with antialias=1 is the one without; a size that should keep the
#   proportions is taken as it is, and the answer has another shape.
# Output:
#   halved, antialias=0: ONNX Runtime [10.5, 24.5, 114.5, 160.5], OpenVINO [10.5, 24.5, 114.5, 160.5]
#   halved, antialias=1: ONNX Runtime [18.0, 32.0, 110.75, 149.25], OpenVINO [10.5, 24.5, 114.5, 160.5]
#   to 2 x 3, stretch: ONNX Runtime (2, 3), OpenVINO (2, 3)
#   to 2 x 3, not_larger: ONNX Runtime (2, 2), OpenVINO (2, 3)
# Who is hurt: preprocessing of pictures inside a model.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino
from onnx import helper, numpy_helper


def both(kind, inputs, opset, constants=(), **attributes):
    """ONNX Runtime's and OpenVINO's first output of one node; the inputs numbered in constants are initializers."""
    names = ["" if v is None else f"i{n}" for n, v in enumerate(inputs)]
    held = {f"i{n}": inputs[n] for n in constants}
    feeds = {n: v for n, v in zip(names, inputs) if n and n not in held}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in feeds.items()
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"], **attributes)],
        "g",
        infos,
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(v, n) for n, v in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    there = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    compiled = openvino.Core().compile_model("model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return there, np.array(compiled(feeds)[0])


x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) ** 2
halves = np.array([1, 1, 0.5, 0.5], np.float32)
for antialias in (0, 1):
    there, here = (
        [round(float(v), 2) for v in a.ravel()]
        for a in both("Resize", [x, None, halves], 18, (2,), mode="linear", antialias=antialias)
    )
    print(f"halved, antialias={antialias}: ONNX Runtime {there}, OpenVINO {here}")
    assert np.allclose(there, here) == (antialias == 0)
for policy in ("stretch", "not_larger"):
    there, here = both(
        "Resize",
        [x, None, None, np.array([2, 3])],
        18,
        (3,),
        mode="nearest",
        axes=[2, 3],
        keep_aspect_ratio_policy=policy,
    )
    print(f"to 2 x 3, {policy}: ONNX Runtime {there.shape[2:]}, OpenVINO {here.shape[2:]}")
    assert here.shape[2:] == (2, 3) and there.shape[2:] == ((2, 3) if policy == "stretch" else (2, 2))
PY
