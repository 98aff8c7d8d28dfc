#!/usr/bin/env bash
# paddle2onnx leaves out arguments without a word: bounds, an axis that isn't given, all layers but the last.
#
# Packages: paddle2onnx 2.1.0, paddlepaddle 3.3.1, onnx 1.17.0, onnxruntime 1.32.0, packaging 26.4,
#   requests 2.34.2, numpy 2.4.6.
# Expected: the file answers what Paddle does, or the exporter refuses the model.
# Seen: Hardtanh(-2, 3) clips to -1 and 1; the norm of a matrix becomes that of each of its rows, of another
#   shape; GELU(approximate=True) is the exact one; an LSTM of two layers returns the states of the second
#   alone, (1, N, H) for (2, N, H).
# Output:
#   Hardtanh(-2, 3) of [-5, 5]: Paddle [-2.0, 3.0], the file [-1.0, 1.0]
#   norm of [[3, 4], [6, 8]]: Paddle 11.18, the file [5.0, 10.0]
#   GELU(approximate=True) of 2: Paddle 1.95460, the file 1.95450
#   states of an LSTM of two layers: Paddle [2, 1, 3], the file [1, 1, 3]
# Who is hurt: quantization-aware and mobile nets (Hardtanh); losses and gradient clipping by the norm;
#   decoders that start from an encoder's states.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check paddle2onnx==2.1.0 paddlepaddle==3.3.1 onnx==1.17.0 \
    onnxruntime==1.32.0 packaging==26.4 requests==2.34.2 numpy==2.4.6
cat >run.py <<'PY'  # Paddle reads the source of what it exports
import numpy as np
import onnxruntime as ort
import paddle
from paddle import nn


class Norm(nn.Layer):
    def forward(self, x):
        return paddle.linalg.norm(x)


def both(layer, x):
    """What Paddle answers, and what the exported file does in ONNX Runtime."""
    layer.eval()
    x = np.array(x, np.float32)
    paddle.onnx.export(layer, "m", [paddle.static.InputSpec(list(x.shape), "float32")], opset_version=17)
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    return layer(paddle.to_tensor(x)), session.run(None, {session.get_inputs()[0].name: x})


ours, file = both(nn.Hardtanh(-2.0, 3.0), [-5, 5])
print(f"Hardtanh(-2, 3) of [-5, 5]: Paddle {ours.tolist()}, the file {file[0].tolist()}")
assert ours.tolist() == [-2, 3] and file[0].tolist() == [-1, 1]

ours, file = both(Norm(), [[3, 4], [6, 8]])
print(f"norm of [[3, 4], [6, 8]]: Paddle {ours.item():.2f}, the file {file[0].tolist()}")
assert abs(ours.item() - 125**0.5) < 1e-4 and np.allclose(file[0], [5, 10])

ours, file = both(nn.GELU(approximate=True), [2.0])
print(f"GELU(approximate=True) of 2: Paddle {ours.item():.5f}, the file {file[0].item():.5f}")
assert abs(ours.item() - 1.95460) < 2e-5 and abs(file[0].item() - 1.95450) < 2e-5

(_, (states, _)), file = both(nn.LSTM(2, 3, num_layers=2), np.ones((1, 4, 2)))
print(f"states of an LSTM of two layers: Paddle {list(states.shape)}, the file {list(file[1].shape)}")
assert list(states.shape) == [2, 1, 3] and file[1].shape == (1, 1, 3)
PY
HOME="$work" venv/bin/python run.py 2>errors.txt | grep "the file" || { cat errors.txt; exit 1; }
