#!/usr/bin/env bash
# tf2onnx adds the bias of bias_add(data_format="NCHW") along the last axis where the bias is no constant.
#
# Packages: tensorflow 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: one number is added to each channel, as in TensorFlow, whether the bias is a constant or an
#   input (a fine-tuned bias, or one that another layer computes).
# Seen: a constant bias is right. One that is an input is added along the width: wrong numbers where width
#   and channels are the same, and an error of ONNX Runtime where they differ.
# Output (three channels, width 3; bias 1, 2, 3; the first pixel's channels):
#   TensorFlow [1, 2, 3], bias as a constant [1, 2, 3], bias as an input [1, 1, 1]
# Who is hurt: graphs in NCHW whose weights are inputs of the function that is converted.
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

x, bias = np.zeros((1, 3, 2, 3), np.float32), np.array([1, 2, 3], np.float32)


def first_pixel(function, feeds):
    spec = [tf.TensorSpec(v.shape, tf.float32, name=k) for k, v in feeds.items()]
    model, _ = tf2onnx.convert.from_function(tf.function(function), spec, opset=18)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0][0, :, 0, 0].tolist()


def add(x, b):
    return tf.nn.bias_add(x, b, data_format="NCHW")


right = add(x, bias).numpy()[0, :, 0, 0].tolist()
constant = first_pixel(lambda x: add(x, bias), {"x": x})
as_input = first_pixel(add, {"x": x, "b": bias})
print(f"TensorFlow {right}, bias as a constant {constant}, bias as an input {as_input}")
assert right == constant == [1, 2, 3] and as_input == [1, 1, 1]
PY
