#!/usr/bin/env bash
# PyTorch's exporter draws with replacement where multinomial draws without.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: torch.multinomial(weights, n) draws n different categories, as replacement is False by default; a
#   model that is exported either does so or is refused, since ONNX's Multinomial always puts back.
# Seen: a Multinomial, without a warning: categories come twice. And one draw from a vector has lost its
#   dimension.
# Output (four draws from four categories, a thousand times):
#   draws that are permutations: PyTorch 1000, ONNX about 100 (1 in 10.7 by chance)
#   shape of one draw from a vector: PyTorch (1,), ONNX ()
# Who is hurt: sampled negatives, shuffles and candidate lists in a graph, which rely on there being no
#   repeats.
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

weights = torch.full((1000, 4), 0.25)


def permutations(draws):
    return int(np.all(np.sort(draws) == np.arange(4), axis=1).sum())


there, here = both(lambda w: torch.multinomial(w, 4), weights)
print(f"draws that are permutations: PyTorch {permutations(there)}, ONNX {permutations(here)}")
assert permutations(there) == 1000 and 40 < permutations(here) < 200
there, here = both(lambda w: torch.multinomial(w, 1), weights[0])
print(f"shape of one draw from a vector: PyTorch {there.shape}, ONNX {here.shape}")
assert there.shape == (1,) and here.shape == ()
PY
