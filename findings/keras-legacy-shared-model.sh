#!/usr/bin/env bash
# Keras 3 miscounts the calls of a model inside of a model in Keras 2 files.
#
# Packages: tensorflow-cpu 2.21.0, tf-keras 2.21.0, keras 3.15.0, numpy 2.4.6, h5py 3.14.0.
# Expected: tf-keras numbers the calls of an inner Functional model from 1, as building it is call 0;
#   Keras 3 numbers them from 0. A reader of old files has to take one off everywhere.
# Seen: it takes one off in the list of outputs, not in the inputs of the layers. A layer on top of an
#   inner model is refused, as having loops or disconnected nodes: a head on a backbone, the difference of
#   twins. If there is another call with that number, its value is taken without a word: 3 * inner(p)
#   becomes 3 * inner(q).
# Output (inner doubles, p = 1, q = 10):
#   inner(p), inner(q) as they are     : tf-keras [2.0, 20.0], Keras 3 [2.0, 20.0]
#   3 * inner(p)                       : tf-keras [6.0, 10.0], Keras 3 ValueError
#   inner(p) - inner(q)                : tf-keras [-18.0], Keras 3 ValueError
#   3 * inner(p), and inner(q) as it is: tf-keras [6.0, 20.0], Keras 3 [60.0, 20.0]
# Who is hurt: whoever moves transfer-learning and siamese models from Keras 2; the last form answers for
#   another input.
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
from tf_keras.layers import Input, Rescaling, Subtract  # noqa: E402


def doubling():
    x = Input((1,))
    return tf_keras.Model(x, Rescaling(2.0)(x), name="inner")


def reload(text, build):
    inner, p, q = doubling(), Input((1,), name="p"), Input((1,), name="q")
    outputs = build(inner, p, q)
    old = tf_keras.Model([p, q], outputs)
    old.save("old.h5")
    feeds = [np.array([[1.0]], np.float32), np.array([[10.0]], np.float32)]
    values = lambda m: [float(v.item()) for v in np.atleast_1d(m.predict(feeds, verbose=0))]  # noqa: E731
    before = values(old)
    try:
        after = values(keras.models.load_model("old.h5", compile=False))
    except Exception as error:
        after = type(error).__name__
    print(f"{text}: tf-keras {before}, Keras 3 {after}")
    return before, after


plain = reload("inner(p), inner(q) as they are     ", lambda f, p, q: [f(p), f(q)])
head = reload("3 * inner(p)                       ", lambda f, p, q: [Rescaling(3.0)(f(p)), q])
twins = reload("inner(p) - inner(q)                ", lambda f, p, q: [Subtract()([f(p), f(q)])])
mixed = reload("3 * inner(p), and inner(q) as it is", lambda f, p, q: [Rescaling(3.0)(f(p)), f(q)])
assert plain == ([2, 20], [2, 20])
assert head == ([6, 10], "ValueError") and twins == ([-18], "ValueError")
assert mixed == ([6, 20], [60, 20])
PY
