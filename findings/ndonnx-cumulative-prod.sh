#!/usr/bin/env bash
# ndonnx multiplies by logarithms: cumulative_prod of a negative number is NaN.
#
# Packages: ndonnx 0.23.0, spox 0.18.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: cumulative_prod gives products, as prod does, and logaddexp keeps clear of exp's range, which is
#   what it is for.
# Seen: cumulative_prod is Exp(CumSum(Log(x))): from the first negative number on all is NaN, in the exported
#   model and in ndonnx itself, and products of whole numbers are not whole. logaddexp is Log(Exp(a) + Exp(b)):
#   infinite from 710 on, minus infinity below -746. prod is right.
# Output:
#   prod: NumPy 120.0, ndonnx 120.0
#   cumulative_prod: NumPy [2.0, -6.0, -24.0, 120.0], ndonnx [2.0, nan, nan, nan]
#   logaddexp: NumPy [1.693, 1000.693, -999.307], ndonnx [1.693, inf, -inf]
# Who is hurt: compounded returns with a loss of more than all, determinants, log-likelihoods.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    ndonnx==0.23.0 spox==0.18.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import warnings

import ndonnx as ndx
import numpy as np
import onnxruntime as ort

warnings.simplefilter("ignore")


def run(function, x):
    argument = ndx.argument(shape=(None,), dtype=ndx.float64)
    model = ndx.build({"x": argument}, {"y": function(ndx, argument)})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def say(text, function, x):
    there, here = function(np, x), run(function, x)
    print(f"{text}: NumPy {np.round(there, 3).tolist()}, ndonnx {np.round(here, 3).tolist()}")
    return np.allclose(there, here)


x = np.array([2.0, -3.0, 4.0, -5.0])
assert say("prod", lambda xp, x: xp.prod(x), x)
assert not say("cumulative_prod", lambda xp, x: xp.cumulative_prod(x), x)
assert not say("logaddexp", lambda xp, x: xp.logaddexp(x, x), np.array([1.0, 1000.0, -1000.0]))
PY
