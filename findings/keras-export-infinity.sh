#!/usr/bin/env bash
# Keras's ONNX export of a guard against infinity makes NaN of it.
#
# Packages: tensorflow-cpu 2.21.0, keras 3.15.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy
#   2.4.6.
# Expected: ops.where and nan_to_num choose; what isn't chosen doesn't matter. ONNX has Where for that.
# Seen: some choices become Where. Others, with a constant where the condition holds, become a product
#   with 0 and 1 and a sum: infinity times 0 is NaN, just where it was to be replaced.
# Output (x = nan, inf, -inf, 0.5):
#   NaN to 0                  : Keras [0.0, inf, -inf, 0.5], ONNX [0.0, inf, -inf, 0.5], by Where
#   more than 1 to 1          : Keras [nan, 1.0, -inf, 0.5], ONNX [nan, nan, -inf, 0.5], by Mul
#   nan_to_num, infinities to 0: Keras [0.0, 0.0, 0.0, 0.5], ONNX [0.0, nan, nan, 0.5], by Mul
#   threshold(0, 1)           : Keras [1.0, inf, 1.0, 0.5], ONNX [nan, inf, nan, 0.5], by Mul
# Who is hurt: models that clean their own input, such as logarithms of 0: the exported one is worse off
#   than without the guard.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    tensorflow-cpu==2.21.0 keras==3.15.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 \
    numpy==2.4.6
venv/bin/python - <<'PY'
import logging
import os
import warnings

os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow")
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import keras  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from keras import ops  # noqa: E402

x = np.array([[np.nan, np.inf, -np.inf, 0.5]], np.float32)


def compare(text, function):
    given = keras.Input((4,))
    model = keras.Model(given, function(given))
    there = model.predict(x, verbose=0)
    model.export("m.onnx", format="onnx", verbose=False)
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    here = session.run(None, {session.get_inputs()[0].name: x})[0]
    kinds = {n.op_type for n in onnx.load("m.onnx").graph.node}
    print(f"{text}: Keras {there[0].tolist()}, ONNX {here[0].tolist()}, by {'Where' if 'Mul' not in kinds else 'Mul'}")
    return np.array_equal(there, here, equal_nan=True)


assert compare("NaN to 0                  ", lambda v: ops.where(ops.isnan(v), 0.0, v))
assert not compare("more than 1 to 1          ", lambda v: ops.where(v > 1, 1.0, v))
assert not compare("nan_to_num, infinities to 0", lambda v: ops.nan_to_num(v, posinf=0.0, neginf=0.0))
assert not compare("threshold(0, 1)           ", lambda v: ops.threshold(v, 0.0, 1.0))
assert compare("clip to -1 and 1          ", lambda v: ops.clip(v, -1, 1))
PY
