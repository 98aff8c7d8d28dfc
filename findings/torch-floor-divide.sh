#!/usr/bin/env bash
# PyTorch's exporter divides and then rounds down for // and %: other cells and other remainders.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: PyTorch's answers, which go by the exact remainder: float32's 0.1 fits into 1 nine times.
# Seen: // is Floor(Div(x, y)), as in 1 // 0.1 = 10, and % is x - Floor(x / y) * y, where the quotient was rounded:
#   0 for every number of tenths, half a radian off for a phase, and NaN for an infinite divisor. fmod, which becomes
#   Mod with fmod=1, is right for the same numbers.
# Output:
#   [1, 0.3, -0.3, 0.7] // 0.1: PyTorch [9.0, 3.0, -4.0, 6.0], ONNX [10.0, 3.0, -3.0, 7.0]
#   [1, 0.5, 0.7, 100] % 0.1: PyTorch [0.1, 0.1, 0.1, 0.1], ONNX [0.0, 0.0, 0.0, 0.0]
#   fmod of the same: PyTorch [0.1, 0.1, 0.1, 0.1], ONNX [0.1, 0.1, 0.1, 0.1]
#   [1e4, 1e6, 4.41e6, -1e6] % (2 pi): PyTorch [3.452, 5.898, 1.756, 0.385], ONNX [3.452, 5.875, 2.0, 0.375]
#   [5, -5] % inf: PyTorch [5.0, inf], ONNX [nan, nan]
# Who is hurt: histograms, voxel grids and phases (one a sample of sound) in an exported model.
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

import math


def show(text, there, here, digits):
    there, here = ([round(float(v), digits) for v in a] for a in (there, here))
    print(f"{text}: PyTorch {there}, ONNX {here}")
    return there, here


x = torch.tensor([1.0, 0.3, -0.3, 0.7])
there, here = show("[1, 0.3, -0.3, 0.7] // 0.1", *both(lambda x: x // 0.1, x), 3)
assert there == [9, 3, -4, 6] and here == [10, 3, -3, 7]
x = torch.tensor([1.0, 0.5, 0.7, 100.0])
there, here = show("[1, 0.5, 0.7, 100] % 0.1", *both(lambda x: x % 0.1, x), 3)
assert there == [0.1] * 4 and here == [0] * 4
there, here = show("fmod of the same", *both(lambda x: torch.fmod(x, 0.1), x), 3)
assert there == here == [0.1] * 4
x = torch.tensor([1e4, 1e6, 4.41e6, -1e6])
there, here = show("[1e4, 1e6, 4.41e6, -1e6] % (2 pi)", *both(lambda x: x % (2 * math.pi), x), 3)
assert there == [3.452, 5.898, 1.756, 0.385] and abs(here[2] - there[2]) > 0.2
x, y = torch.tensor([5.0, -5.0]), torch.tensor([math.inf, math.inf])
there, here = show("[5, -5] % inf", *both(torch.remainder, x, y), 3)
assert there == [5, math.inf] and np.isnan(here).all()
PY
