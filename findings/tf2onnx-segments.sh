#!/usr/bin/env bash
# tf2onnx's segment functions differ for segments that are empty and for rows that belong to none.
#
# Packages: tensorflow 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: an empty segment is 0 for segment_mean and segment_max; a row with the number -1 is left out by the
#   unsorted functions, as is usual for padding.
# Seen: an empty segment's mean is NaN and its maximum minus infinity; the row with -1 goes to the last segment.
# Output (values 1, 3 and 5):
#   segment_mean of segments 0, 0, 2: TensorFlow [2.0, 0.0, 5.0], ONNX [2.0, nan, 5.0]
#   segment_max of segments 0, 0, 2: TensorFlow [3.0, 0.0, 5.0], ONNX [3.0, -inf, 5.0]
#   unsorted_segment_sum of segments 0, 1, -1 of 3: TensorFlow [1.0, 3.0, 0.0], ONNX [1.0, 3.0, 5.0]
# Who is hurt: graph networks and pooled batches, where nodes without edges and padding are usual.
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

x = np.array([1, 3, 5], np.float32)
answers = []
for name, function in (
    ("segment_mean of segments 0, 0, 2", lambda x: tf.math.segment_mean(x, [0, 0, 2])),
    ("segment_max of segments 0, 0, 2", lambda x: tf.math.segment_max(x, [0, 0, 2])),
    ("unsorted_segment_sum of segments 0, 1, -1 of 3", lambda x: tf.math.unsorted_segment_sum(x, [0, 1, -1], 3)),
):
    spec = [tf.TensorSpec(x.shape, tf.float32, name="x")]
    model, _ = tf2onnx.convert.from_function(tf.function(function), spec, opset=18)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    there, here = function(x).numpy().tolist(), session.run(None, {"x": x})[0].tolist()
    print(f"{name}: TensorFlow {there}, ONNX {here}")
    answers += [there, here]
assert answers[0] == [2, 0, 5] and np.isnan(answers[1][1])
assert answers[2] == [3, 0, 5] and np.isneginf(answers[3][1])
assert answers[4] == [1, 3, 0] and answers[5] == [1, 3, 5]
PY
