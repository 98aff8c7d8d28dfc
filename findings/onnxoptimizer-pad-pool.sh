#!/usr/bin/env bash
# onnxoptimizer folds a Pad of zeros into MaxPool, which pads with -inf.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxoptimizer 0.4.2.
# Expected: a Pad of zeros can go into an AveragePool that counts the padding, never into a MaxPool,
#   whose own padding can't win.
# Seen: the pass fuse_pad_into_pool, one of the default ones, does it. The zeros that beat negative
#   values are gone. An AveragePool without pads of its own is folded rightly, by setting
#   count_include_pad; but that also counts the pads the AveragePool had, which weren't counted.
# Output:
#   MaxPool <kernel_shape = [1, 2]>
#     before [0.0, -3.0, -2.0, -1.0, 0.0]
#     after  [-4.0, -3.0, -2.0, -1.0, -1.0] ['MaxPool']
#   AveragePool <kernel_shape = [1, 3], pads = [0, 1, 0, 1]>
#     before [-2.0, ...]  after  [-1.333, ...]
# Who is hurt: ZeroPadding2D or F.pad before pooling. After a Relu nothing shows, which is how it stays
#   unseen; after LeakyRelu, GELU or BatchNormalization the borders are other numbers.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxoptimizer==0.4.2
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxoptimizer
import onnxruntime as ort

TEMPLATE = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 1, 1, 4] x) => (float[1, 1, 1, %d] y)
<int64[8] pads = {0, 0, 0, 1, 0, 0, 0, 1}> {
  t = Pad(x, pads)
  y = %s (t)
}
"""


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([-4, -3, -2, -1], np.float32).reshape(1, 1, 1, 4)
    return session.run(None, {"x": x})[0].ravel().tolist()


def compare(width, pool):
    model = onnx.parser.parse_model(TEMPLATE % (width, pool))
    optimized = onnxoptimizer.optimize(model)
    onnx.checker.check_model(optimized, full_check=True)
    before, after = run(model), run(optimized)
    print(f"{pool}\n  before {before}\n  after  {after}", [n.op_type for n in optimized.graph.node])
    return before, after


before, after = compare(5, "MaxPool <kernel_shape = [1, 2]>")
assert (before, after) == ([0, -3, -2, -1, 0], [-4, -3, -2, -1, -1])
before, after = compare(6, "AveragePool <kernel_shape = [1, 3], pads = [0, 1, 0, 1]>")
assert before[0] == -2 and abs(after[0] + 4 / 3) < 1e-6
before, after = compare(4, "AveragePool <kernel_shape = [1, 3]>")
assert before == after
PY
