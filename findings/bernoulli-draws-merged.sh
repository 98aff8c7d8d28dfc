#!/usr/bin/env bash
# ONNX Runtime's optimizations make two draws of Bernoulli one.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: two nodes without a seed draw independently, optimized or not: of 4000 coins thrown twice, half agree.
# Seen: with basic optimizations, below the default, they are merged as a common subexpression and all 4000 agree;
#   if both are outputs of the model they stay apart. Two RandomUniformLike, RandomNormal or Multinomial always do,
#   so that what Bernoulli stands for, written out, is right.
# Output (share of the 4000 that agree, without and with basic optimizations):
#   Bernoulli: 0.5, optimized 1.0
#   RandomUniformLike < 0.5, written out: 0.5, optimized 0.5
# Who is hurt: Monte Carlo dropout and whatever compares or averages two samples of one distribution.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import parser

LEVELS = ort.GraphOptimizationLevel
BERNOULLI = """
  a = Bernoulli (p)
  b = Bernoulli (p)
"""
WRITTEN_OUT = """
  r = RandomUniformLike <low = 0.0, high = 1.0> (p)
  s = RandomUniformLike <low = 0.0, high = 1.0> (p)
  ra = Less (r, p)
  sb = Less (s, p)
  a = Cast <to = 1> (ra)
  b = Cast <to = 1> (sb)
"""


def agree(draws, level):
    text = f'<ir_version: 8, opset_import: ["" : 15]> g (float[4000] p) => (bool[4000] same) {{ {draws} same = Equal (a, b) }}'
    model = parser.parse_model(text)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return float(np.mean(session.run(None, {"p": np.full(4000, 0.5, np.float32)})[0]))


for name, draws, merged in (("Bernoulli", BERNOULLI, True), ("RandomUniformLike < 0.5, written out", WRITTEN_OUT, False)):
    plain, basic = agree(draws, LEVELS.ORT_DISABLE_ALL), agree(draws, LEVELS.ORT_ENABLE_BASIC)
    print(f"{name}: {plain:.1f}, optimized {basic:.1f}")
    assert abs(plain - 0.5) < 0.05
    assert basic == 1 if merged else abs(basic - 0.5) < 0.05
PY
