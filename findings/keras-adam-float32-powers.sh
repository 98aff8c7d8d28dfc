#!/usr/bin/env bash
# Keras's Adam corrects its moments in float32, whatever the type of the weights: float64 training isn't.
#
# Packages: keras 3.15.1, tensorflow 2.21.0, numpy 2.4.6.
# Expected: with float64 variables and floatx float64 the first step of Adam for a gradient of 1 is the
#   formula's in double: 0.001 * sqrt(1 - 0.999) / (1 - 0.9) * 0.1 / (sqrt(0.001) + 1e-7).
# Seen: 1 - beta_2 ** t is that of float32, where 1 - 0.999 is 0.00099998: the step is 6.6e-6 of itself too
#   small, a hundred million times the precision of the type. Moments and weights are float64 all the same.
# Output:
#   formula -0.00099999684, in float32 -0.00099999018, Keras in float64 -0.000999990
# Who is hurt: who takes Keras in float64 for the truth that other trainers are held against: after 100 steps
#   weights differ in the second digit where a ReLU or a maximum flips on the way.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES="" venv/bin/python - <<'PY' 2>/dev/null
import keras
import numpy as np
import tensorflow as tf


def step(power):
    rate = 0.001 * np.sqrt(1 - power(0.999)) / (1 - power(0.9))
    return -float(rate) * 0.1 / (np.sqrt(0.001) + 1e-7)


keras.config.set_floatx("float64")
weight = keras.Variable([0.0], dtype="float64")
adam = keras.optimizers.Adam()
adam.build([weight])
adam.apply([tf.constant([1.0], tf.float64)], [weight])
assert {v.dtype for v in adam.variables[1:]} == {"float64"}
found, right, short = float(np.asarray(weight)[0]), step(np.float64), step(np.float32)
print(f"formula {right:.11f}, in float32 {short:.11f}, Keras in float64 {found:.9f}")
assert abs(found / right - 1) > 6e-6 and abs(found / short - 1) < 1e-7
PY
