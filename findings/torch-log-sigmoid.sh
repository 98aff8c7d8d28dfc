#!/usr/bin/env bash
# PyTorch's exporter makes BCEWithLogitsLoss and logsigmoid infinite from a logit of -18 on.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the stable formula that these functions exist for.
# Seen: Log(Sigmoid(x)). ONNX Runtime's Sigmoid is 0 below -18 (-17 is off by 5% of the loss already), so that
#   a confident wrong answer costs infinity. BCEWithLogitsLoss and its pos_weight go the same way, and
#   logaddexp is Log(Exp(x) + Exp(y)).
# Output:
#   logsigmoid(-10, -17, -18, -50): PyTorch [-10.0, -17.0, -18.0, -50.0], ONNX [-10.0, -16.2, -inf, -inf]
#   BCEWithLogitsLoss of the same, target 1: PyTorch 23.75, ONNX inf
#   logaddexp(100, 100): PyTorch [100.69], ONNX [inf]
# Who is hurt: losses and log likelihoods computed in an exported model.
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

x = torch.tensor([-10.0, -17.0, -18.0, -50.0])
there, here = both(torch.nn.functional.logsigmoid, x)
print(f"logsigmoid(-10, -17, -18, -50): PyTorch {np.round(there, 1).tolist()}, ONNX {[round(float(v), 1) for v in here]}")
assert np.allclose(there, x, atol=1e-3) and np.isneginf(here).tolist() == [False, False, True, True]
loss = torch.nn.BCEWithLogitsLoss()
there, here = both(lambda x: loss(x, torch.ones(4)), x)
print(f"BCEWithLogitsLoss of the same, target 1: PyTorch {there:.2f}, ONNX {here:.2f}")
assert np.isclose(there, 23.75) and np.isinf(here)
there, here = both(torch.logaddexp, torch.tensor([100.0]), torch.tensor([100.0]))
print(f"logaddexp(100, 100): PyTorch {there.round(2)}, ONNX {here}")
assert np.isclose(there[0], 100.6931) and np.isinf(here[0])
PY
