#!/usr/bin/env bash
# Keras 3 opens a Keras 2 file with hard_sigmoid and computes another function.
#
# Packages: tensorflow-cpu 2.21.0, tf-keras 2.21.0, keras 3.15.0, numpy 2.4.6, h5py 3.14.0.
# Expected: an .h5 file of tf-keras either means the same in Keras 3 or is refused, as it is for other
#   layers and arguments that changed.
# Seen: the name hard_sigmoid is kept, its meaning is not: clip(0.2 x + 0.5, 0, 1) in Keras 2, relu6(x +
#   3) / 6 in Keras 3. The file opens without a word; the answers differ by up to 0.083 of a range of 1.
# Output:
#   x        [-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0]
#   tf-keras [0.0, 0.0, 0.3, 0.5, 0.7, 1.0, 1.0]
#   Keras 3  [0.0, 0.083, 0.333, 0.5, 0.667, 0.917, 1.0]
# Who is hurt: old small models, where hard_sigmoid was the cheap choice of a gate; retraining starts from
#   another function.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    tensorflow-cpu==2.21.0 tf-keras==2.21.0 keras==3.15.0 numpy==2.4.6 h5py==3.14.0
venv/bin/python - <<'PY'
import logging
import os
import warnings

os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tf_keras  # noqa: E402

x = np.array([[-3.0], [-2.5], [-1], [0], [1], [2.5], [3]], np.float32)
old = tf_keras.Sequential(
    [tf_keras.layers.Dense(1, "hard_sigmoid", kernel_initializer="ones", input_shape=(1,))]
)
old.save("old.h5")
new = keras.models.load_model("old.h5", compile=False)
before, after = (m.predict(x, verbose=0).ravel() for m in (old, new))
print("x       ", x.ravel().tolist())
print("tf-keras", [round(float(v), 3) for v in before])
print("Keras 3 ", [round(float(v), 3) for v in after])
assert np.allclose(before, np.clip(0.2 * x.ravel() + 0.5, 0, 1), atol=1e-6)
assert np.allclose(after, np.clip(x.ravel() + 3, 0, 6) / 6, atol=1e-6)
assert np.abs(before - after).max() > 0.06
PY
