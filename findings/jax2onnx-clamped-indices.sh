#!/usr/bin/env bash
# jax2onnx gives indices beyond the ends to ONNX as they are; JAX moves the slice, and has no class -1.
#
# Packages: jax2onnx 0.17.1, jax 0.10.2, flax 0.12.8, equinox 0.13.8, onnx 1.23.2, onnxruntime 1.32.0,
#   numpy 2.4.6.
# Expected: lax.dynamic_slice keeps its size: JAX moves the start so that it fits. one_hot of -1 is all
#   zeros.
# Seen: the file's Slice cuts off what doesn't fit, so that the shape changes, and OneHot counts -1 from
#   the end, as ONNX says. No warning.
# Output:
#   dynamic_slice of size (2, 2) at (3, 4) of (4, 5): JAX (2, 2), the file (1, 1)
#   one_hot([0, -1, 5], 4): JAX [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], the file [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
# Who is hurt: windows that move up to the end of a sequence; labels where -1 means 'none'.
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
from jax import lax
from jax2onnx import to_onnx


def both(function, array):
    """What JAX gives, and what the exported file gives in ONNX Runtime."""
    to_onnx(function, [jax.ShapeDtypeStruct(array.shape, array.dtype)], return_mode="file",
            output_path="m.onnx")
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: array}
    return np.asarray(function(jnp.asarray(array))), session.run(None, feeds)[0]


array = np.arange(20, dtype=np.float32).reshape(4, 5)
jax_says, file_says = both(lambda a: lax.dynamic_slice(a, (3, 4), (2, 2)), array)
print(f"dynamic_slice of size (2, 2) at (3, 4) of (4, 5): JAX {jax_says.shape}, the file {file_says.shape}")
assert jax_says.shape == (2, 2) and file_says.shape == (1, 1)

ids = np.array([0, -1, 5], np.int32)
jax_says, file_says = both(lambda i: jax.nn.one_hot(i, 4), ids)
jax_says, file_says = jax_says.astype(int).tolist(), file_says.astype(int).tolist()
print(f"one_hot([0, -1, 5], 4): JAX {jax_says}, the file {file_says}")
assert jax_says == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
assert file_says == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
PY
