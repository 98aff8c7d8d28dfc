#!/usr/bin/env bash
# paddle2onnx writes a LeakyRelu whose slope is another number each time.
#
# Packages: paddle2onnx 2.1.0, paddlepaddle 3.3.1, onnx 1.17.0, onnxruntime 1.32.0, packaging 26.4,
#   requests 2.34.2, numpy 2.4.6.
# Expected: nn.LeakyReLU(0.1) becomes LeakyRelu with alpha = 0.1.
# Seen: alpha is a number that is nowhere in the model: 1.8e+09 in one export, -3.9e-08 in the next, whatever
#   the slope of the layer. No warning, and the file passes ONNX's checker.
# Output (other numbers in each run):
#   exported 4 times, alpha: -4.06629e-08, -3.89962e-08, -4.48118e-07, -4.56397e-07
#   LeakyReLU(0.1) of -1: Paddle -0.1, the files 4.06629e-08, 3.89962e-08, 4.48118e-07, 4.56397e-07
# Who is hurt: YOLO and GAN models. A slope near 0 looks like a slightly worse model, a large one like NaN.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check paddle2onnx==2.1.0 paddlepaddle==3.3.1 onnx==1.17.0 \
    onnxruntime==1.32.0 packaging==26.4 requests==2.34.2 numpy==2.4.6
HOME="$work" venv/bin/python - <<'PY' 2>errors.txt | grep -E "^(exported|LeakyReLU)" || { cat errors.txt; exit 1; }
import numpy as np
import onnx
import onnxruntime as ort
import paddle
from paddle import nn

layer = nn.LeakyReLU(0.1)
layer.eval()
x = np.array([[-1.0]], np.float32)
slopes, answers = [], []
for i in range(4):
    paddle.onnx.export(layer, f"m{i}", [paddle.static.InputSpec([1, 1], "float32")], opset_version=17)
    model = onnx.load(f"m{i}.onnx")
    onnx.checker.check_model(model)
    (node,) = (node for node in model.graph.node if node.op_type == "LeakyRelu")
    slopes.append(onnx.helper.get_node_attr_value(node, "alpha"))
    session = ort.InferenceSession(f"m{i}.onnx", providers=["CPUExecutionProvider"])
    answers.append(session.run(None, {session.get_inputs()[0].name: x})[0].item())
expected = layer(paddle.to_tensor(x)).item()
print(f"exported {len(slopes)} times, alpha:", ", ".join(f"{slope:g}" for slope in slopes))
print(f"LeakyReLU(0.1) of -1: Paddle {expected:g}, the files", ", ".join(f"{y:g}" for y in answers))
assert abs(expected + 0.1) < 1e-6
assert all(abs(slope - 0.1) > 1e-3 for slope in slopes)
PY
