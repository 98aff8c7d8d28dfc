#!/usr/bin/env bash
# OpenVINO's Softplus(-20) is negative, its fmod(1, 0.1) 0, and Max passes NaN on from its second input only.
#
# Packages: openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Softplus is positive; fmod is exact, and fmod(7, inf) is 7; NaN passes through.
# Seen: Softplus(-20) is -1.9e-06. fmod(1, 0.1) is 0 for 0.09999999, fmod(7, inf) NaN. Relu and Clip make NaN 0, and
#   Max passes it on from its second input, not from its first.
# Output:
#   Softplus(-8, -14, -20): ONNX Runtime [0.0003354, 8.315e-07, 2.061e-09], OpenVINO [0.0003357, 9.537e-07, -1.907e-06]
#   fmod((1, 7), (0.1, inf)): ONNX Runtime [0.1, 7.0], OpenVINO [0.0, nan]
#   Relu(nan, -1): ONNX Runtime [nan, 0.0], OpenVINO [0.0, 0.0]
#   Clip((nan, 2), 0, 1): ONNX Runtime [nan, 1.0], OpenVINO [0.0, 1.0]
#   Max((nan, 1), (1, nan)): ONNX Runtime [nan, nan], OpenVINO [1.0, nan]
# Who is hurt: variances and rates that a network gives by Softplus, phases, checks for NaN.
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


nan, inf = np.nan, np.inf


def row(*values):
    return np.array(values, np.float32)


def show(text, arguments, **attributes):
    there, here = both(*arguments, **attributes)
    print(f"{text}: ONNX Runtime {[float(f'{v:.4g}') for v in there.ravel()]}", end=", ")
    print(f"OpenVINO {[float(f'{v:.4g}') for v in here.ravel()]}")
    return there.ravel(), here.ravel()


there, here = show("Softplus(-8, -14, -20)", ("Softplus", [row(-8, -14, -20)], 13))
assert np.allclose(there, np.log1p(np.exp([-8.0, -14, -20])), rtol=1e-4) and here[2] < 0
there, here = show("fmod((1, 7), (0.1, inf))", ("Mod", [row(1, 7), row(0.1, inf)], 13), fmod=1)
assert np.allclose(there, [0.1, 7]) and here[0] == 0 and np.isnan(here[1])
there, here = show("Relu(nan, -1)", ("Relu", [row(nan, -1)], 13))
assert np.isnan(there[0]) and here[0] == 0
there, here = show("Clip((nan, 2), 0, 1)", ("Clip", [row(nan, 2), row(0)[0], row(1)[0]], 13, (1, 2)))
assert np.isnan(there[0]) and here[0] == 0
there, here = show("Max((nan, 1), (1, nan))", ("Max", [row(nan, 1), row(1, nan)], 13))
assert np.isnan(there).all() and np.isnan(here).tolist() == [False, True]
PY
