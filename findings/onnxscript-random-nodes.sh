#!/usr/bin/env bash
# onnxscript's optimizer merges Bernoulli and training Dropout nodes, and draws Bernoulli once for all.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxscript 0.7.2, onnx-ir 1.1.0.
# Expected: the passes know what is random. They list RandomNormal, RandomUniform, their Like forms
#   and Multinomial, and neither merge two such nodes nor fold one.
# Seen: Bernoulli and Dropout with training_mode = true aren't on the lists. Two of them with the same
#   input become one, so that masks meant to be independent are equal; and with a constant input they
#   are computed while optimizing: the file then holds one draw, for ever.
# Output:
#   two RandomNormalLike: equal before False, after False
#   two Bernoulli: equal before False, after True
#   two Dropout: equal before False, after True
#   Bernoulli of a constant: ['Bernoulli'] -> []
# Who is hurt: Monte-Carlo dropout and stochastic depth: the spread over samples, which is what is
#   being measured, shrinks or is zero.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxscript==0.7.2 \
    onnx-ir==1.1.0
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnxscript import optimizer


def optimize(text):
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    optimized = optimizer.optimize(model)
    onnx.checker.check_model(optimized, full_check=True)
    return model, optimized


def draw(model, feeds):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, feeds) for _ in range(2)]


def kinds(model):
    return [node.op_type for node in model.graph.node]


half = np.full(256, 0.5, np.float32)
TWO = "g (float[256] p) => (float[256] y, float[256] z) { y = %s (p) z = %s (p) }"
for name in ("RandomNormalLike", "Bernoulli"):
    model, optimized = optimize(TWO % (name, name))
    (y0, z0), _ = draw(model, {"p": half})
    (y1, z1), _ = draw(optimized, {"p": half})
    print(f"two {name}: equal before {np.array_equal(y0, z0)}, after {np.array_equal(y1, z1)}")
    assert not np.array_equal(y0, z0)
    assert np.array_equal(y1, z1) == (name == "Bernoulli")

dropout = """g (float[256] p) => (float[256] y, float[256] z)
<float r = {0.5}, bool on = {1}> { y = Dropout(p, r, on) z = Dropout(p, r, on) }"""
model, optimized = optimize(dropout)
(y0, z0), _ = draw(model, {"p": half})
(y1, z1), _ = draw(optimized, {"p": half})
print(f"two Dropout: equal before {np.array_equal(y0, z0)}, after {np.array_equal(y1, z1)}")
assert not np.array_equal(y0, z0) and np.array_equal(y1, z1)

p = ", ".join(["0.5"] * 256)
model, optimized = optimize(f"g () => (float[256] y) <float[256] p = {{{p}}}> {{ y = Bernoulli(p) }}")
print("Bernoulli of a constant:", kinds(model), "->", kinds(optimized))
(first,), (second,) = draw(model, {})
assert not np.array_equal(first, second)
(first,), (second,) = draw(optimized, {})
assert np.array_equal(first, second) and kinds(optimized) == []
PY
