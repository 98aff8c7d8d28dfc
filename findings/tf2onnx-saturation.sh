#!/usr/bin/env bash
# tf2onnx's adjust_saturation turns the colours of a third of all pixels.
#
# Packages: tensorflow 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the hue stays; a factor of 1 changes nothing.
# Seen: the channels are sorted, changed, and put back by the order that sorted them instead of by its
#   inverse. That is the same for four of the six orders; where it isn't, red, green and blue change places.
# Output (a factor of 1; the pixel and what ONNX makes of it):
#   [3, 2, 1]: [3, 2, 1]
#   [3, 1, 2]: [3, 1, 2]
#   [2, 3, 1]: [2, 3, 1]
#   [1, 2, 3]: [1, 2, 3]
#   [2, 1, 3]: [1, 3, 2]
#   [1, 3, 2]: [2, 1, 3]
# Who is hurt: augmentation and preprocessing inside an exported model.
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

pixels = [[3, 2, 1], [3, 1, 2], [2, 3, 1], [1, 2, 3], [2, 1, 3], [1, 3, 2]]
image = np.array(pixels, np.float32).reshape(1, 2, 3, 3) / 4
function = tf.function(lambda x: tf.image.adjust_saturation(x, 1.0))
model, _ = tf2onnx.convert.from_function(function, [tf.TensorSpec(image.shape, tf.float32, name="x")], opset=18)
session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
there, here = function(image).numpy(), session.run(None, {"x": image})[0]
assert np.allclose(there, image, atol=1e-6)
answers = np.round(here * 4).astype(int).reshape(6, 3).tolist()
for pixel, answer in zip(pixels, answers):
    print(f"{pixel}: {answer}")
assert answers == [*pixels[:4], [1, 3, 2], [2, 1, 3]]
PY
