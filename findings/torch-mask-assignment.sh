#!/usr/bin/env bash
# PyTorch's TorchScript exporter pairs the rows of x[mask, :] = 1 with columns.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the masked rows are set, as in PyTorch; or a refusal.
# Seen: the colon becomes the numbers 0, 1 … of the columns as a second index beside those of the rows. With
#   as many masked rows as columns, the first masked row gets its first element set, the second its second: no
#   error. x[mask] = 1, without the colon, gives a file that doesn't load (Where of two shapes).
# Output:
#   x[mask, :] = 1: PyTorch [[1, 1], [1, 1]], ONNX [[1, 0], [0, 1]]
#   x[mask] = 1: PyTorch [[1, 1], [1, 1]], ONNX doesn't load: Incompatible dimensions
# Who is hurt: models that blank out rows, as of padding, exported with dynamo=False.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import warnings

import onnxruntime as ort
import torch

warnings.simplefilter("ignore")
x = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0], [0.0, 0.0], [3.0, 3.0]])


class Colon(torch.nn.Module):
    def forward(self, x):
        x = x * 1.0
        zero = x.sum(1) == 0
        x[zero, :] = 1
        return x


class Rows(torch.nn.Module):
    def forward(self, x):
        x = x * 1.0
        zero = x.sum(1) == 0
        x[zero] = 1
        return x


def masked(y):
    return [list(map(int, y[i])) for i in (1, 3)]


def run(module):
    torch.onnx.export(module, (x,), "rows.onnx", dynamo=False, opset_version=17)
    session = ort.InferenceSession("rows.onnx", providers=["CPUExecutionProvider"])
    return masked(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


there, here = masked(Colon()(x).numpy()), run(Colon())
print(f"x[mask, :] = 1: PyTorch {there}, ONNX {here}")
assert there == [[1, 1], [1, 1]] and here == [[1, 0], [0, 1]]
there = masked(Rows()(x).numpy())
try:
    raise SystemExit(f"it loads now, and gives {run(Rows())}")
except ort.capi.onnxruntime_pybind11_state.Fail as error:
    assert "Incompatible dimensions" in str(error)
    print(f"x[mask] = 1: PyTorch {there}, ONNX doesn't load: Incompatible dimensions")
PY
