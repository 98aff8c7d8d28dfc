#!/usr/bin/env bash
# PyTorch's exporter has other answers for signbit of -0 and NaN, sign and heaviside of NaN, and xlogy of 0 and NaN.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: PyTorch's answers, each of which its documentation or its purpose gives: signbit exists to tell -0 from 0.
# Seen: signbit is x < 0. Sign passes NaN on where PyTorch says 0, heaviside makes NaN 1 where PyTorch says 0, and
#   xlogy(0, NaN) is 0 where PyTorch says NaN: its two tests are there, in the wrong order.
# Output:
#   signbit(-0, 0, -1, -nan): PyTorch [True, False, True, True], ONNX [False, False, True, False]
#   sign(nan, -2): PyTorch [0.0, -1.0], ONNX [nan, -1.0]
#   heaviside((nan, -1, 0, 1), 0.5): PyTorch [0.0, 0.0, 0.5, 1.0], ONNX [1.0, 0.0, 0.5, 1.0]
#   xlogy((0, 0, 1), (0, nan, nan)): PyTorch [0.0, nan, nan], ONNX [0.0, 0.0, nan]
# Who is hurt: models that code missing values or directions in a sign, and tests for NaN at the end of one.
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

nan = float("nan")
for text, function, arguments, right, wrong in (
    ("signbit(-0, 0, -1, -nan)", torch.signbit, [[-0.0, 0.0, -1.0, -nan]], [1, 0, 1, 1], [0, 0, 1, 0]),
    ("sign(nan, -2)", torch.sign, [[nan, -2.0]], [0, -1], [nan, -1]),
    ("heaviside((nan, -1, 0, 1), 0.5)", torch.heaviside, [[nan, -1.0, 0.0, 1.0], [0.5] * 4], [0, 0, 0.5, 1], [1, 0, 0.5, 1]),
    ("xlogy((0, 0, 1), (0, nan, nan))", torch.xlogy, [[0.0, 0.0, 1.0], [0.0, nan, nan]], [0, nan, nan], [0, 0, nan]),
):
    there, here = both(function, *(torch.tensor(a) for a in arguments))
    print(f"{text}: PyTorch {there.tolist()}, ONNX {here.tolist()}")
    assert np.array_equal(there.astype(float), right, equal_nan=True)
    assert np.array_equal(here.astype(float), wrong, equal_nan=True)
PY
