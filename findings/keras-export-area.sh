#!/usr/bin/env bash
# Keras's ONNX export makes nearest neighbours of Resizing with interpolation='area'.
#
# Packages: tensorflow-cpu 2.21.0, keras 3.15.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy
#   2.4.6.
# Expected: halving an image with area is the mean of four pixels, which ONNX can say in several ways; or
#   the file is of no use, as that of lanczos3, which ONNX Runtime refuses.
# Seen: the exported model takes the first pixel of each four. Nothing is said.
# Output (0 to 15 in 4 x 4, to 2 x 2):
#   nearest: Keras [5.0, 7.0, 13.0, 15.0], ONNX [5.0, 7.0, 13.0, 15.0]
#   bilinear: Keras [2.5, 4.5, 10.5, 12.5], ONNX [2.5, 4.5, 10.5, 12.5]
#   area: Keras [2.5, 4.5, 10.5, 12.5], ONNX [0.0, 2.0, 8.0, 10.0]
# Who is hurt: area is what one takes for shrinking images; fine patterns alias in the exported model
#   alone.
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
import onnxruntime as ort  # noqa: E402
from keras import layers  # noqa: E402

ort.set_default_logger_severity(3)
x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
for method in ("nearest", "bilinear", "area"):
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Resizing(2, 2, interpolation=method)])
    there = model.predict(x, verbose=0)
    model.export("m.onnx", format="onnx", verbose=False)
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    here = session.run(None, {session.get_inputs()[0].name: x})[0]
    print(f"{method}: Keras {there.ravel().tolist()}, ONNX {here.ravel().tolist()}")
    assert np.allclose(there, here) == (method != "area")
    if method == "area":
        assert there.ravel().tolist() == [2.5, 4.5, 10.5, 12.5] and here.ravel().tolist() == [0, 2, 8, 10]
PY
