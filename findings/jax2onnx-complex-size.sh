#!/usr/bin/env bash
# jax2onnx writes abs of complex numbers as Abs of their two parts: |rfft(x)| has another shape.
#
# Packages: jax2onnx 0.17.1, jax 0.10.2, flax 0.12.8, equinox 0.13.8, onnx 1.23.2, onnxruntime 1.32.0,
#   numpy 2.4.6.
# Expected: jnp.abs(jnp.fft.rfft(x)) is √(re² + im²), or the export is refused.
# Seen: DFT gives real and imaginary parts along a last axis of 2, and Abs takes each one's size. No
#   warning; what reads it next may broadcast.
# Output:
#   JAX: shape (4, 3), first number 10.0; the file: shape (4, 3, 2), first numbers [10.0, 0.0]
# Who is hurt: spectrograms.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check jax2onnx==0.17.1 jax==0.10.2 flax==0.12.8 \
    equinox==0.13.8 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
JAX_PLATFORMS=cpu venv/bin/python - <<'PY' 2>errors.txt || { cat errors.txt; exit 1; }
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime as ort
from jax2onnx import to_onnx


def size(a):
    return jnp.abs(jnp.fft.rfft(a))


array = np.arange(20, dtype=np.float32).reshape(4, 5)
to_onnx(size, [jax.ShapeDtypeStruct((4, 5), np.float32)], return_mode="file", output_path="m.onnx")
session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
found = session.run(None, {session.get_inputs()[0].name: array})[0]
expected = np.asarray(size(array))
first, second = float(expected[0, 0]), (np.round(found[0, 0], 3) + 0).tolist()
print(f"JAX: shape {expected.shape}, first number {first}; the file: shape {found.shape}, first numbers {second}")
assert expected.shape == (4, 3) and found.shape == (4, 3, 2)
PY
