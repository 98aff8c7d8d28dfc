#!/usr/bin/env bash
# PyTorch's exporter drops the divisor_override of an average pooling.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: sums divided by the divisor, or a refusal, since AveragePool has no such attribute.
# Seen: an AveragePool, which divides by the size of the window. Neither exporter says a word.
# Output (2 x 2 windows over ones):
#   divisor_override=1: PyTorch 4.00, ONNX 1.00, by the older exporter 1.00
#   divisor_override=3: PyTorch 1.33, ONNX 1.00, by the older exporter 1.00
# Who is hurt: models that pool sums (divisor_override=1, an integral image): all is smaller by the window.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import contextlib
import io
import warnings

import numpy as np
import onnxruntime as ort
import torch


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *x):
        return self.function(*x)


def both(function, *x):
    """What PyTorch answers, and ONNX Runtime for the exported model."""
    ort.set_default_logger_severity(4)
    with contextlib.redirect_stdout(io.StringIO()):
        model = torch.onnx.export(Module(function).eval(), x, dynamo=True).model_proto
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    here = session.run(None, dict(zip(names, (v.numpy() for v in x))))[0]
    return function(*x).numpy(), here

image = torch.ones(1, 1, 4, 4)
for divisor in (1, 3):
    pool = torch.nn.AvgPool2d(2, divisor_override=divisor)
    there, here = both(lambda x: pool(x), image)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        torch.onnx.export(pool, (image,), "older.onnx", dynamo=False)
    session = ort.InferenceSession("older.onnx", providers=["CPUExecutionProvider"])
    older = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    there, here, older = (float(y[0, 0, 0, 0]) for y in (there, here, older))
    print(f"divisor_override={divisor}: PyTorch {there:.2f}, ONNX {here:.2f}, by the older exporter {older:.2f}")
    assert np.isclose(there, 4 / divisor) and here == older == 1
PY
