#!/usr/bin/env bash
# PyTorch's exporter gives atan2 of a point on the negative x axis the wrong sign.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: atan2(0, -1) is pi, atan2(-0, -1) is -pi.
# Seen: both are -pi, as the quadrant is chosen by y > 0. So are the angles of negative numbers as complex
#   ones (torch.angle). atan2(inf, inf), a quarter of pi, is 0.
# Output (in units of pi):
#   atan2(y, x): PyTorch [1.0, -1.0, 0.75, 0.5, 0.25], ONNX [-1.0, -1.0, 0.75, 0.5, 0.0]
#   angle of -2 + 0j and 2 + 0j: PyTorch [1.0, 0.0], ONNX [-1.0, 0.0]
# Who is hurt: headings straight back, phases of real signals: their differences and means turn over.
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

inf = float("inf")
y, x = torch.tensor([0.0, -0.0, 1.0, 1.0, inf]), torch.tensor([-1.0, -1.0, -1.0, 0.0, inf])


def in_pi(values):
    return [round(float(v) / np.pi, 3) for v in values]


there, here = both(torch.atan2, y, x)
print(f"atan2(y, x): PyTorch {in_pi(there)}, ONNX {in_pi(here)}")
assert in_pi(there) == [1, -1, 0.75, 0.5, 0.25] and in_pi(here) == [-1, -1, 0.75, 0.5, 0]
there, here = both(lambda x: torch.angle(torch.complex(x, torch.zeros_like(x))), torch.tensor([-2.0, 2.0]))
print(f"angle of -2 + 0j and 2 + 0j: PyTorch {in_pi(there)}, ONNX {in_pi(here)}")
assert in_pi(there) == [1, 0] and in_pi(here) == [-1, 0]
PY
