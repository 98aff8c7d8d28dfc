#!/usr/bin/env bash
# Keras's ONNX export asks for a Normalization layer's mean and variance as inputs.
#
# Packages: tensorflow-cpu 2.21.0, keras 3.15.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy
#   2.4.6.
# Expected: mean and variance are part of the file, as those of BatchNormalization are.
# Seen: the exported model has two more inputs, with TensorFlow's names and no default. The mean is
#   nowhere in the file. The deviation is, as its reciprocal; the variance is asked for all the same, though
#   no node reads it, and may be anything. export says nothing and the checker passes; the first run fails.
# Output:
#   Rescaling: one input, right
#   BatchNormalization: one input, right
#   Normalization, adapted: 3 inputs, Sub, Sqrt missing; numbers in the file [[0.1, 0.01]]
#   Normalization, mean and variance given: 3 inputs, Sub, Sqrt missing; numbers in the file [[0.1, 0.01]]
# Who is hurt: models of tabular data, which start with this layer; with the file alone, the mean is lost.
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
    file = onnx.load("m.onnx")
    onnx.checker.check_model(file, full_check=True)
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    seen[text] = len(names)
    feeds = {names[0]: x}
    try:
        session.run(None, feeds)
        print(f"{text}: one input, right")
    except ValueError:
        numbers = [onnx.numpy_helper.to_array(i).ravel().tolist() for i in file.graph.initializer]
        print(f"{text}: {len(names)} inputs, {', '.join(n.split('/')[-2] for n in names[1:])} missing;", end=" ")
        print(f"numbers in the file {[[round(v, 3) for v in n] for n in numbers]}")
        assert names[2] not in {i for n in file.graph.node for i in n.input}
        feeds.update({names[1]: np.array([[20, 300]], np.float32), names[2]: np.array([[-1, -1]], np.float32)})
    assert np.allclose(there, session.run(None, feeds)[0], atol=1e-4)
assert list(seen.values()) == [1, 1, 3, 3]
PY
