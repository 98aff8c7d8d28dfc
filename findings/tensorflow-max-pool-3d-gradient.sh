#!/usr/bin/env bash
# TensorFlow's gradient of a 3-D maximum goes in full to every input within 0.00001 of it: of small values to all.
#
# Packages: tensorflow 2.21.0, numpy 2.4.6 (on the CPU).
# Expected: one input of each window gets the gradient, as for max_pool2d (or equal ones share it).
# Seen: max_pool3d compares with a fixed distance, 1e-5. Inputs nearer than that each get all of it: where
#   activations are small the gradients of a window add up to as many times the right one as it has cells.
#   A scale of the input by 1,000,000, which changes nothing else, gives the right one.
# Output (windows of four cells; the gradient of their maximum):
#   1, 0.999995, 0.5, 0.2: 2-D [1, 0, 0, 0], 3-D [1, 1, 0, 0]
#   1, 2, 5, 3 millionths: 2-D [0, 0, 1, 0], 3-D [1, 1, 1, 1]
#   1, 2, 5, 3: 2-D [0, 0, 1, 0], 3-D [0, 0, 1, 0]
# Who is hurt: networks on volumes and videos with small activations behind a normalization; and who takes
#   the gradient for an oracle.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check tensorflow==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES="" venv/bin/python - <<'PY' 2>/dev/null
import numpy as np
import tensorflow as tf


def gradient(values, rank):
    plane = np.array(values, np.float32).reshape((1, *(1,) * (rank - 2), 2, 2, 1))
    x, size = tf.constant(plane), (*(1,) * (rank - 2), 2, 2)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.pool(x, size, "MAX", strides=size)
    return tape.gradient(y, x).numpy().ravel().astype(int).tolist()


small = [1e-6, 2e-6, 5e-6, 3e-6]
seen = {}
for name, values in (
    ("1, 0.999995, 0.5, 0.2", [1, 0.999995, 0.5, 0.2]),
    ("1, 2, 5, 3 millionths", small),
    ("1, 2, 5, 3", [1e6 * x for x in small]),
):
    seen[name] = gradient(values, 2), gradient(values, 3)
    print(f"{name}: 2-D {seen[name][0]}, 3-D {seen[name][1]}")
assert list(seen.values()) == [
    ([1, 0, 0, 0], [1, 1, 0, 0]), ([0, 0, 1, 0], [1, 1, 1, 1]), ([0, 0, 1, 0], [0, 0, 1, 0])
]
PY
