#!/usr/bin/env bash
# PyTorch's exporter writes scatter_reduce with "mean" as plain assignment.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the mean of the rows that share an index, or a refusal, since ONNX's ScatterElements has no mean.
# Seen: a ScatterElements without a reduction: of the rows that share an index one stays, the last in ONNX
#   Runtime, without a warning. "sum" and "amax" are right.
# Output (four nodes of two graphs; features 1, 2, 6 of the first, 5 of the second):
#   sum: PyTorch [9.0, 5.0], ONNX [9.0, 5.0]
#   amax: PyTorch [6.0, 5.0], ONNX [6.0, 5.0]
#   mean: PyTorch [3.0, 5.0], ONNX [6.0, 5.0]
# Who is hurt: graph networks and sparse pooling that average by group.
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

index, x = torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 2.0, 6.0, 5.0])
seen = {}
for reduce in ("sum", "amax", "mean"):
    there, here = both(lambda i, x: torch.zeros(2).scatter_reduce(0, i, x, reduce, include_self=False), index, x)
    print(f"{reduce}: PyTorch {there.tolist()}, ONNX {here.tolist()}")
    seen[reduce] = bool(np.allclose(there, here))
assert seen == {"sum": True, "amax": True, "mean": False}
assert here.tolist() == [6, 5]
PY
