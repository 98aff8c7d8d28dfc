#!/usr/bin/env bash
# PyTorch's exporter answers differently for rows of attention that a mask hides whole.
#
# Packages: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: scaled_dot_product_attention gives zeros for a query that may look at nothing, as PyTorch does.
# Seen: with a mask of booleans the query gets the mean of all values, as hidden scores are lowered by the
#   largest number, which is the same for all; with a mask of 0 and -inf it gets NaN, which the next layer
#   spreads. The other rows are right.
# Output (three values, 1, 2 and 6; the first query may look at none, the second at the first two):
#   mask of booleans: PyTorch [0.0, 1.5], ONNX [3.0, 1.5]
#   mask of numbers: PyTorch [0.0, 1.5], ONNX [nan, 1.5]
# Who is hurt: batches padded on the left or with empty sequences.
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

query, key = torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 3, 1)
value = torch.tensor([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1)
visible = torch.tensor([[False, False, False], [True, True, False]])
masks = {"booleans": visible, "numbers": torch.where(visible, 0.0, -float("inf"))}
attention = torch.nn.functional.scaled_dot_product_attention
answers = {}
for kind, mask in masks.items():
    there, here = (np.round(y.ravel(), 4).tolist() for y in both(attention, query, key, value, mask))
    print(f"mask of {kind}: PyTorch {there}, ONNX {here}")
    assert there == [0, 1.5] and here[1] == 1.5
    answers[kind] = here[0]
assert answers["booleans"] == 3 and np.isnan(answers["numbers"])
PY
