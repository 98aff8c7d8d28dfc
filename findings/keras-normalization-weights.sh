#!/usr/bin/env bash
# Weights that are set on an adapted Normalization layer of Keras have no effect, until it is saved and loaded.
#
# Packages: keras 3.15.1, tensorflow 2.21.0, numpy 2.4.6.
# Expected: after set_weights([mean, variance, count]) the layer normalizes by the new mean and variance.
# Seen: predict goes on with those of adapt(): the layer has copied them to tensors of its own.
#   get_weights() shows the new ones. The saved model, loaded again, uses them: the same weights, another
#   answer. load_weights() has the new ones at once.
# Output (adapted to 1 and 3; set to mean 0, variance 4; of 5):
#   adapted 3.0, weights set 3.0, saved and loaded 2.5
# Who is hurt: who moves weights between models with get_weights and set_weights (federated averaging,
#   checkpoints of one's own, conversion from another framework).
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - <<'PY' 2>/dev/null
import keras
import numpy as np

layer = keras.layers.Normalization()
layer.adapt(np.array([[1.0], [3.0]]))
model = keras.Sequential([keras.Input((1,)), layer])


def answer(model):
    return float(model.predict(np.array([[5.0]]), verbose=0)[0, 0])


adapted = answer(model)
model.set_weights([np.array([0.0]), np.array([4.0]), np.array(0)])
assert [w.ravel().tolist() for w in model.get_weights()[:2]] == [[0.0], [4.0]]
after = answer(model)
model.save("model.keras")
loaded = answer(keras.saving.load_model("model.keras"))
print(f"adapted {adapted}, weights set {after}, saved and loaded {loaded}")
assert (adapted, after, loaded) == (3.0, 3.0, 2.5)
PY
