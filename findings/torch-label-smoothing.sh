#!/usr/bin/env bash
# PyTorch's exporter drops label_smoothing from the cross entropy.
#
# Packages: torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the smoothed loss, or a refusal. The older exporter (dynamo=False) refuses: "ONNX does not support
#   label_smoothing".
# Seen: the exporter by dynamo writes one SoftmaxCrossEntropyLoss, that of label_smoothing=0, without a warning.
#   weight and ignore_index are kept.
# Output:
#   label_smoothing=0.0: PyTorch 0.3508, ONNX 0.3508
#   label_smoothing=0.1: PyTorch 0.4785, ONNX 0.3508
#   label_smoothing=0.9: PyTorch 1.5008, ONNX 0.3508
# Who is hurt: validation losses and per-sample scores computed on a device.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import contextlib
import io

import numpy as np
import onnxruntime as ort
import torch

x = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.5, -0.5], [-2.0, 0.5, 1.0]])
target = torch.tensor([0, 1, 2])
for smoothing in (0.0, 0.1, 0.9):
    loss = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(loss, (x, target), "loss.onnx", dynamo=True, opset_version=20)
    session = ort.InferenceSession("loss.onnx", providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    here = session.run(None, dict(zip(names, (x.numpy(), target.numpy()))))[0]
    there = loss(x, target).numpy()
    print(f"label_smoothing={smoothing}: PyTorch {there:.4f}, ONNX {here:.4f}")
    assert np.isclose(here, there, atol=1e-4) == (smoothing == 0)
PY
