#!/usr/bin/env bash
# tf2onnx's scatter_nd keeps one of the values that go to the same place.
#
# Packages: tensorflow 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: tf.scatter_nd adds them up, which ONNX's ScatterND does with reduction="add", from opset 16 on.
# Seen: a ScatterND without a reduction, at opset 18 too: of the values for one place the last stays.
#   tf.tensor_scatter_nd_add of the same indices is right.
# Output (1, 2 and 4 into places 0, 0 and 2 of three):
#   scatter_nd: TensorFlow [3.0, 0.0, 4.0], ONNX [2.0, 0.0, 4.0]
#   tensor_scatter_nd_add: TensorFlow [3.0, 0.0, 4.0], ONNX [3.0, 0.0, 4.0]
# Who is hurt: histograms, voxel grids and gradients of gathers, which scatter to count and add.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    tensorflow==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - <<'PY' 2>/dev/null
import numpy as np
import onnxruntime as ort
import tensorflow as tf
import tf2onnx

x = np.array([1, 2, 4], np.float32)
places = [[0], [0], [2]]
answers = []
for name, function in (
    ("scatter_nd", lambda x: tf.scatter_nd(places, x, [3])),
    ("tensor_scatter_nd_add", lambda x: tf.tensor_scatter_nd_add(tf.zeros([3]), places, x)),
):
    spec = [tf.TensorSpec(x.shape, tf.float32, name="x")]
    model, _ = tf2onnx.convert.from_function(tf.function(function), spec, opset=18)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    there, here = function(x).numpy().tolist(), session.run(None, {"x": x})[0].tolist()
    print(f"{name}: TensorFlow {there}, ONNX {here}")
    assert there == [3, 0, 4]
    answers.append(here)
assert answers == [[2, 0, 4], [3, 0, 4]]
PY
