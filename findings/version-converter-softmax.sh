#!/usr/bin/env bash
# onnx's version converter keeps Softmax going up, but not Hardmax, and not Softmax going down.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: before opset 13 Softmax, LogSoftmax and Hardmax flatten the input to two dimensions at
#   `axis`; from 13 on they work along that one axis. The converter has an adapter for this, so all
#   three should keep their answers from 12 to 13, and from 13 to 12 be converted or refused.
# Seen: Softmax and LogSoftmax 12 -> 13 are rewritten rightly. Hardmax 12 -> 13 is passed unchanged,
#   and so are Softmax and LogSoftmax 13 -> 12 (Hardmax 13 -> 12 is refused). With an axis that isn't
#   the last the answer is another one; nothing warns.
# Output (axis = 1 of [[0, 1], [2, 3]]):
#   Hardmax 12 -> 13: [0, 0, 0, 1] -> [0, 0, 1, 1]
#   Softmax 13 -> 12: [0.119, 0.119, 0.881, 0.881] -> [0.032, 0.087, 0.237, 0.644]
# Who is hurt: whoever brings a model down to opset 12 for an older device: attention along a middle
#   axis still sums to one, but over the wrong elements.
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
from onnx import version_converter


def convert(op_type, old, new):
    model = onnx.parser.parse_model(
        f'<ir_version: 7, opset_import: ["": {old}]>'
        f"g (float[1, 2, 2] x) => (float[1, 2, 2] y) {{ y = {op_type} <axis = 1> (x) }}"
    )
    converted = version_converter.convert_version(model, new)
    onnx.checker.check_model(converted, full_check=True)
    results = []
    for m in (model, converted):
        session = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"x": x})[0].ravel().round(3).tolist())
    print(f"{op_type} {old} -> {new}: {results[0]} -> {results[1]}")
    return results[0] == results[1]


x = np.array([[[0, 1], [2, 3]]], np.float32)
assert convert("Softmax", 12, 13)
assert convert("LogSoftmax", 12, 13)
assert not convert("Hardmax", 12, 13)
assert not convert("Softmax", 13, 12)
assert not convert("LogSoftmax", 13, 12)
PY
