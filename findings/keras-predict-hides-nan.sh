#!/usr/bin/env bash
# A NaN that enters a Dense or Conv2D layer with relu comes out of Keras's predict as 0, and out of a call as NaN.
#
# Packages: keras 3.15.1, tensorflow 2.21.0, numpy 2.4.6.
# Expected: relu(NaN) is NaN, as tf.nn.relu gives it, however the model is run.
# Seen: predict (a tf.function, as fit and exported SavedModels) fuses product, bias and Relu into one
#   kernel, whose maximum passes over NaN: 0. model(x) and jit_compile=True give NaN. relu6 is the same;
#   leaky_relu, elu, tanh, sigmoid keep NaN. With Conv2D the kernel of the call differs too.
# Output (a sample whose first feature is NaN; Dense of ones):
#   relu: called nan, predicted 0.0, compiled by XLA nan
#   relu6: called nan, predicted 0.0, compiled by XLA nan
#   leaky_relu: called nan, predicted nan, compiled by XLA nan
# Who is hurt: who looks for NaN in outputs to find damaged input: the answer looks sound; and who compares
#   an exported file, where Relu keeps NaN, with predict.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - <<'PY' 2>/dev/null
import keras
import numpy as np
import tensorflow as tf

x = np.array([[np.nan, 1, 2, 3]], np.float32)
assert np.isnan(tf.nn.relu(x)[0, 0])
for name, hidden in (("relu", True), ("relu6", True), ("leaky_relu", False)):
    layer = keras.layers.Dense(3, activation=name, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((4,)), layer])
    called = float(model(x)[0, 0])
    predicted = float(model.predict(x, verbose=0)[0, 0])
    compiled = float(tf.function(lambda v: model(v), jit_compile=True)(x)[0, 0])
    print(f"{name}: called {called}, predicted {predicted}, compiled by XLA {compiled}")
    assert np.isnan(called) and np.isnan(compiled)
    assert predicted == 0 if hidden else np.isnan(predicted)
PY
