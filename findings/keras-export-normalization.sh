#!/usr/bin/env bash
# Keras's ONNX export asks for a Normalization layer's mean and variance as inputs.
#
# Packages: tensorflow-cpu 2.21.0, keras 3.15.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy
#   2.4.6.
# Expected: mean and variance are part of the file, as those of BatchNormalization are.
# Seen: the exported model has two more inputs of TensorFlow's names, with no default, and the numbers are
#   nowhere in the file. export says nothing and the checker passes; the first run fails. It doesn't matter
#   whether they were adapted or given.
# Output (given the first input):
#   Rescaling: inputs ['keras_tensor'], given the first: right
#   BatchNormalization: inputs ['keras_tensor_2'], given the first: right
#   Normalization, adapted: inputs ['keras_tensor_4', 'sequential_2_1/normalization_1/Sub/y:0', 'sequential_2_1/normalization_1/Sqrt/x:0'], given the first: ValueError (Required inputs ... missing)
#   Normalization, mean and variance given: likewise
# Who is hurt: models of tabular data, which start with this layer; with the file alone, the numbers are
#   lost.
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
from keras import layers  # noqa: E402

x = np.array([[10, 200], [30, 400]], np.float32)
adapted = layers.Normalization()
adapted.adapt(x)
seen = {}
for text, layer in (
    ("Rescaling", layers.Rescaling([0.1, 0.01], [-2, -3])),
    ("BatchNormalization", layers.BatchNormalization()),
    ("Normalization, adapted", adapted),
    ("Normalization, mean and variance given", layers.Normalization(mean=[20, 300], variance=[100, 10000])),
):
    model = keras.Sequential([keras.Input((2,)), layer])
    there = model.predict(x, verbose=0)
    model.export("m.onnx", format="onnx", verbose=False)
    onnx.checker.check_model(onnx.load("m.onnx"), full_check=True)
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    try:
        answer = session.run(None, {names[0]: x})[0]
        assert np.allclose(there, answer, atol=1e-4)
        text_of = "right"
    except ValueError as error:
        text_of = f"{type(error).__name__} ({str(error)[:15]} ... missing)"
    seen[text] = len(names)
    print(f"{text}: inputs {names}, given the first: {text_of}")
assert list(seen.values()) == [1, 1, 3, 3]
PY
