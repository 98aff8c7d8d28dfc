#!/usr/bin/env bash
# Keras 3 forgets a list of axes when it reads an .h5 file, even its own.
#
# Packages: keras 3.15.0, jax 0.10.2, numpy 2.4.6, h5py 3.14.0.
# Expected: Softmax(axis=[1, 2]) saved and loaded is Softmax(axis=[1, 2]), or the file is refused.
# Seen: the reader of .h5 takes the key axis out of every layer's settings and puts it back only if it is
#   a number or a list of one. Two axes are dropped, and the layer falls back to its default, the last axis.
#   .keras files keep them. A layer with weights is saved by their shapes, unless these happen to fit.
# Output:
#   Softmax            m.keras  axis [1, 2] then [1, 2], differs by 0.00
#   Softmax            m.h5     axis [1] then 1, differs by 0.00
#   Softmax            m.h5     axis [1, 2] then -1, differs by 0.81
#   UnitNormalization  m.h5     axis [1, 2] then -1, differs by 0.81
#   LayerNormalization m.h5     axis [1, 2] then [-1], differs by 2.80
# Who is hurt: spatial attention (a softmax over height and width) and normalizations without weights, in
#   .h5 files of Keras 2 and 3.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    keras==3.15.0 jax==0.10.2 numpy==2.4.6 h5py==3.14.0
venv/bin/python - <<'PY'
import logging
import os
import warnings

os.environ["KERAS_BACKEND"] = "jax"
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402


def reload(layer, path):
    model = keras.Sequential([keras.Input((3, 3, 2)), layer])
    model.save(path)
    again = keras.models.load_model(path, compile=False)
    before, after = (np.asarray(m.predict(x, verbose=0)) for m in (model, again))
    error = np.abs(before - after).max()
    print(f"{type(layer).__name__:18} {path:8} axis {layer.axis} then {again.layers[0].axis}, differs by {error:.2f}")
    return error


x = np.random.default_rng(0).normal(size=(1, 3, 3, 2)).astype(np.float32)
plain = {"center": False, "scale": False}
for make in (
    lambda axis: layers.Softmax(axis=axis),
    lambda axis: layers.UnitNormalization(axis=axis),
    lambda axis: layers.LayerNormalization(axis=axis, **plain),
):
    assert reload(make([1, 2]), "m.keras") == 0
    assert reload(make([1]), "m.h5") == 0
    assert reload(make([1, 2]), "m.h5") > 0.1
PY
