#!/usr/bin/env bash
# NNCF quantizes all that meets in a Concat with the range of the largest, wherever else it is read.
#
# Packages: nncf 3.4.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: x from 1 to 4 gets a scale for numbers from 1 to 4, at least where a convolution reads it alone.
# Seen: the inputs of a Concat share one scale, and x has that scale everywhere: beside numbers a thousand times as large
#   it is 0 for the convolution that made them too, so these are 0 as well. Nothing is said. With Add it isn't so.
# Output (c = a Conv of x with weight k; y is a Conv that adds what meets):
#   Concat(c, x), k = 1: x + c is [2, 4, 6, 8], quantized [2.04, 4.03, 6.07, 8.06]
#   Concat(c, x), k = 100: x + c is [101, 202, 303, 404], quantized [161.26, 161.26, 322.52, 407.89]
#   Concat(c, x), k = 1000: x + c is [1001, 2002, 3003, 4004], quantized [0.0, 0.0, 0.0, 0.0]
#   Add(c, x), k = 1000: x + c is [1001, 2002, 3003, 4004], quantized [1028.66, 2025.68, 3054.34, 4035.53]
# Who is hurt: networks with skip connections into a Concat (U-Net, DenseNet), and models that join features of
#   different units; calibration data can't help.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    nncf==3.4.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import io
import logging
from contextlib import redirect_stdout

import nncf
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

logging.disable(logging.WARNING)
x = np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 2, 2)


def run(model):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].ravel()


def both(kind, k):
    axis = {"axis": 1} if kind == "Concat" else {}
    channels = 2 if kind == "Concat" else 1
    weights = {"w": np.full((1, 1, 1, 1), k), "sum": np.ones((1, channels, 1, 1))}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], name="first"),
                helper.make_node(kind, ["c", "x"], ["m"], name="meet", **axis),
                helper.make_node("Conv", ["m", "sum"], ["y"], name="second"),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
            [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    there = run(model)
    with redirect_stdout(io.StringIO()):
        quantized = nncf.quantize(model, nncf.Dataset([{"x": x}]))
    return there, run(quantized)


for kind, k, check in (
    ("Concat", 1, lambda there, here: np.allclose(there, here, rtol=0.05)),
    ("Concat", 100, lambda there, here: here[0] > 1.5 * there[0] and here[1] < 0.9 * there[1]),
    ("Concat", 1000, lambda there, here: (here == 0).all()),
    ("Add", 1000, lambda there, here: np.allclose(there, here, rtol=0.05)),
):
    there, here = both(kind, k)
    text = np.round(here.astype(float), 2).tolist()
    print(f"{kind}(c, x), k = {k}: x + c is {there.astype(int).tolist()}, quantized {text}")
    assert np.allclose(there, (k + 1) * x.ravel()) and check(there, here)
PY
