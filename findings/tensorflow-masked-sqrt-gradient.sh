#!/usr/bin/env bash
# A masked sqrt(0) has a gradient of 0 in TensorFlow, and of NaN when compiled by XLA or written as x ** 0.5.
#
# Packages: tensorflow 2.21.0, numpy 2.4.6 (on the CPU).
# Expected: 0 comes in from the mask, the slope at 0 is infinite, and 0 * infinity is NaN, in every way to
#   run it; or 0 in every way.
# Seen: the kernels of sqrt, rsqrt and reciprocal give 0 where 0 comes in; x ** 0.5 and 1 / x multiply and
#   give NaN. With jit_compile=True all of them give NaN.
# Output (gradient at 0 of f(x) times a mask that is 0 there):
#   sqrt: plain 0.0, compiled nan
#   rsqrt: plain 0.0, compiled nan
#   reciprocal: plain 0.0, compiled nan
#   x ** 0.5: plain nan, compiled nan
#   1 / x: plain nan, compiled nan
# Who is hurt: losses with masked distances and norms. They train for months, and become NaN on the day that
#   the same code runs with jit_compile, which Keras chooses by itself where XLA is there.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check tensorflow==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES="" venv/bin/python - <<'PY' 2>/dev/null
import numpy as np
import tensorflow as tf

mask = tf.constant([0.0, 1.0])


def at_zero(function, compiled):
    @tf.function(jit_compile=compiled)
    def gradient(x):
        return tf.gradients(function(x) * mask, x)[0]

    return float(gradient(tf.constant([0.0, 1.0]))[0])


for name, function, expected in (
    ("sqrt", tf.sqrt, 0),
    ("rsqrt", tf.math.rsqrt, 0),
    ("reciprocal", tf.math.reciprocal, 0),
    ("x ** 0.5", lambda x: x**0.5, np.nan),
    ("1 / x", lambda x: 1 / x, np.nan),
):
    plain, compiled = (at_zero(function, way) for way in (False, True))
    print(f"{name}: plain {plain}, compiled {compiled}")
    assert np.array_equal([plain, compiled], [expected, np.nan], equal_nan=True)
PY
