#!/usr/bin/env bash
# tf2onnx compares integers as float32, rounds // towards zero, and counts -1 from the end in one_hot.
#
# Packages: tensorflow 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: opset 18 has Less, Greater and TopK for int32 and int64, Mod with the sign of the divisor, and
#   ScatterND with a sum; what tf2onnx has no form for (Expm1, Lgamma) it refuses.
# Seen: handlers written for older opsets go on being used. Less, Greater and TopK cast to float32, in
#   which 2**24 and 2**24 + 1 are one number (LessEqual and GreaterEqual, written later, don't). // of
#   integers is ONNX's Div, which truncates, and % is made of it. one_hot of -1, all zeros in TensorFlow,
#   marks the last class, since ONNX's OneHot counts from the end. scatter_nd, which adds values of the
#   same index, keeps the last.
# Output:
#   [-7, 7] // [2, -2]: TensorFlow [-4, -4], ONNX [-3, -3]
#   [-7, 7] % [2, -2]: TensorFlow [1, -1], ONNX [-1, 1]
#   2**24 < 2**24 + 1: TensorFlow [True], ONNX [False]
#   top_k: TensorFlow [16777217], ONNX [16777216]
#   one_hot(-1, 3): TensorFlow [[0, 0, 0]], ONNX [[0, 0, 1]]
#   scatter_nd at [0, 0]: TensorFlow [11, 0], ONNX [10, 0]
# Who is hurt: preprocessing inside the graph: buckets and cyclic features of negative integers, ids above
#   16 million, padding marked by -1, histograms by scatter_nd.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    tensorflow==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 \
    numpy==2.4.6
venv/bin/python - <<'PY'
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import logging

import numpy as np
import onnxruntime as ort
import tensorflow as tf
import tf2onnx

logging.disable(logging.WARNING)


def compare(what, function, *inputs):
    function = tf.function(function)
    specs = [tf.TensorSpec(x.shape, x.dtype, name=f"x{i}") for i, x in enumerate(inputs)]
    model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=18)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    there = function(*map(tf.constant, inputs)).numpy()
    here = session.run(None, {f"x{i}": x for i, x in enumerate(inputs)})[0]
    print(f"{what}: TensorFlow {there.tolist()}, ONNX {here.tolist()}")
    return there.tolist(), here.tolist()


a, b = np.array([-7, 7], np.int32), np.array([2, -2], np.int32)
assert compare("[-7, 7] // [2, -2]", lambda x, y: x // y, a, b) == ([-4, -4], [-3, -3])
assert compare("[-7, 7] % [2, -2]", lambda x, y: x % y, a, b) == ([1, -1], [-1, 1])
big = np.array([2**24], np.int32)
assert compare("2**24 < 2**24 + 1", lambda x: x < x + 1, big) == ([True], [False])
assert compare("2**24 <= 2**24 - 1", lambda x: x <= x - 1, big) == ([False], [False])
rank = np.array([2**24 + 1, 2**24], np.int32)
assert compare("top_k", lambda x: tf.math.top_k(x, 1)[0], rank) == ([2**24 + 1], [2**24])
there, here = compare("one_hot(-1, 3)", lambda x: tf.one_hot(x, 3), np.array([-1], np.int32))
assert (there, here) == ([[0, 0, 0]], [[0, 0, 1]])
values = np.array([1, 10], np.float32)
there, here = compare("scatter_nd at [0, 0]", lambda x: tf.scatter_nd([[0], [0]], x, [2]), values)
assert (there, here) == ([11, 0], [10, 0])
PY
